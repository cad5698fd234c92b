"""`update-ratio-high`: each step changes weights by a large part of their size, and the loss rises."""

from __future__ import annotations

import math
from collections.abc import Iterable

from gradstep.checks.check import Moment, Seen, at
from gradstep.checks.losses import losses, mean
from gradstep.checks.updates.updates import UpdateCheck, updates
from gradstep.values.findings import Rule

_STEPS = 5
"""Steps in a row that are looked at."""
_ROSE = 1.2
"""Times its start that the loss is at."""
_SMALL = 1e-3
"""A weight that began below this, as zeros do, grows by large parts of itself at first."""


class UpdateRatioHigh(UpdateCheck):
    """Compares the change of weights with their size."""

    rule = Rule(
        id="update-ratio-high",
        severity="warning",
        title="steps change the weights too much",
        why="A step that changes a weight by a large part of its size undoes what earlier steps have learnt.",
        detects="The root mean square of the change of every weight is above the threshold times that of the weight "
        "in five checked steps in a row, and the loss is a fifth above its start. Weights that began at zero are "
        "left out.",
        remedy="Lower lr, by ten at first: about 1e-3 of the weight in each step is usual.",
        source="cs231n, 'Ratio of weights:updates'; mindinsight (0.1), TheDeepChecker (0.1)",
        threshold=0.1,
        unit="of the weight",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._high = 0
        self._began: dict[str, float] = {}
        self._rises = False

    @at("forward", "step")
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Compare after a step; note after a forward whether the loss rises."""
        if moment.phase == "forward":
            past = losses(moment)
            self._rises = len(past) > _STEPS and mean(past[-5:]) > _ROSE * past[0] > 0
        for each in updates(moment):
            self._began.setdefault(each.name, each.size)
        judged = [each for each in updates(moment) if self._began[each.name] > _SMALL]
        if not judged:
            return
        least = min(judged, key=lambda each: each.ratio)
        self._high = self._high + 1 if self.threshold < least.ratio < math.inf else 0
        if self._high >= _STEPS and self._rises:
            what = f"Each weight has changed by {least.ratio:.0%} of its size or more in {self._high} steps in a row."
            evidence = {"ratio": least.ratio, "lr": least.rate}
            yield Seen(what, moment.at(parameter=least.name, panel="why"), evidence)
