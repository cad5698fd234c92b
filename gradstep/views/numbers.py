"""The norms at one stop, computed once for all views, and those that still hold at the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from gradstep.engine.numbers.norms import norms_from, norms_there
from gradstep.engine.reads import Reading
from gradstep.engine.state.saved import Saved
from gradstep.views.expiry import Fingerprint, carried, fingerprint_of


class _Taken(NamedTuple):
    norm: float | None
    fingerprint: Fingerprint


class Norms:
    """The norms at one stop, each computed once for all views; valid as long as nothing is written."""

    def __init__(self) -> None:
        self._known: dict[int, _Taken] = {}
        self._begun: dict[int, Tensor | None] = {}
        """Norms on their device that are being read."""

    def of(self, tensors: Sequence[Tensor]) -> Reading[list[float | None]]:
        """Read the norm of each tensor, as `norms` does."""
        new = [tensor for tensor in tensors if not self._knows(tensor)]
        begun = [tensor for tensor in new if id(tensor) not in self._begun]
        self._begun.update(zip(map(id, begun), norms_there(begun), strict=True))
        try:
            found = yield from norms_from(new, [self._begun[id(tensor)] for tensor in new])
        finally:
            for tensor in begun:
                self._begun.pop(id(tensor), None)
        self.take(list(zip(new, found, strict=True)))
        return [self._known[id(tensor)].norm for tensor in tensors]

    def take(self, known: Sequence[tuple[Tensor, float | None]]) -> None:
        """Take norms that were just computed elsewhere."""
        for tensor, norm in known:
            self._known[id(tensor)] = _Taken(norm, fingerprint_of(tensor))

    def after(self, saved: Saved) -> Norms:
        """Return the norms of large tensors that hold after the phase that `saved` was kept for.

        They are those of unwritten tensors, and of the copies of others.
        """
        later = Norms()
        for key, fingerprint in carried({key: taken.fingerprint for key, taken in self._known.items()}, saved).items():
            later._known[id(fingerprint.of())] = _Taken(self._known[key].norm, fingerprint)
        return later

    def _knows(self, tensor: Tensor) -> bool:
        return id(tensor) in self._known and self._known[id(tensor)].fingerprint.of() is tensor
