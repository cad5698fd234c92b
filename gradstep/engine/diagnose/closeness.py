"""How far two tensors are apart, and whether that is close: to the bit, or as `torch.testing.assert_close` counts."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from gradstep.engine.bits import same_bits, words
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
"""rtol and atol for each dtype (docs.pytorch.org/docs/stable/testing.html, assert_close); 0 for all others. Of two
dtypes the greater ones hold."""
_PART = 1 << 22
"""Elements that are compared at a time: in double precision, a large tensor would take several times its memory."""


def close_for(*dtypes: torch.dtype) -> tuple[float, float]:
    """Return the rtol and atol that `torch.testing.assert_close` takes for tensors of these dtypes."""
    pairs = [_CLOSE.get(dtype, (0.0, 0.0)) for dtype in dtypes]
    return max(rtol for rtol, _ in pairs), max(atol for _, atol in pairs)


def difference_of(
    name: str, one: Tensor | None, other: Tensor | None, tolerance: Tolerance | None = None
) -> TensorDifference | None:
    """Return how far two tensors are apart; None where they are not.

    Args:
        name: what they are called.
        one: the first; None where there is none.
        other: the second.
        tolerance: what is let pass; None to compare bits.
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
        return TensorDifference(name, f"its dtype is {_word(one)} and {_word(other)}")
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
        place = place if largest else int(bits.int().argmax())  # -0.0 and 0.0 are as far apart as any other equals
    at = tuple(int(i) for i in torch.unravel_index(torch.tensor(place), one.shape)) if one.dim() else ()
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
    told = [getattr(torch, name) for name in tolerance.dtypes]
    # a whole number or a flag is the same or it is not, whatever the dtype that the rest is computed in
    coarse = told if one.dtype in _CLOSE or other.dtype in _CLOSE else []
    return close_for(one.dtype, other.dtype, *coarse)


def _parts(one: Tensor, other: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    wide = torch.complex128 if one.is_complex() or other.is_complex() else torch.float64
    flat = one.reshape(-1), other.reshape(-1)
    for start in range(0, one.numel(), _PART):
        a, b = (each[start : start + _PART].cpu().to(wide) for each in flat)
        yield a, b


def _plain(tensor: Tensor) -> Tensor:
    """Return a tensor as a dense one of numbers."""
    if tensor.is_quantized:
        return tensor.dequantize()
    return tensor.to_dense() if tensor.layout is not torch.strided else tensor


def _ulps(one: Tensor, other: Tensor) -> int | None:
    """Return how many numbers of their dtype lie between two, and one more; None where that says nothing.

    The bits of two floats of one sign, read as whole numbers, differ by that (IEEE 754 orders them so).
    """
    if one.dtype != other.dtype or not one.is_floating_point() or one.element_size() > 8:
        return None
    a, b = float(one), float(other)
    if not math.isfinite(a) or not math.isfinite(b) or math.copysign(1, a) != math.copysign(1, b):
        return None
    return abs(int(words(one)) - int(words(other)))


def _word(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
