"""When cached measurements expire: at another stop, unless of a large tensor, or when a tensor was written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar
from weakref import ReferenceType, ref

import torch
from torch import Tensor

from gradstep.engine.bits import all_same_bits
from gradstep.engine.debuggee.loop import Point
from gradstep.engine.held import Held
from gradstep.engine.state.saved import Saved

_K = TypeVar("_K")
LARGE = 1 << 18
"""Elements from which a measurement is carried over to the next stop: checking it is then faster than repeating it."""
_PLACES, _AT_EACH = 64, 16
"""Places of a large tensor, and elements at each (a line of the cache), that are compared with the stop before."""


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
        tensors: list[Tensor | None] = [tensor for _, tensor in [*self._held.parameters, *self._held.buffers()]]
        tensors += [p.grad for _, p in self._held.parameters]
        # no call for each
        versions = [-1 if each is None else 0 if each.is_inference() else each._version for each in tensors]
        same = self._stop == stop and self._point is self._held.point and self._versions == versions
        self.follows = stop == self._stop + 1
        self._stop, self._point, self._versions = stop, self._held.point, versions
        return not same


def version_of(tensor: Tensor) -> int:
    """Return a tensor's version counter; 0 when it has none."""
    return 0 if tensor.is_inference() else tensor._version


class Fingerprint(NamedTuple):
    """What is needed to check whether a measurement of a tensor still holds."""

    of: ReferenceType[Tensor]
    """The tensor, as a weak reference: the id of a dead tensor may be reused."""
    version: int
    sample: Tensor | None
    """Some of its elements; None where repeating the measurement is as fast."""


def fingerprint_of(tensor: Tensor) -> Fingerprint:
    """Return the fingerprint of a tensor as it is now."""
    return Fingerprint(ref(tensor), version_of(tensor), _sample(tensor))


def carried(fingerprints: Mapping[_K, Fingerprint], saved: Saved) -> dict[_K, Fingerprint]:
    """Return the fingerprints of what has the measured contents after the phase that `saved` was kept for.

    That is the tensor itself, or its copy if the phase could write it. The version counter and a thousand elements are
    checked as well: a hook of the user's may do what no phase does.
    """
    if not saved.known:
        return {}
    copies = saved.copies
    written = dict(zip(map(id, copies.live), zip(copies.copies, copies.versions, strict=True), strict=True))
    later: dict[_K, Fingerprint] = {}
    samples: list[tuple[Tensor, Tensor]] = []
    for key, then in fingerprints.items():
        tensor = then.of()
        if tensor is None or then.sample is None:
            continue
        there, version = written.get(id(tensor), (tensor, version_of(tensor)))
        now = fingerprint_of(there)
        if version == then.version and now.sample is not None:
            later[key] = now
            samples.append((now.sample, then.sample))
    same = all_same_bits(samples)
    return {key: now for (key, now), holds in zip(later.items(), same, strict=True) if holds}


def _sample(tensor: Tensor) -> Tensor | None:
    """Return elements at evenly spread places of a large tensor."""
    if tensor.layout is not torch.strided or tensor.numel() < LARGE or tensor.is_meta or not tensor.is_contiguous():
        return None
    step = tensor.numel() // _PLACES
    return tensor.detach().as_strided((_PLACES, _AT_EACH), (step, 1), tensor.storage_offset()).clone()
