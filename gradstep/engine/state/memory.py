"""Memory for copies of tensors, reused once released: fresh memory costs more than the copy into it."""

from __future__ import annotations

import ctypes
import mmap
import time
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from gradstep.engine.bits import on_threads

_LARGE = 4 << 20
"""Bytes from which a tensor has huge pages of its own: two of them."""
_BLOCK = 256 << 10
"""Bytes that are swapped at once: the two blocks and a third between them fit into the cache of a core."""
_FEW = 32
"""The most blocks that are swapped on one thread: starting more would take longer."""
_SLAB = 8 << 20
"""Bytes of a slab, from which small tensors are cut."""
_ALIGNED = 64
"""Alignment of a tensor in bytes, the same as torch's."""
_NOTICED = 64 << 20
"""Bytes of new memory for one act from which it is much: nobody notices the 20 ms that less takes."""
_PIECE = 8 << 20
"""Bytes that are touched or copied at once: a few milliseconds, 20 where the system is short of huge pages."""
_PAGE = 4 << 10
"""Bytes of the smallest page."""
_RECENT = 32
"""How many acts, at least, determine how much memory stays in the pool: an iteration with several backwards."""


_Kind: TypeAlias = tuple[torch.Size, tuple[int, ...], torch.dtype, torch.device]
"""What a tensor and the memory for its copy have in common."""


