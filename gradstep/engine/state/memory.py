"""Memory for copies of tensors: what is let go of is used again, for fresh memory costs more than the copy into it."""

from __future__ import annotations

import mmap
import weakref
from collections.abc import Hashable, Sequence
from contextlib import suppress

import torch
from torch import Tensor, nn

_LARGE = 4 << 20
"""Bytes from which a tensor lies in huge pages of its own: two of them."""
_SLAB = 8 << 20
"""Bytes that small tensors are cut from: as large as what the kernel gives for one of the first of them."""
_ALIGNED = 64
"""Bytes that a tensor begins at a multiple of, as torch has it."""


class Memory:
    """Hands out tensors to copy into; the memory of one comes back by itself when nobody holds it any more."""

    def __init__(self, offload: bool = False) -> None:
        """Lie beside each tensor, or with `offload` in host memory for those on a GPU."""
        self._offload = offload
        self._free: dict[Hashable, list[Tensor]] = {}
        self.given = 0
        """Bytes that are in use."""
        self.free = 0
        """Bytes that have come back and wait to be used again."""
        self._slab: Tensor | None = None
        self._cut = 0
        """Bytes of the slab that were given."""

    def like(self, tensor: Tensor) -> Tensor:
        """Return a dense tensor of this one's shape, strides and dtype; what it holds is arbitrary."""
        kind = (tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
        waiting = self._free.get(kind)
        if waiting:
            base = waiting.pop()
            self.free -= base.nbytes
        else:
            base = self._fresh(tensor)
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

    def _fresh(self, tensor: Tensor) -> Tensor:
        """Return new memory: of what is small many share one stretch, which goes back when none of them is needed."""
        if not _pageable(tensor) or tensor.nbytes >= _LARGE:
            return dense_like(tensor, self._offload)
        if self._slab is None or self._cut + tensor.nbytes > self._slab.nbytes:
            self._slab, self._cut = _pages(_SLAB), 0
        part = self._slab[self._cut : self._cut + tensor.nbytes]
        self._cut += -(-tensor.nbytes // _ALIGNED) * _ALIGNED
        return _shaped(part, tensor)

    def _come_back(self, kind: Hashable, base: Tensor) -> None:
        self.given -= base.nbytes
        self.free += base.nbytes
        self._free.setdefault(kind, []).append(base)


def dense_like(tensor: Tensor, offload: bool = False) -> Tensor:
    """Return a new dense tensor of this one's shape, strides and dtype; what it holds is arbitrary.

    It lies beside the tensor, or with `offload` in host memory: in pinned pages, which CUDA copies to and from fastest.
    On Linux a large one lies in huge pages: fresh memory then costs twice a copy into warm memory instead of six times,
    for most of that is the kernel handing out 4 KiB at a time (torch does so for itself with THP_MEM_ALLOC_ENABLE=1).
    """
    if offload and not tensor.is_cpu:
        return torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda, requires_grad=False)
    if not _pageable(tensor) or tensor.nbytes < _LARGE:
        return torch.empty_like(tensor, requires_grad=False)
    return _shaped(_pages(tensor.nbytes), tensor)


def _pageable(tensor: Tensor) -> bool:
    """Return whether a tensor like this one can lie in memory that was asked of the kernel."""
    plain = type(tensor) in (Tensor, nn.Parameter) and not tensor.is_quantized
    return plain and tensor.is_cpu and hasattr(mmap, "MADV_HUGEPAGE")


def _pages(size: int) -> Tensor:
    """Return bytes in huge pages, where the kernel has them."""
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):
        pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=torch.uint8)


def _shaped(flat: Tensor, like: Tensor) -> Tensor:
    """Return bytes as a dense tensor of another's shape, strides and dtype."""
    shape = torch.empty_like(like, device="meta")
    return flat.view(like.dtype).as_strided(shape.shape, shape.stride(), flat.storage_offset() // like.element_size())


def copies_of(tensors: Sequence[Tensor], offload: bool = False) -> list[Tensor]:
    """Return a copy of each tensor in memory of its own, whatever its layout, strides as in the original."""
    made = [dense_like(t, offload) if t.layout is torch.strided else t.detach().clone() for t in tensors]
    pairs = [(copy, t.detach()) for copy, t in zip(made, tensors, strict=True) if t.layout is torch.strided]
    copy_all([copy for copy, _ in pairs], [tensor for _, tensor in pairs])
    return made


def copy_all(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy what each source holds into its target; when this returns it is there, on whatever device."""
    if all(target.device == source.device for target, source in zip(targets, sources, strict=True)):
        if targets:
            torch._foreach_copy_(list(targets), list(sources))
        return
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)
