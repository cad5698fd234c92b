"""The norms at one stop, computed once for all views, and those that still hold at the next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from weakref import ReferenceType, ref

import torch
from torch import Tensor

from gradstep.engine.bits import all_same_bits
from gradstep.engine.numbers.norms import norms_from, norms_there
from gradstep.engine.reads import Reading
from gradstep.engine.state.saved import Saved
from gradstep.views.expiry import version_of

LARGE = 1 << 18
"""Elements from which a norm is carried over to the next stop: checking it is then faster than computing it."""
_PLACES, _AT_EACH = 64, 16
"""Places of a large tensor, and elements at each (a line of the cache), that are compared with the stop before."""


class _Taken(NamedTuple):
    """A norm, and what is needed to check whether it still holds."""

    of: ReferenceType[Tensor]
    """The tensor, as a weak reference: the id of a dead tensor may be reused."""
    norm: float | None
    version: int
    sample: Tensor | None
    """Some of its elements, when computing the norm takes long."""


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
            self._known[id(tensor)] = _Taken(ref(tensor), norm, version_of(tensor), _sample(tensor))

    def after(self, saved: Saved) -> Norms:
        """Return those norms of large tensors that still hold after the phase that `saved` was kept for.

        A phase can't write a tensor without a copy in `Saved`. The version counter and a thousand elements are checked
        as well: a hook of the user's may do what no phase does.
        """
        later = Norms()
        if saved.known:
            written = set(map(id, saved.copies.live))
            samples: dict[int, tuple[Tensor, Tensor]] = {}
            for key, taken in self._known.items():
                tensor = taken.of()
                if tensor is None or key in written or taken.sample is None or version_of(tensor) != taken.version:
                    continue
                sample = _sample(tensor)
                if sample is not None:
                    samples[key] = sample, taken.sample
            same = all_same_bits(samples.values())
            later._known = {key: self._known[key] for key, holds in zip(samples, same, strict=True) if holds}
        return later

    def _knows(self, tensor: Tensor) -> bool:
        return id(tensor) in self._known and self._known[id(tensor)].of() is tensor


def _sample(tensor: Tensor) -> Tensor | None:
    """Return some elements of a large tensor, at evenly spread places; None when computing its norm is as fast."""
    if tensor.layout is not torch.strided or tensor.numel() < LARGE or tensor.is_meta or not tensor.is_contiguous():
        return None
    return (
        tensor.detach().as_strided((_PLACES, _AT_EACH), (tensor.numel() // _PLACES, 1), tensor.storage_offset()).clone()
    )