class Memory:
    """Allocates tensors to copy into; the memory of one returns to the pool when it is garbage-collected."""

    def __init__(self, offload: bool = False) -> None:
        """Allocate on each tensor's device, or with `offload` in host memory for tensors on a GPU."""
        self._offload = offload
        self._free: dict[_Kind, list[Tensor]] = {}
        self.given = 0
        """Bytes in use."""
        self.free = 0
        """Bytes in the pool."""
        self.seconds = 0.0
        """Seconds that copies into much new memory have taken."""
        self._new = 0
        """Bytes that were ever allocated."""
        self._uses: dict[int, _Use] = {}
        self._most: list[Counter[_Kind]] = [Counter(), Counter()]
        """The most tensors of each kind that one act copied: among the last acts, and among those before them."""
        self._acts = 0
        """The number of the last acts."""
        self._slab: Tensor | None = None
        self._cut = 0
        """Bytes of the slab that are allocated."""
        self._next: Tensor | None = None
        """The next slab, with all pages touched."""
        self._ahead: dict[int, _Ahead] = {}
        """Copies made before the act that needs them, by the id of their tensors."""

    def like(self, tensor: Tensor) -> Tensor:
        """Return a dense, uninitialised tensor of the same shape, strides and dtype."""
        kind = _kind_of(tensor)
        waiting = self._free.get(kind)
        if waiting:
            base = waiting.pop()
            self.free -= base.nbytes
        else:
            base = self._fresh(tensor)
            self._new += base.nbytes
        self.given += base.nbytes
        given = base.detach()  # another object on the same memory
        use = self._uses[id(base)] = _Use(given, _ended)
        use.memory, use.kind, use.base = self, kind, base
        return given

    def take(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Copy the tensors that one act may write."""
        began, new = time.perf_counter(), self._new
        made, missing = [], []
        for tensor in tensors:
            copy = self._copied_ahead(tensor)
            if copy is None and tensor.layout is torch.strided:
                copy = self.like(tensor)
                missing.append((copy, tensor.detach()))
            made.append(tensor.detach().clone() if copy is None else copy)
        self.outdate()
        copy_all([copy for copy, _ in missing], [tensor for _, tensor in missing])
        self._note(Counter(_kind_of(tensor) for tensor in tensors if tensor.layout is torch.strided))
        new = self._new - new
        if new and new >= _NOTICED:
            self.seconds += (time.perf_counter() - began) * new / sum(copy.nbytes for copy, _ in missing)
        return made

    def lend(self, tensor: Tensor) -> Tensor:
        """Copy a tensor for a rerun, which is not an act: how much the next act needs is unaffected."""
        if tensor.layout is not torch.strided:
            return tensor.detach().clone()
        if not self._free.get(_kind_of(tensor)):
            self.outdate()  # their memory is there
        made = self.like(tensor)
        copy_all([made], [tensor.detach()])
        return made

    def prepare(self, tensors: Sequence[Tensor]) -> Iterator[None]:
        """Allocate memory for copies of tensors: the next slab, and what is much; yield after each few milliseconds.

        The pages of new memory are touched, since the first touch takes longer than the copy into them.
        """
        if self._slab is not None and self._next is None and self._cut > _SLAB // 2:
            self._next = _pages(_SLAB)
            self._next[::_PAGE].zero_()
            yield
        plain = [each for each in tensors if each.layout is torch.strided and _pageable(each)]
        wanted = Counter(map(_kind_of, plain))
        missing = wanted - Counter({kind: len(waiting) for kind, waiting in self._free.items()})
        missing -= Counter(_kind_of(ahead.tensor) for ahead in self._ahead.values())
        if sum(_size_of(kind) * count for kind, count in missing.items()) < _NOTICED:
            return
        self._most[0] |= wanted
        for tensor in plain:
            kind = _kind_of(tensor)
            if len(self._free.get(kind, ())) < wanted[kind]:
                base = self._fresh(tensor)
                self._add(kind, base)
                for piece in _pieces(base):
                    piece[::_PAGE].zero_()
                    yield

    def copy_ahead(self, tensors: Sequence[Tensor]) -> Iterator[None]:
        """Copy what the next act may write, if it is much; yield after each few milliseconds.

        `take` uses these copies. Call `outdate` when anything else may write the tensors.
        """
        plain = [each for each in tensors if each.layout is torch.strided and is_plain(each) and each.is_contiguous()]
        if sum(tensor.nbytes for tensor in plain) < _NOTICED:
            return
        for tensor in plain:
            if id(tensor) not in self._ahead:
                copy = self.like(tensor)
                for into, piece in zip(_pieces(copy), _pieces(tensor.detach()), strict=True):
                    into.copy_(piece)
                    yield
                self._ahead[id(tensor)] = _Ahead(tensor, tensor._version, tensor.data_ptr(), copy)

    def _copied_ahead(self, tensor: Tensor) -> Tensor | None:
        ahead = self._ahead.get(id(tensor))
        if ahead is None or (ahead.version, ahead.pointer) != (tensor._version, tensor.data_ptr()):
            return None
        return ahead.copy

    def outdate(self) -> None:
        """Drop the copies that were made ahead."""
        self._ahead.clear()

    @property
    def short(self) -> bool:
        """True when an act such as one of the last needs much memory that the pool does not have."""
        needed = self._most[0] | self._most[1]
        missing = ((kind, count - len(self._free.get(kind, ()))) for kind, count in needed.items())
        return sum(_size_of(kind) * count for kind, count in missing if count > 0) >= _NOTICED

    def shrink(self) -> None:
        """Return memory of the pool to the system, except for what the next act may need."""
        for kind, waiting in list(self._free.items()):
            needed = max([most[kind] for most in self._most])
            while len(waiting) > needed:
                self.free -= waiting.pop().nbytes
            if not waiting:
                del self._free[kind]

    def _note(self, taken: Counter[_Kind]) -> None:
        """Note how many tensors of each kind were copied for an act."""
        if self._acts == _RECENT:
            self._most, self._acts = [Counter(), self._most[0]], 0
        self._acts += 1
        self._most[0] |= taken

    def _fresh(self, tensor: Tensor) -> Tensor:
        """Return new memory; small tensors share a slab, which is freed when none of them is in use."""
        if not _pageable(tensor) or tensor.nbytes >= _LARGE:
            return dense_like(tensor, self._offload)
        if self._slab is None or self._cut + tensor.nbytes > self._slab.nbytes:
            self._slab, self._next, self._cut = _pages(_SLAB) if self._next is None else self._next, None, 0
        made = _shaped(self._slab, tensor, self._cut)
        self._cut += -(-tensor.nbytes // _ALIGNED) * _ALIGNED
        return made

    def reclaim(self, use: _Use) -> None:
        """Return the memory of a tensor that was collected to the pool."""
        base = use.base
        del self._uses[id(base)]
        self.given -= base.nbytes
        self._add(use.kind, base)

    def _add(self, kind: _Kind, base: Tensor) -> None:
        self.free += base.nbytes
        self._free.setdefault(kind, []).append(base)


class _Ahead(NamedTuple):
    tensor: Tensor
    """Kept alive, so that its id stays valid."""
    version: int
    pointer: int
    copy: Tensor


class _Use(weakref.ref[Tensor]):
    """A reference to a tensor in use: a single object, where a closure as its callback would be six."""

    __slots__ = ("base", "kind", "memory")
    memory: Memory
    kind: _Kind
    base: Tensor
    """Its memory."""


def _ended(use: weakref.ref[Tensor]) -> None:
    assert isinstance(use, _Use)
    use.memory.reclaim(use)


def _kind_of(tensor: Tensor) -> _Kind:
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device


def _size_of(kind: _Kind) -> int:
    shape, _, dtype, _ = kind
    return shape.numel() * dtype.itemsize


def dense_like(tensor: Tensor, offload: bool = False) -> Tensor:
    """Return a new dense, uninitialised tensor of the same shape, strides and dtype.

    It is on the same device, or with `offload` in pinned host memory, which CUDA copies to and from fastest. On Linux a
    large one is in huge pages: a copy into fresh memory then costs twice a copy into warm memory instead of six times,
    most of which is page faults at 4 KiB each (torch does the same with THP_MEM_ALLOC_ENABLE=1).
    """
    if offload and not tensor.is_cpu:
        return torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda, requires_grad=False)
    if not _pageable(tensor) or tensor.nbytes < _LARGE:
        return torch.empty_like(tensor, requires_grad=False)
    return _shaped(_pages(tensor.nbytes), tensor)


def _pageable(tensor: Tensor) -> bool:
    """Return whether a tensor like this one can be placed in memory from `mmap`."""
    return is_plain(tensor) and hasattr(mmap, "MADV_HUGEPAGE")


def is_plain(tensor: Tensor) -> bool:
    """Return whether a strided tensor is torch's own kind, and the bytes of its elements are in the host's memory."""
    return type(tensor) in (Tensor, nn.Parameter) and tensor.is_cpu and not tensor.is_quantized


def _pages(size: int) -> Tensor:
    """Return bytes in huge pages, if the kernel supports them."""
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):
        pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=torch.uint8)


def _pieces(dense: Tensor) -> Sequence[Tensor]:
    """Return the bytes of a dense tensor in the order of its memory, in pieces."""
    flat = dense.as_strided((dense.numel(),), (1,), dense.storage_offset())
    return torch.split(flat.view(torch.uint8), _PIECE)


def _shaped(flat: Tensor, like: Tensor, start: int = 0) -> Tensor:
    """Return bytes, from `start` on, viewed as a dense tensor of another's shape, strides and dtype."""
    strides = (like if like.is_contiguous() else torch.empty_like(like, device="meta")).stride()
    return flat.view(like.dtype).as_strided(like.shape, strides, start // like.element_size())


def copies_of(tensors: Sequence[Tensor], offload: bool = False) -> list[Tensor]:
    """Return a copy of each tensor, of any layout, with the same strides."""
    made = [dense_like(t, offload) if t.layout is torch.strided else t.detach().clone() for t in tensors]
    pairs = [(copy, t.detach()) for copy, t in zip(made, tensors, strict=True) if t.layout is torch.strided]
    copy_all([copy for copy, _ in pairs], [tensor for _, tensor in pairs])
    return made


def swap_all(pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Swap the contents of the tensors of each pair: both `is_plain`, contiguous, of one size.

    This is done in blocks that stay in the cache: no more is read from memory and written to it than by two copies.
    """
    blocks = [
        (one.data_ptr() + start, other.data_ptr() + start, min(_BLOCK, one.nbytes - start))
        for one, other in pairs
        for start in range(0, one.nbytes, _BLOCK)
    ]
    on_threads(_swap, blocks, few=_FEW)


def _swap(blocks: Iterable[tuple[int, int, int]], thread: int) -> None:
    """Swap blocks of memory, given as two addresses and a size, on one of several threads."""
    between = _room(thread).data_ptr()
    for one, other, size in blocks:
        ctypes.memmove(between, one, size)
        ctypes.memmove(one, other, size)
        ctypes.memmove(other, between, size)


@cache
def _room(_thread: int) -> Tensor:
    """Return the memory through which a thread swaps blocks."""
    return torch.empty(_BLOCK, dtype=torch.uint8)


def copy_all(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy each source into its target; across devices, wait until the copy is complete."""
    if all(target.device == source.device for target, source in zip(targets, sources, strict=True)):
        if targets:
            torch._foreach_copy_(list(targets), list(sources))
        return
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)
