"""`eval-mode-in-training`: a model is trained in eval mode."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from gradstep.checks.check import Check, Moment, Seen, at, sampled
from gradstep.checks.modes.layers import counted, layers_with_modes
from gradstep.values.findings import Rule


class EvalModeInTraining(Check):
    """Looks at the modes of a model whose parameters a step is about to update."""

    rule = Rule(
        id="eval-mode-in-training",
        severity="warning",
        title="the model is trained in eval mode",
        why="Dropout does nothing and batch norm uses old statistics that are no longer updated.",
        detects="At a step, a model whose parameters have gradients and are in the optimizer has training=False in "
        "all its modules and contains dropout or batch norm. A part that is frozen in eval mode is not flagged.",
        remedy="Call model.train() before each training epoch: evaluation leaves the model in eval mode.",
        source="torch documentation, 'Autograd mechanics: evaluation mode'; pytorch-fcn#57",
    )

    @at("step")
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at the models before a step."""
        if not sampled(moment.count):
            return
        for name, root in moment.roots():
            if root.training or _is_partly_training(root):
                continue
            layers = list(layers_with_modes(root, training=False))
            own = {id(p) for p in root.parameters() if p.grad is not None}
            updated = sum(id(p) in own for _, p in moment.optimized()) if layers else 0
            if updated:
                kind = type(root).__name__
                what = f"{kind} is in eval mode in this step, which updates {updated} of its parameters: "
                what += f"{counted(layers)} work as in evaluation."
                path = ".".join(filter(None, (name, layers[0][0])))
                yield Seen(what, moment.at(module=path, panel="model"), {"layers": len(layers), "updated": updated})


def _is_partly_training(root: nn.Module) -> bool:
    return any(each.training and next(each.parameters(False), None) is not None for each in root.modules())
