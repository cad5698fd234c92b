"""Memory for copies of tensors: what is let go of is used again, for fresh memory costs more than the copy into it."""

from __future__ import annotations

import weakref
from collections.abc import Hashable

import torch
from torch import Tensor


class Memory:
    """Hands out tensors to copy into; the memory of one comes back by itself when nobody holds it any more."""

    def __init__(self) -> None:
        self._free: dict[Hashable, list[Tensor]] = {}
        self.given = 0
        """Bytes that are in use."""
        self.free = 0
        """Bytes that have come back and wait to be used again."""

    def like(self, tensor: Tensor) -> Tensor:
        """Return a dense tensor of this one's shape, strides, dtype and device; what it holds is arbitrary."""
        kind = (tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
        waiting = self._free.get(kind)
        if waiting:
            base = waiting.pop()
            self.free -= base.nbytes
        else:
            base = torch.empty_like(tensor, requires_grad=False)
        self.given += base.nbytes
        given = base.detach()  # another object onto the same memory: its end is what brings the memory back
        weakref.finalize(given, self._come_back, kind, base).atexit = False
        return given

    def shrink(self, most: int) -> None:
        """Give what waits back to the system until at most `most` bytes of it are left."""
        for kind in list(self._free):
            while self.free > most and self._free[kind]:
                self.free -= self._free[kind].pop().nbytes
            if not self._free[kind]:
                del self._free[kind]

    def _come_back(self, kind: Hashable, base: Tensor) -> None:
        self.given -= base.nbytes
        self.free += base.nbytes
        self._free.setdefault(kind, []).append(base)
