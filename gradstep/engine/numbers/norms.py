"""Norms of tensors; every norm that is shown or evaluated comes from here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from gradstep.engine.bits import beside
from gradstep.engine.reads import Reading, gather, on_host, scalars, scalars_or_none

BY_ROWS = 1 << 17
"""Elements from which a norm is computed by rows, the same number as in a chunk of the statistics.
`torch.linalg.vector_norm` sums float32 squares in float32: its relative error is 1e-6 at twice as many elements, 1e-4
at 4 million and 3e-3 at 40 million (torch 2.13, CPU)."""
_ROW = 4096
_BLOCK = 1 << 18
"""Elements of a block: a MiB of float32, which the cache of a core holds."""


def norms(tensors: Sequence[Tensor]) -> Reading[list[float | None]]:
    """Read the L2 norm of each tensor; None for one without a norm (integers, bools, meta, empty)."""
    return norms_from(tensors, norms_there(tensors))


def norms_from(tensors: Sequence[Tensor], there: Sequence[Tensor | None]) -> Reading[list[float | None]]:
    """Read the norms that `norms_there` has computed of tensors."""
    values = yield from scalars_or_none(there)
    return [norm_of(each) if value == math.inf else value for each, value in zip(tensors, values, strict=True)]


def norms_there(tensors: Sequence[Tensor]) -> list[Tensor | None]:
    """Return the L2 norm of each tensor on its device; None for one without a norm.

    `torch._foreach_norm` computes those of small dense tensors together, 14 times faster on a GPT-2 than one by one.
    """
    made: list[Tensor | None] = [None] * len(tensors)
    groups: dict[tuple[torch.device, torch.dtype], list[int]] = {}
    for i, tensor in enumerate(tensors):
        if not has_norm(tensor):
            continue
        if tensor.layout is not torch.strided or tensor.numel() >= BY_ROWS:
            made[i] = _norm(tensor)
        else:
            groups.setdefault((tensor.device, tensor.dtype), []).append(i)
    for places in groups.values():
        for i, norm in zip(places, torch._foreach_norm([wide(tensors[i]) for i in places]), strict=True):
            made[i] = norm
    return made


def norm_of(tensor: Tensor) -> float | None:
    """Return the L2 norm of one tensor; None when it has none."""
    if not has_norm(tensor):
        return None
    value = float(_norm(tensor))
    if math.isinf(value) and tensor.device.type != "mps":  # squares of numbers from 1e19 overflow float32
        plain = _dense(tensor)
        value = float(torch.linalg.vector_norm(plain, dtype=torch.complex128 if plain.is_complex() else torch.float64))
    return value


def _norm(tensor: Tensor) -> Tensor:
    """Return the L2 norm of a tensor that has one, on its device."""
    plain = _dense(tensor)
    return flat_norm(plain.reshape(-1)) if plain.is_contiguous() else torch.linalg.vector_norm(plain)


def _dense(tensor: Tensor) -> Tensor:
    plain = wide(tensor)
    if plain.layout is torch.strided:
        return plain
    return plain.coalesce().values() if plain.layout is torch.sparse_coo else plain.to_dense()


class UpdateNorms(NamedTuple):
    """The norms of one tensor before and after a write, and of the difference; None for a tensor without a norm."""

    before: float | None
    after: float | None
    change: float | None


def change_norm(now: Tensor, before: Tensor) -> float | None:
    """Return `norm_of` the difference of two tensors of one shape and dtype on one device, bit for bit.

    The difference of large ones is never held whole: it is taken in blocks that stay in the cache.
    """
    one, other = wide(now), wide(before)
    plain = one.layout is torch.strided and one.is_contiguous() and other.is_contiguous() and not one.is_complex()
    if one.numel() < BY_ROWS or not plain or one.device.type == "mps":
        return norm_of(one - other)
    rows = one.numel() // _ROW
    several = one.reshape(-1), other.reshape(-1)
    after, old = (flat[: rows * _ROW].view(rows, _ROW) for flat in several)
    step = _BLOCK // _ROW
    buffer = torch.empty((min(step, rows), _ROW), dtype=one.dtype, device=one.device)
    parts: list[Tensor] = []
    for start in range(0, rows, step):
        here = after[start : start + step]
        change = torch.sub(here, old[start : start + step], out=buffer[: len(here)])
        parts.append(torch.linalg.vector_norm(change, dim=1))
    ends = [flat[rows * _ROW :] for flat in several]
    value = float(_total(torch.cat(parts), torch.linalg.vector_norm(ends[0] - ends[1])))
    return value if math.isfinite(value) else norm_of(one - other)  # squares may have overflowed


ReadNorms: TypeAlias = Callable[[Sequence[Tensor]], Reading[list[float | None]]]
"""Reads the norm of each tensor, as `norms` does."""


def all_update_norms(pairs: Sequence[tuple[Tensor, Tensor]], of: ReadNorms = norms) -> Reading[list[UpdateNorms]]:
    """Read the norms of tensors and of their contents before a write, and of the differences.

    Args:
        pairs: each tensor, and its contents before. A copy that is in host memory is on the device only while it is
            used.
        of: reads the norms of tensors in host memory, which may be known.
    """
    made: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
    for place, (now, before) in enumerate(pairs):
        if not on_host(now):
            there = beside(before, now)
            made[place] = (_norm(there), _norm(now), _norm(wide(now) - wide(there)))
    here = [pair for place, pair in enumerate(pairs) if place not in made]
    away, old, new = yield from gather(
        [
            scalars([value for several in made.values() for value in several]),
            of([before for _, before in here]),
            of([now for now, _ in here]),
        ]
    )
    values, known = iter(away), iter(zip(old, new, strict=True))
    found = []
    for place, (now, before) in enumerate(pairs):
        if place not in made:
            found.append(UpdateNorms(*next(known), change_norm(now, beside(before, now))))
            continue
        several = UpdateNorms(next(values), next(values), next(values))
        if math.inf in several:
            there = beside(before, now)
            several = UpdateNorms(norm_of(there), norm_of(now), change_norm(now, there))
        found.append(several)
    return found


def _total(parts: Tensor, rest: Tensor) -> Tensor:
    total: Tensor = torch.linalg.vector_norm(torch.cat([parts, rest[None]]), dtype=torch.float64)
    return total


def flat_norm(flat: Tensor, part: bool = False) -> Tensor:
    """Return the L2 norm of a flat tensor, accurate to float32 precision at any length.

    Args:
        flat: the tensor.
        part: True for the last chunk of a longer tensor, which is computed by rows at any length.
    """
    if (flat.numel() < BY_ROWS and not part) or flat.device.type == "mps":
        whole: Tensor = torch.linalg.vector_norm(flat)
        return whole
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
