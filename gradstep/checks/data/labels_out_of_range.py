"""`labels-out-of-range`: targets are outside the range the loss is defined for."""

from __future__ import annotations

from collections.abc import Iterable

from torch.autograd.graph import Node

from gradstep.checks.check import Moment, Seen
from gradstep.checks.patterns import NLL, GraphCheck, saved, setting
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.values.findings import Rule

_BCE = "BinaryCrossEntropyWithLogitsBackward0"
_NOISY = (-0.5, 1.5)
"""Labels that are made noisy on purpose go a little beyond 0 and 1 (ganhacks: up to 1.2)."""


class LabelsOutOfRange(GraphCheck):
    """Looks at the targets that the loss has saved."""

    rule = Rule(
        id="labels-out-of-range",
        severity="error",
        title="targets are outside the range the loss is defined for",
        why="A binary cross entropy with a target beyond 0 and 1 has no minimum: it falls without end as the logits "
        "grow. A mean cross entropy with every label ignored is 0 / 0.",
        detects="The targets of binary_cross_entropy_with_logits go below -0.5 or above 1.5; or every target of "
        "cross_entropy or nll_loss with a mean is ignore_index.",
        remedy="Bring the targets to 0 and 1: target = (mask > 0).float(), or (target + 1) / 2 for -1 and 1; for the "
        "numbers of classes use F.cross_entropy.",
        source="torch.nn.BCEWithLogitsLoss documentation ('targets t[i] should be numbers between 0 and 1'), which "
        "does not check them; torch.nn.CrossEntropyLoss documentation (the mean is over the targets not ignored)",
    )

    def look(self, moment: Moment, graph: GraphRecord) -> Iterable[Seen]:
        """Look at the targets of each loss."""
        for number, node in graph.named(_BCE, *NLL):
            if node.name() == _BCE and (target := saved(node, "target")) is not None and target.numel():
                low, high = (float(each) for each in target.aminmax())
                if low < _NOISY[0] or high > _NOISY[1]:
                    what = f"The targets of binary_cross_entropy_with_logits go from {low:g} to {high:g}."
                    yield Seen(what, moment.at(node=number, panel="graph"), {"least": low, "most": high})
            elif node.name() != _BCE and (ignored := _all_ignored(node)):
                what = f"All {ignored} labels are {setting(node, 'ignore_index')}, which this loss ignores: it is NaN."
                remedy = "Leave such a batch out: if (target != -100).any(): loss.backward()."
                yield Seen(what, moment.at(node=number, panel="graph"), {"labels": ignored}, remedy)


def _all_ignored(node: Node) -> int:
    """Return how many labels there are if a mean over them ignores all of them, else 0."""
    weight, target = saved(node, "total_weight"), saved(node, "target")
    if setting(node, "reduction") != 1 or weight is None or target is None or float(weight) != 0:
        return 0
    return target.numel() if bool((target == setting(node, "ignore_index")).all()) else 0
