"""`all-zero-gradient`: gradients are exactly zero at every step."""

from __future__ import annotations

from collections.abc import Iterable

from gradstep.checks.check import Check, Moment, Seen, at, listed
from gradstep.checks.numbers.gradients import STEPS, Gradient, gradients, largest
from gradstep.values.findings import Rule

_ALL = 3
"""Steps in a row of which every gradient is zero."""


class AllZeroGradient(Check):
    """Counts the steps in a row in which the gradient of a weight is zero."""

    rule = Rule(
        id="all-zero-gradient",
        severity="warning",
        title="gradients are exactly zero",
        why="A weight with a gradient of zero does not learn: something before it in the backward (a dead ReLU, a "
        "clamp, a mask, a product with zero) passes nothing on.",
        detects="Every gradient of an optimizer is zero in three steps in a row; or those of the first weight and of "
        "at least one other, or those of two weights that are zero themselves, are in the threshold's number of steps "
        "in a row, while the rest are not.",
        remedy="Look at the Graph panel for the first node that passes zeros on; initialise only one of two stacked "
        "layers with zeros; replace a clamp by a smooth bound (torch.sigmoid).",
        source="LAVT-RIS#25 (two stacked layers of zeros); TheDeepChecker",
        threshold=10.0,
        unit="steps in a row that are looked at",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._zeros: dict[str, int] = {}
        self._all: dict[int, int] = {}

    @at("step", first=STEPS)
    def begins(self, moment: Moment) -> Iterable[Seen]:
        """Look at the gradients that a step is about to use."""
        ledger = moment.held.ledger  # zeros that nothing was added to are no gradient
        found = [each for each in gradients(moment) if ledger.entry(each.name).added]
        for each in found:
            self._zeros[each.name] = self._zeros.get(each.name, 0) + 1 if each.most == 0 else 0
        optimizer = id(moment.optimizer)
        self._all[optimizer] = self._all.get(optimizer, 0) + 1 if found and not any(each.most for each in found) else 0
        weights = [each.name for each in found if each.parameter.dim() > 1]
        lasting = [name for name in weights if self._zeros.get(name, 0) >= self.threshold]
        if self._all[optimizer] >= _ALL:
            what = f"All {len(found)} gradients are zero, in {self._all[optimizer]} steps in a row."
            yield Seen(what, moment.at(panel="layers"), {"gradients": len(found), "of": len(found)})
        elif len(lasting) > 1 and (weights[0] in lasting or len(stuck := _zeros(found, lasting)) > 1):
            lasting = lasting if weights[0] in lasting else stuck
            steps = min(self._zeros[name] for name in lasting)
            what = f"The gradients of {listed(lasting)} are zero, in {steps} steps in a row; others are not."
            evidence = {"gradients": len(lasting), "of": len(found), "steps": steps}
            yield Seen(what, moment.at(parameter=lasting[0], panel="layers"), evidence)


def _zeros(found: list[Gradient], names: list[str]) -> list[str]:
    """Return those of some parameters that are zero throughout."""
    several = [each for each in found if each.name in names]
    sizes = largest([each.parameter.detach() for each in several])
    return [each.name for each, size in zip(several, sizes, strict=True) if size == 0]
