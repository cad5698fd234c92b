"""The losses of a loop by iteration, one series for each line that calls backward."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from gradstep.checks.check import Moment

_MOST = 400
"""How many losses are remembered, the first ones among them."""
_FIRST = 20


def losses(moment: Moment) -> list[float]:
    """Return the losses of the line of a forward that has ended, its own last; empty where it is not a number."""
    return moment.once("losses", lambda: _losses(moment))


def _losses(moment: Moment) -> list[float]:
    if moment.value is None:
        return []
    of: defaultdict[tuple[object, ...], list[float]] = moment.memory.setdefault("losses", defaultdict(list))
    found = of[moment.find_site()]
    found.append(moment.value)
    if len(found) > _MOST:
        del found[_FIRST]
    return found


def mean(values: Sequence[float]) -> float:
    """Return the mean; NaN of nothing."""
    return math.fsum(values) / len(values) if values else math.nan
