"""Tensors as bits: comparing, copying into kept memory, and hashing, so that -0.0 and NaN count as what they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
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
    """Tell whether two tensors of any layout hold the same bits in the same shape and dtype."""
    if one.shape != other.shape or one.dtype != other.dtype or one.layout != other.layout:
        return False
    if one.is_meta:
        return True
    if one.layout is not torch.strided:
        return tensor_bytes(one) == tensor_bytes(other)
    return torch.equal(words(one), words(other))


def different(one: Tensor, other: Tensor) -> Tensor:
    """Return a bool tensor: True where the bits of two dense tensors of one shape and dtype differ."""
    mask = words(one) != words(other)
    return mask.any(-1) if one.is_complex() else mask


def tensor_bytes(tensor: Tensor) -> bytes:
    """Return what a tensor holds as bytes, row by row; a sparse one as its coalesced indices and values."""
    if tensor.is_meta:
        return b""
    if tensor.layout is torch.sparse_coo:
        flat = tensor.detach().coalesce()
        return tensor_bytes(flat.indices()) + tensor_bytes(flat.values())
    if tensor.layout is not torch.strided:
        return tensor_bytes(tensor.detach().to_dense())
    return words(tensor).contiguous().cpu().numpy().tobytes()


class Copies:
    """Copies of tensors in memory that is used again: a fresh allocation costs more than the copy."""

    def __init__(self) -> None:
        self._kept: dict[object, Tensor] = {}

    def take(self, keys: Sequence[object], tensors: Sequence[Tensor]) -> list[Tensor]:
        """Copy each tensor into the memory kept under its key, and return the copies, strides as in the original.

        A copy is valid until the next `take` with the same key.
        """
        targets = [self._target(key, tensor) for key, tensor in zip(keys, tensors, strict=True)]
        sources = [tensor.detach() for tensor in tensors]
        if sources:
            torch._foreach_copy_(targets, sources)
        return targets

    def _target(self, key: object, tensor: Tensor) -> Tensor:
        kept = self._kept.get(key)
        if (
            kept is None
            or kept.shape != tensor.shape
            or kept.dtype != tensor.dtype
            or kept.stride() != tensor.stride()
            or kept.device != tensor.device
        ):
            kept = self._kept[key] = torch.empty_like(tensor, requires_grad=False)
        return kept
