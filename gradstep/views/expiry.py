"""When cached measurements expire: at another stop, or when a tensor was written."""

from __future__ import annotations

from torch import Tensor

from gradstep.engine.debuggee.loop import Point
from gradstep.engine.held import Held


class Expiry:
    """Detects whether anything may have been written since the last call."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._stop = -1
        self._point: Point | None = None
        self._versions: list[int] = []
        self.follows = False
        """True when this stop follows the last one directly, one phase later."""

    def expired(self, stop: int) -> bool:
        """Return whether cached measurements have expired: another stop, or a write outside of any phase.

        A write that torch does not count (`.data`, numpy, a fused optimizer) is detected only at the next stop: earlier
        would take a comparison of the contents.
        """
        versions = [version_of(tensor) for _, tensor in [*self._held.parameters, *self._held.buffers()]]
        versions += [-1 if p.grad is None else version_of(p.grad) for _, p in self._held.parameters]
        same = self._stop == stop and self._point is self._held.point and self._versions == versions
        self.follows = stop == self._stop + 1
        self._stop, self._point, self._versions = stop, self._held.point, versions
        return not same


def version_of(tensor: Tensor) -> int:
    """Return a tensor's version counter; 0 when it has none."""
    return 0 if tensor.is_inference() else tensor._version
