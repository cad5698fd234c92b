"""The moment that views are of: what was measured is good for as long as it lasts, however often it is looked at."""

from __future__ import annotations

from torch import Tensor

from gradstep.engine.debuggee.loop import Point
from gradstep.engine.held import Held


class Moment:
    """Tells whether anything can have been written since it was asked last."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._stop = -1
        self._point: Point | None = None
        self._versions: list[int] = []
        self.follows = False
        """True when it is of the stop right after the one that was looked at before: a single act lies between."""

    def passed(self, stop: int) -> bool:
        """Return whether what was measured is of another moment: another stop, or a write from outside of any act.

        A write that torch does not count (`.data`, numpy, a fused optimizer) is only seen at the next stop: there is
        no cheaper way than to compare the contents.
        """
        versions = [version_of(tensor) for _, tensor in [*self._held.parameters, *self._held.buffers()]]
        versions += [-1 if p.grad is None else version_of(p.grad) for _, p in self._held.parameters]
        same = self._stop == stop and self._point is self._held.point and self._versions == versions
        self.follows = stop == self._stop + 1
        self._stop, self._point, self._versions = stop, self._held.point, versions
        return not same


def version_of(tensor: Tensor) -> int:
    """Return how often torch counted a write to a tensor; 0 where it does not count."""
    return 0 if tensor.is_inference() else tensor._version
