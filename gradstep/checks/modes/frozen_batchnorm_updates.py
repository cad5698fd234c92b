"""`frozen-batchnorm-updates`: the statistics of a frozen batch norm are updated."""

from __future__ import annotations

from collections.abc import Iterable

from torch.nn.modules.batchnorm import _BatchNorm

from gradstep.checks.check import Check, Moment, Seen, at, listed
from gradstep.checks.loop.ownership import AT
from gradstep.values.findings import Rule


class FrozenBatchnormUpdates(Check):
    """Looks for batch norms in train mode whose weight and bias do not require grad."""

    rule = Rule(
        id="frozen-batchnorm-updates",
        severity="hint",
        title="a frozen batch norm updates its statistics",
        why="requires_grad = False freezes weight and bias, not the running statistics: in train mode each forward "
        "updates them, so the output of the frozen layers drifts.",
        detects="At a step, batch norms with running statistics are in train mode, their weight and bias do not "
        "require grad, and other parameters of the model are optimized.",
        remedy="Set them to eval mode after model.train(): for m in backbone.modules(): if isinstance(m, "
        "nn.BatchNorm2d): m.eval().",
        source="torch.nn.BatchNorm2d documentation (running statistics in train mode); gt-pyg#112",
    )

    @at("step")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at the models before a step."""
        if moment.count not in AT:
            return
        trained = {id(p) for _, p in moment.optimized()}
        for name, root in moment.roots():
            if all(id(p) not in trained for p in root.parameters()):
                continue
            norms = [(path, each) for path, each in root.named_modules() if isinstance(each, _BatchNorm)]
            moving = [path for path, each in norms if each.training and _is_frozen(each)]
            if moving:
                what = f"{len(moving)} frozen batch norms ({listed(moving)}) are in train mode and update their "
                what += "running statistics."
                path = ".".join(filter(None, (name, moving[0])))
                yield Seen(what, moment.at(module=path, panel="model"), {"layers": len(moving)})


def _is_frozen(norm: _BatchNorm) -> bool:
    both = [each for each in (norm.weight, norm.bias) if each is not None]
    return norm.running_mean is not None and bool(both) and not any(each.requires_grad for each in both)
