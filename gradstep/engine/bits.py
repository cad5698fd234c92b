"""Tensors as bits: comparing, exchanging and hashing, so that -0.0 and NaN count as what they are."""

from __future__ import annotations

import ctypes

import torch
import xxhash
from torch import Tensor

_WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def words(tensor: Tensor) -> Tensor:
    """Return a view of a dense tensor as integers of the same width, complex ones as pairs; strides are kept."""
    plain = tensor.detach()
    if plain.is_complex():
        plain = torch.view_as_real(plain.resolve_conj())
    if plain.is_neg():
        plain = plain.resolve_neg()
    return plain.view(_WORDS[plain.element_size()])


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors of any layout hold the same bits in the same shape and dtype."""
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
    if one.is_cpu and other.is_cpu and one.stride() == other.stride() and _is_solid(one):
        return not _memcmp(one.data_ptr(), other.data_ptr(), one.nbytes)  # several times as fast as torch.equal
    return torch.equal(words(one), words(other))


_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


def _is_solid(tensor: Tensor) -> bool:
    """Return whether a tensor's elements fill their stretch of memory without gaps, as those of most do."""
    if tensor.is_conj() or tensor.is_neg():
        return False
    return tensor.is_contiguous() or (tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last))


def beside(tensor: Tensor, other: Tensor) -> Tensor:
    """Return a tensor where another one is: a copy may lie in host memory, and nothing computes across devices."""
    return tensor if tensor.device == other.device else tensor.to(other.device)


def different(one: Tensor, other: Tensor) -> Tensor:
    """Return a bool tensor: True where the bits of two dense tensors of one shape and dtype differ."""
    mask = words(one) != words(beside(other, one))
    return mask.any(-1) if one.is_complex() else mask


def tensor_bytes(tensor: Tensor) -> bytes:
    """Return what a tensor holds as bytes, row by row; a sparse one as its coalesced indices and values."""
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
    """Return whether a dense tensor still has the shape, dtype and strides that a copy of it was made with.

    It has not where it was resized or given other `.data` since.
    """
    if tensor.shape != contents.shape or tensor.dtype != contents.dtype:
        return False
    # a copy of what is not dense has other strides from the start
    return tensor.stride() == contents.stride() or torch.empty_like(tensor, device="meta").stride() != tensor.stride()


def write(tensor: Tensor, contents: Tensor) -> None:
    """Write a tensor in place; its version counter may move or not.

    One that was resized gets a storage of its own: resizing it back would resize the storage under its views.
    """
    if tensor.layout is torch.strided:
        if same_form(tensor, contents):
            tensor.data.copy_(contents)
        else:
            tensor.data = beside(contents, tensor).detach().clone()
    else:  # `.data` of a sparse one is another object with indices of its own
        with torch.no_grad():
            tensor.copy_(contents)


def size_of(tensor: Tensor) -> int:
    """Return how many bytes a tensor's elements take; of a sparse one its indices and values."""
    if tensor.layout is torch.sparse_coo:
        flat = tensor.detach().coalesce()
        return size_of(flat.indices()) + size_of(flat.values())
    return tensor.numel() * tensor.element_size()


def hash_of(tensor: Tensor) -> bytes:
    """Return a hash of what a tensor holds, row by row (xxh3_128); of what `tensor_bytes` returns."""
    if tensor.layout is not torch.strided or tensor.is_meta:
        return xxhash.xxh3_128_digest(tensor_bytes(tensor))
    flat = words(tensor).contiguous().cpu()
    # read where it lies, not by `.numpy()`: torch would never again resize the storage of the user's tensor
    return xxhash.xxh3_128_digest((ctypes.c_char * flat.nbytes).from_address(flat.data_ptr()))
