"""Tensors as bits: compare, write and hash them, with -0.0 distinct from 0.0 and NaN equal to itself."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
import xxhash
from torch import Tensor

from gradstep.engine.reads import Reading, fetched, on_host, read

_T = TypeVar("_T")
_SKETCHED = 1024
_BLOCK = 1 << 20
"""Bytes that a thread compares at once."""
_THREADS = 8
"""The most threads that work on memory: about as many keep it busy."""
_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def words(tensor: Tensor) -> Tensor:
    """Return a dense tensor viewed as integers of the same width, complex numbers as pairs; strides are kept."""
    plain = tensor.detach()
    if plain.is_complex():
        plain = torch.view_as_real(plain.resolve_conj())
    if plain.is_neg():
        plain = plain.resolve_neg()
    return plain.view(_WORDS[plain.element_size()])


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors of any layout are bitwise equal, with the same shape and dtype."""
    return bool(same_there(one, other))


def all_same_bits(pairs: Iterable[tuple[Tensor, Tensor]]) -> list[bool]:
    """Return `same_bits` of each pair: of large ones on several threads, on another device there, in one transfer."""
    pairs, large, blocks = list(pairs), set[int](), []
    for place, (one, other) in enumerate(pairs):
        if one.numel() >= _BLOCK and on_host(one) and _in_same_places(one, other):
            large.add(place)
            starts = range(0, one.nbytes, _BLOCK)
            blocks += [(place, one.data_ptr() + i, other.data_ptr() + i, min(_BLOCK, one.nbytes - i)) for i in starts]
    differing = set[int]()

    def compare(blocks: Iterable[tuple[int, int, int, int]], _thread: int) -> None:
        for place, one, other, size in blocks:
            if place not in differing and _memcmp(one, other, size):
                differing.add(place)

    on_threads(compare, blocks)
    others = iter(read(answers([same_there(*pair) for place, pair in enumerate(pairs) if place not in large])))
    return [place not in differing if place in large else next(others) for place in range(len(pairs))]


def on_threads(work: Callable[[Sequence[_T], int], object], blocks: Sequence[_T], few: int = 0) -> None:
    """Work on blocks of memory, on as many threads as torch has.

    Args:
        work: called with the blocks of one thread, and the number of the thread.
        blocks: the blocks.
        few: the most blocks for which the calling thread alone is faster.
    """
    threads = min(torch.get_num_threads(), _THREADS) if len(blocks) > few else 1
    if threads == 1:
        work(blocks, 0)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, (blocks[place::threads] for place in range(threads)), range(threads)))


def answers(found: Sequence[bool | Tensor]) -> Reading[list[bool]]:
    """Read what `same_there` has found."""
    arrived = iter((yield [each for each in found if isinstance(each, Tensor)]))
    return [bool(next(arrived)) if isinstance(each, Tensor) else each for each in found]


def same_there(one: Tensor, other: Tensor) -> bool | Tensor:
    """Return whether two tensors are bitwise equal; of dense ones on a device as a tensor there."""
    if one.dtype != other.dtype or one.layout != other.layout or one.is_nested != other.is_nested:
        return False
    if one.is_nested:
        rows, others = one.detach().unbind(), other.detach().unbind()
        return len(rows) == len(others) and all(map(same_bits, rows, others))
    if one.shape != other.shape:
        return False
    if one.is_meta:
        return True
    other = beside(other, one)
    if one.layout is not torch.strided:
        return tensor_bytes(one) == tensor_bytes(other)
    if not on_host(one):
        return (words(one) == words(other)).all()
    if _in_same_places(one, other):
        return not _memcmp(one.data_ptr(), other.data_ptr(), one.nbytes)  # several times faster than torch.equal
    return torch.equal(words(one), words(other))


_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


def _in_same_places(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are alike, and have each element at the same place in memory, without gaps."""
    if one.layout is not torch.strided or one.is_nested or one.dtype != other.dtype or one.device != other.device:
        return False
    if one.shape != other.shape or one.stride() != other.stride():
        return False
    return _is_solid(one) and _is_solid(other)


def _is_solid(tensor: Tensor) -> bool:
    """Return whether a tensor's elements fill their memory without gaps."""
    if tensor.is_conj() or tensor.is_neg():
        return False
    return tensor.is_contiguous() or (tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last))


