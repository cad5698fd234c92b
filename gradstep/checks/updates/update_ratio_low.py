"""`update-ratio-low`: steps hardly change any weight, and the loss does not fall."""

from __future__ import annotations

from collections.abc import Iterable

from gradstep.checks.check import Moment, Seen, at
from gradstep.checks.losses import losses, mean
from gradstep.checks.updates.updates import UpdateCheck, updates
from gradstep.values.findings import Rule

_STEPS = 20
"""Steps in a row that are looked at."""
_FELL = 0.99


class UpdateRatioLow(UpdateCheck):
    """Compares the change of weights with their size."""

    rule = Rule(
        id="update-ratio-low",
        severity="hint",
        title="steps hardly change the weights",
        why="At a millionth of its size per step, a weight needs a million steps to change.",
        detects="In twenty checked steps in a row, the root mean square of the change is below the threshold times "
        "that of the weight, for every checked weight; lr does not rise, and the loss has not fallen by 1 %.",
        remedy="Raise lr: about 1e-3 of the weight in each step is usual when training from scratch.",
        source="cs231n, 'Ratio of weights:updates' (1e-3); mindinsight (1e-4), SageMaker Debugger (1e-8)",
        threshold=1e-6,
        unit="of the weight",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._low = 0
        self._rate = 0.0
        self._fell = False

    @at("forward", "step")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Compare after a step; note after a forward whether the loss falls."""
        if moment.phase == "forward":
            past = losses(moment)
            self._fell = not past or mean(past[-3:]) < _FELL * mean(past[:3])
        found = [each for each in updates(moment) if each.size]
        if not found:
            return
        most = max(found, key=lambda each: each.ratio)
        rises, self._rate = most.rate > self._rate > 0, most.rate
        self._low = self._low + 1 if most.rate > 0 and most.ratio < self.threshold and not rises else 0
        if self._low >= _STEPS and not self._fell:
            what = f"No weight has changed by more than {most.ratio:.1e} of its size in {self._low} steps."
            yield Seen(what, moment.at(parameter=most.name, panel="why"), {"ratio": most.ratio, "lr": most.rate})
