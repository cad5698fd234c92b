"""A cache of the statistics of slices, valid as long as nothing can have changed."""

from __future__ import annotations

from typing import NamedTuple

from gradstep.engine.debuggee.loop import Point
from gradstep.engine.numbers.selection import Cut
from gradstep.engine.reads import Reading
from gradstep.engine.state.saved import Saved
from gradstep.engine.yielding import Waits, YieldedError, never
from gradstep.values.views.tensor import LookTensor, Quantity, Statistics
from gradstep.views.expiry import Fingerprint, carried, fingerprint_of, version_of
from gradstep.views.tensor.before_after import BeforeAfter, statistics_of

_QUICK = 1 << 21
"""Elements up to which statistics take no longer than a frame: they are computed at once even in a hurry."""


class _MeasuredSlice(NamedTuple):
    name: str
    now: int
    version: int
    before: tuple[int, int] | None
    chosen: Cut
    quantity: Quantity


class _Known(NamedTuple):
    bins: int
    statistics: Statistics
    fingerprint: Fingerprint


class Measures:
    """Computes statistics, and caches them for one stop; those of a large unwritten tensor for the next, too."""

    def __init__(self, waits: Waits = never) -> None:
        self._waits = waits
        self._stop = -1
        self._point: Point | None = None
        self._known: dict[_MeasuredSlice, _Known] = {}
        self._asked: set[_MeasuredSlice] = set()
        """What was left for the next call."""

    def forget(self) -> None:
        """Forget what was measured."""
        self._known = {}

    def carry(self, saved: Saved, stop: int, point: Point) -> None:
        """Keep for the next stop what still holds after the phase that `saved` was kept for."""
        values = {key: known.fingerprint for key, known in self._known.items() if key.quantity == "value"}
        there = carried(values, saved).items()
        kept = {key: self._known[key] for key, each in there if each.of() is values[key].of()}
        self.refresh(stop, point)
        self._known = kept

    def refresh(self, stop: int, point: Point) -> None:
        """Forget what was measured if anything can have changed since: each phase makes another point."""
        if self._stop != stop or self._point is not point:
            self._stop, self._point = stop, point
            self._known, self._asked = {}, set()

    def of(self, side: BeforeAfter, chosen: Cut, quantity: Quantity, look: LookTensor) -> Reading[Statistics | None]:
        """Read the statistics of a slice; None when they are left for the next call."""
        before = None if quantity == "value" else side.before
        old = None if before is None else (id(before), version_of(before))
        key = _MeasuredSlice(side.name, id(side.now), version_of(side.now), old, chosen, quantity)
        known = self._known.get(key)
        if known is not None and known.fingerprint.of() is side.now and (not look.bins or known.bins == look.bins):
            return known.statistics
        hurry = look.hurry and side.now.numel() > _QUICK
        if hurry and key not in self._asked:
            self._asked.add(key)
            return None
        try:
            made = yield from statistics_of(side, chosen, quantity, look.bins, self._waits if hurry else never)
        except YieldedError:
            return None
        self._known[key] = _Known(look.bins, made, fingerprint_of(side.now))
        return made
