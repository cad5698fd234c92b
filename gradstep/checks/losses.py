"""The losses of a loop, in the order of its iterations, apart for each line that calls backward."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from gradstep.checks.check import Moment

MOST = 400
"""How many losses are remembered; the first ones always."""
FIRST = 20


class Losses:
    """What a check remembers of the losses."""

    def __init__(self) -> None:
        self._of: defaultdict[str, list[float]] = defaultdict(list)

    def add(self, moment: Moment) -> list[float]:
        """Add the loss of a forward; return those of its line, the last one last: an empty list without a number."""
        if moment.value is None:
            return []
        losses = self._of[moment.site]
        losses.append(moment.value)
        if len(losses) > MOST:
            del losses[FIRST]
        return losses


def mean(values: Sequence[float]) -> float:
    """Return the mean; NaN of nothing."""
    return math.fsum(values) / len(values) if values else math.nan
