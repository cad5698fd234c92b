"""`update-ratio-high`: each step changes weights by a large part of their size, and the loss does not fall."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

from gradstep.checks.check import Moment, Seen
from gradstep.checks.losses import losses, mean
from gradstep.checks.numbers.updates import UpdateCheck, updates
from gradstep.values.findings import Rule

_STEPS = 8
"""Steps in a row that are looked at."""
_SMALL = 1e-3
"""A weight that began below this, as zeros do, grows by large parts of itself at first."""


class UpdateRatioHigh(UpdateCheck):
    """Compares the change of weights with their size."""

    rule = Rule(
        id="update-ratio-high",
        severity="warning",
        title="steps change the weights too much",
        why="A step that changes a weight by a large part of its size throws away what the steps before have learnt.",
        detects="The root mean square of a weight's change is above the threshold times that of the weight in eight "
        "steps in a row that are looked at, and the loss is not below its start. Weights that began at zero are not "
        "judged.",
        remedy="Lower lr, by ten at first: about 1e-3 of the weight in each step is usual.",
        source="cs231n, 'Ratio of weights:updates'; mindinsight (0.1), TheDeepChecker (0.1)",
        threshold=0.1,
        unit="of the weight",
    )

    def __init__(self, threshold: float | None = None) -> None:
        super().__init__(threshold)
        self._high: defaultdict[str, int] = defaultdict(int)
        self._began: dict[str, float] = {}
        self._fell = False

    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Compare after a step; note after a forward whether the loss falls."""
        if moment.phase == "forward":
            past = losses(moment)
            self._fell = not past or mean(past[-3:]) < mean(past[:2])
        for each in updates(moment):
            began = self._began.setdefault(each.name, each.size)
            high = began > _SMALL and self.threshold < each.ratio < math.inf
            self._high[each.name] = self._high[each.name] + 1 if high else 0
            if self._high[each.name] >= _STEPS and not self._fell:
                what = f"{each.name} has changed by {each.ratio:.0%} of its size in this step, as in those before."
                evidence = {"ratio": each.ratio, "lr": each.rate}
                yield Seen(what, moment.at(parameter=each.name, panel="why"), evidence)
