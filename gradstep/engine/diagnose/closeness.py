"""The difference of two tensors, bit for bit or with the tolerances of `torch.testing.assert_close`."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from gradstep.engine.bits import same_bits, words
from gradstep.engine.numbers.readable import dtype_name
from gradstep.engine.numbers.selection import unravel
from gradstep.values.differences import TensorDifference, Tolerance

_CLOSE: dict[torch.dtype, tuple[float, float]] = {
    torch.float16: (1e-3, 1e-5),
    torch.bfloat16: (1.6e-2, 1e-5),
    torch.float32: (1.3e-6, 1e-5),
    torch.float64: (1e-7, 1e-7),
    torch.complex32: (1e-3, 1e-5),
    torch.complex64: (1.3e-6, 1e-5),
    torch.complex128: (1e-7, 1e-7),
}
"""rtol and atol for each dtype (docs.pytorch.org/docs/stable/testing.html, assert_close); 0 for all others. For two
dtypes the larger ones hold."""
_PART = 1 << 22
"""Elements compared at a time: a large tensor in float64 would take several times its memory."""


def close_for(*dtypes: torch.dtype) -> tuple[float, float]:
    """Return the rtol and atol that `torch.testing.assert_close` uses for tensors of these dtypes."""
    pairs = [_CLOSE.get(dtype, (0.0, 0.0)) for dtype in dtypes]
    return max(rtol for rtol, _ in pairs), max(atol for _, atol in pairs)


def difference_of(
    name: str, one: Tensor | None, other: Tensor | None, tolerance: Tolerance | None = None
) -> TensorDifference | None:
    """Return the difference of two tensors; None when they are equal or close.

    Args:
        name: their name.
        one: the first; None if it does not exist.
        other: the second.
        tolerance: the accepted difference; None to compare bits.
    """
    if one is None or other is None:
        if one is other:
            return None
        there = "none and a tensor" if one is None else "a tensor and none"
        return TensorDifference(name, there)
    one, other = one.detach(), other.detach()
    if one.shape != other.shape:
        return TensorDifference(name, f"its shape is {tuple(one.shape)} and {tuple(other.shape)}")
    if one.is_meta or other.is_meta:
        return None
    if one.device == other.device and same_bits(one, other):
        return None
    if tolerance is None and one.dtype != other.dtype:
        return TensorDifference(name, f"its dtype is {dtype_name(one)} and {dtype_name(other)}")
    return _measured(name, _plain(one), _plain(other), tolerance)


def _measured(name: str, one: Tensor, other: Tensor, tolerance: Tolerance | None) -> TensorDifference | None:
    rtol, atol = _allowed(tolerance, one, other)
    largest, place, differing, start = -1.0, 0, 0, 0
    moved, size = 0.0, 0.0
    for a, b in _parts(one, other):
        gap = (b - a).abs()
        gap[(a == b) | (a.isnan() & b.isnan())] = 0.0  # also inf and inf, whose difference is NaN
        differing += int((~torch.isclose(b, a, rtol=rtol, atol=atol, equal_nan=True)).sum())
        top = int(gap.isnan().int().argmax()) if bool(gap.isnan().any()) else int(gap.argmax())
        found = float(gap[top])
        if not math.isnan(largest) and (math.isnan(found) or found > largest):
            largest, place = found, start + top
        moved, size = moved + float((gap * gap).sum()), size + float((a.abs() ** 2).nansum())
        start += a.numel()
    if tolerance is not None and not differing:
        return None
    if tolerance is None:
        bits = (words(one) != words(other)).reshape(one.numel(), -1).any(-1)
        differing = int(bits.sum())
        place = place if largest else int(bits.int().argmax())  # only -0.0 and 0.0 differ
    at = unravel(place, one.shape)
    real = not one.is_complex() and not other.is_complex()
    return TensorDifference(
        name,
        largest=max(largest, 0.0) if not math.isnan(largest) else largest,
        at=at,
        first=float(one[at]) if real else None,
        second=float(other[at]) if real else None,
        ulps=_ulps(one[at], other[at]),
        relative=math.sqrt(moved / size) if size else None,
        differing=differing,
        elements=one.numel(),
        rtol=None if tolerance is None else rtol,
        atol=None if tolerance is None else atol,
    )


def _allowed(tolerance: Tolerance | None, one: Tensor, other: Tensor) -> tuple[float, float]:
    if tolerance is None:
        return 0.0, 0.0
    if tolerance.rtol is not None or tolerance.atol is not None:
        return tolerance.rtol or 0.0, tolerance.atol or 0.0
    given = [getattr(torch, name) for name in tolerance.dtypes]
    # integers and booleans are compared exactly, whatever dtype the rest is computed in
    coarse = given if one.dtype in _CLOSE or other.dtype in _CLOSE else []
    return close_for(one.dtype, other.dtype, *coarse)


def _parts(one: Tensor, other: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    wide = torch.complex128 if one.is_complex() or other.is_complex() else torch.float64
    flat = one.reshape(-1), other.reshape(-1)
    for start in range(0, one.numel(), _PART):
        a, b = (each[start : start + _PART].cpu().to(wide) for each in flat)
        yield a, b


def _plain(tensor: Tensor) -> Tensor:
    """Return a tensor as dense and not quantized."""
    if tensor.is_quantized:
        return tensor.dequantize()
    return tensor.to_dense() if tensor.layout is not torch.strided else tensor


def _ulps(one: Tensor, other: Tensor) -> int | None:
    """Return the distance of two floats in units in the last place; None for different signs or dtypes.

    It is the difference of their bits read as integers (IEEE 754 orders floats of one sign so).
    """
    if one.dtype != other.dtype or not one.is_floating_point() or one.element_size() > 8:
        return None
    a, b = float(one), float(other)
    if not math.isfinite(a) or not math.isfinite(b) or math.copysign(1, a) != math.copysign(1, b):
        return None
    return abs(int(words(one)) - int(words(other)))