def beside(tensor: Tensor, other: Tensor) -> Tensor:
    """Return a tensor on the device of another: a copy may be in host memory."""
    return tensor if tensor.device == other.device else tensor.to(other.device)


def different(one: Tensor, other: Tensor) -> Tensor:
    """Return a mask of the elements whose bits differ, for two dense tensors of the same shape and dtype."""
    mask = words(one) != words(beside(other, one))
    return mask.any(-1) if one.is_complex() else mask


def tensor_bytes(tensor: Tensor) -> bytes:
    """Return the contents of a tensor as bytes in row-major order; of a sparse one, coalesced indices and values."""
    if tensor.is_meta:
        return b""
    if tensor.is_nested:
        return b"".join(tensor_bytes(row) for row in tensor.detach().unbind())
    if tensor.layout is torch.sparse_coo:
        flat = tensor.detach().coalesce()
        return tensor_bytes(flat.indices()) + tensor_bytes(flat.values())
    if tensor.layout is not torch.strided:
        return tensor_bytes(tensor.detach().to_dense())
    flat = words(tensor).contiguous().cpu()
    return ctypes.string_at(flat.data_ptr(), flat.nbytes)


def same_form(tensor: Tensor, contents: Tensor) -> bool:
    """Return whether a dense tensor still has the shape, dtype and strides of a copy, rather than new `.data`."""
    if tensor.shape != contents.shape or tensor.dtype != contents.dtype:
        return False
    # a copy of a tensor with gaps in memory has other strides from the start
    return tensor.stride() == contents.stride() or torch.empty_like(tensor, device="meta").stride() != tensor.stride()


def write(tensor: Tensor, contents: Tensor) -> None:
    """Write a tensor in place; its version counter may or may not change.

    A tensor that was resized gets new storage: resizing it back would resize the storage under its views.
    """
    if tensor.layout is torch.strided:
        if same_form(tensor, contents):
            tensor.data.copy_(contents)
        else:
            tensor.data = beside(contents, tensor).detach().clone()
    else:  # `.data` of a sparse tensor is another object with its own indices
        with torch.no_grad():
            tensor.copy_(contents)


def size_of(tensor: Tensor) -> int:
    """Return the bytes of a tensor's elements; of a sparse one, of its indices and values."""
    if tensor.layout is torch.sparse_coo:
        flat = tensor.detach().coalesce()
        return size_of(flat.indices()) + size_of(flat.values())
    return tensor.numel() * tensor.element_size()


def hash_of(tensor: Tensor) -> bytes:
    """Return a hash (xxh3_128) of the contents of a tensor, as `tensor_bytes` returns them."""
    if tensor.layout is not torch.strided or tensor.is_meta:
        return xxhash.xxh3_128_digest(tensor_bytes(tensor))
    flat = words(tensor).contiguous().cpu()
    # not through `.numpy()`, after which torch refuses to resize the storage of the user's tensor
    return xxhash.xxh3_128_digest((ctypes.c_char * flat.nbytes).from_address(flat.data_ptr()))


def sketch_of(tensors: Iterable[Tensor | None]) -> str:
    """Return a hash of the first rows of each tensor, about a thousand elements and at least one row, as hex."""
    parts = [_first_rows(tensor) for tensor in tensors]
    rows = iter(fetched([part for part in parts if isinstance(part, Tensor)]))
    sketch = xxhash.xxh3_128()
    for part in parts:
        sketch.update(hash_of(next(rows)) if isinstance(part, Tensor) else part)
    return str(sketch.hexdigest())


def _first_rows(tensor: Tensor | None) -> Tensor | bytes:
    """Return the bytes of the first rows of a dense tensor; a hash of another one."""
    if tensor is None or tensor.layout is not torch.strided or tensor.is_nested or tensor.is_meta:
        return b"None" if tensor is None else hash_of(tensor)
    rows = words(tensor)
    if tensor.numel() > _SKETCHED:
        rows = rows[: max(1, _SKETCHED * len(tensor) // tensor.numel())]
    return rows.contiguous().view(-1).view(torch.uint8)
