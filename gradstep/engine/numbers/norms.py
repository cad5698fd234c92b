"""Norms of tensors; every norm that is shown or evaluated comes from here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

BY_ROWS = 1 << 17
"""Elements from which a norm is computed by rows, the same number as in a chunk of the statistics.
`torch.linalg.vector_norm` sums float32 squares in float32: its relative error is 1e-6 at twice as many elements, 1e-4
at 4 million and 3e-3 at 40 million (torch 2.13, CPU)."""
_ROW = 4096
_BLOCK = 1 << 18
"""Elements of a block: three of float32 are 3 MiB, which a core's cache holds."""


def norms(tensors: Sequence[Tensor]) -> list[float | None]:
    """Return the L2 norm of each tensor; None for one without a norm (integers, bools, meta, empty).

    `torch._foreach_norm` computes those of dense tensors together, 14 times faster on a GPT-2 than one by one.
    """
    found: list[float | None] = [None] * len(tensors)
    groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for i, tensor in enumerate(tensors):
        if tensor.layout is not torch.strided or tensor.numel() >= BY_ROWS:
            found[i] = norm_of(tensor)
        elif has_norm(tensor):
            groups.setdefault((tensor.device, tensor.dtype), []).append(i)
    for places in groups.values():
        made = torch.stack(list(torch._foreach_norm([wide(tensors[i]) for i in places])))
        for i, value in zip(places, made.tolist(), strict=True):
            found[i] = value if math.isfinite(value) else norm_of(tensors[i])
    return found


def norm_of(tensor: Tensor) -> float | None:
    """Return the L2 norm of one tensor; None when it has none."""
    if not has_norm(tensor):
        return None
    plain = wide(tensor)
    if plain.layout is not torch.strided:
        plain = plain.coalesce().values() if plain.layout is torch.sparse_coo else plain.to_dense()
    value = flat_norm(plain.reshape(-1)) if plain.is_contiguous() else float(torch.linalg.vector_norm(plain))
    if math.isinf(value) and plain.device.type != "mps":  # squares of numbers from 1e19 overflow float32
        value = float(torch.linalg.vector_norm(plain, dtype=torch.complex128 if plain.is_complex() else torch.float64))
    return value


class UpdateNorms(NamedTuple):
    """The norms of one tensor before and after a write, and of the difference; None for a tensor without a norm."""

    before: float | None
    after: float | None
    change: float | None


def update_norms(now: Tensor, before: Tensor) -> UpdateNorms:
    """Return the three norms in one pass, in blocks that stay in the cache; bit-identical to `norm_of` of each.

    A large tensor is read once, and its difference is never held whole.

    Args:
        now: the tensor.
        before: its contents before, of the same shape and dtype, on the same device.
    """
    one, other = wide(now), wide(before)
    plain = one.layout is torch.strided and one.is_contiguous() and other.is_contiguous() and not one.is_complex()
    if one.numel() < BY_ROWS or not plain or one.device.type == "mps":
        return UpdateNorms(norm_of(before), norm_of(now), norm_of(one - other))
    rows = one.numel() // _ROW
    several = one.reshape(-1), other.reshape(-1)
    after, old = (flat[: rows * _ROW].view(rows, _ROW) for flat in several)
    step = _BLOCK // _ROW
    buffer = torch.empty((min(step, rows), _ROW), dtype=one.dtype, device=one.device)
    parts: list[list[Tensor]] = [[], [], []]
    for start in range(0, rows, step):
        here, there = after[start : start + step], old[start : start + step]
        change = torch.sub(here, there, out=buffer[: len(here)])
        for into, block in zip(parts, (there, here, change), strict=True):
            into.append(torch.linalg.vector_norm(block, dim=1))
    ends = [flat[rows * _ROW :] for flat in (several[1], several[0])]
    rests = [torch.linalg.vector_norm(end) for end in (*ends, ends[1] - ends[0])]
    found = [_total(torch.cat(blocks), rest) for blocks, rest in zip(parts, rests, strict=True)]
    if not all(map(math.isfinite, found)):  # squares may have overflowed, which `norm_of` sees to
        found = [norm_of(other) or 0.0, norm_of(one) or 0.0, norm_of(one - other) or 0.0]
    return UpdateNorms(*found)


def _total(parts: Tensor, rest: Tensor) -> float:
    return float(torch.linalg.vector_norm(torch.cat([parts, rest[None]]), dtype=torch.float64))


def flat_norm(flat: Tensor, part: bool = False) -> float:
    """Return the L2 norm of a flat tensor, accurate to float32 precision at any length.

    Args:
        flat: the tensor.
        part: True for the last chunk of a longer tensor, which is computed by rows at any length.
    """
    if (flat.numel() < BY_ROWS and not part) or flat.device.type == "mps":
        return float(torch.linalg.vector_norm(flat))
    rows = flat.numel() // _ROW
    parts = torch.linalg.vector_norm(flat[: rows * _ROW].view(rows, _ROW), dim=1)
    rest = torch.linalg.vector_norm(flat[rows * _ROW :])
    return _total(parts, rest)


def wide(tensor: Tensor) -> Tensor:
    """Return a tensor in a dtype wide enough to compute with: float16, bfloat16 and narrower as float32."""
    narrow = tensor.dtype.is_floating_point and tensor.element_size() <= 2
    return tensor.detach().float() if narrow else tensor.detach()


def has_norm(tensor: Tensor) -> bool:
    """Return whether a tensor has a norm: it has at least one element, of a floating-point or complex dtype."""
    floating = tensor.dtype.is_floating_point or tensor.dtype.is_complex
    return floating and not tensor.is_meta and not tensor.is_nested and tensor.numel() > 0
