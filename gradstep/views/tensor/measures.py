"""A cache of the statistics of slices at one stop, valid as long as nothing can have changed."""

from __future__ import annotations

from collections.abc import Hashable
from typing import NamedTuple

from gradstep.engine.debuggee.loop import Point
from gradstep.engine.numbers.selection import Cut
from gradstep.engine.reads import Reading
from gradstep.values.views.tensor import LookTensor, Quantity, Statistics
from gradstep.views.expiry import version_of
from gradstep.views.tensor.before_after import BeforeAfter, statistics_of
from gradstep.views.yielding import Waits, YieldedError, never

_QUICK = 1 << 21
"""Elements up to which statistics take no longer than a frame: they are computed at once even in a hurry."""


class _Known(NamedTuple):
    bins: int
    statistics: Statistics


class Measures:
    """Computes statistics, and caches them for one stop."""

    def __init__(self, waits: Waits = never) -> None:
        self._waits = waits
        self._stop = -1
        self._point: Point | None = None
        self._known: dict[Hashable, _Known] = {}
        self._asked: set[Hashable] = set()
        """What was left for the next call."""

    def forget(self) -> None:
        """Forget what was measured."""
        self._known = {}

    def refresh(self, stop: int, point: Point) -> None:
        """Forget what was measured if anything can have changed since: each phase makes another point."""
        if self._stop != stop or self._point is not point:
            self._stop, self._point = stop, point
            self._known, self._asked = {}, set()

    def of(self, side: BeforeAfter, chosen: Cut, quantity: Quantity, look: LookTensor) -> Reading[Statistics | None]:
        """Read the statistics of a slice; None when they are left for the next call."""
        old = None if side.before is None else (id(side.before), version_of(side.before))
        key = (side.name, id(side.now), version_of(side.now), old, chosen, quantity)
        known = self._known.get(key)
        if known is not None and (not look.bins or known.bins == look.bins):
            return known.statistics
        hurry = look.hurry and side.now.numel() > _QUICK
        if hurry and key not in self._asked:
            self._asked.add(key)
            return None
        try:
            made = yield from statistics_of(side, chosen, quantity, look.bins, self._waits if hurry else never)
        except YieldedError:
            return None
        self._known[key] = _Known(look.bins, made)
        return made
