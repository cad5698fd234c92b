"""Numbers in formulas: elements of tensors with their sign, hyper-parameters as in code."""

from __future__ import annotations

import math

from gradstep.values import numbers

DIGITS = 4
"""Decimals of an element, as in the tensor panel."""
_MOST = 9
"""Maximum number of decimals: more than float32 can distinguish."""
_SMALL = 1e-6
"""Smaller numbers are written with an exponent."""


def signed(value: float | None, digits: int = DIGITS) -> str:
    """Write an element: always with its sign, an exact zero as 0, None as `none`.

    A number with less than two significant digits in `digits` decimals is written with an exponent.
    """
    if value is None:
        return "none"
    if value == 0:
        return numbers.signed(value, numbers.Form(0))
    return numbers.written(value, digits, 10.0 ** (1 - digits), 1e6, 3, sign=True)


def digits_that_tell(before: float, after: float) -> int:
    """Return the number of decimals that distinguish two numbers, with two digits for small ones."""
    sizes = [abs(value) for value in (before, after) if value and math.isfinite(value)]
    least = min(sizes, default=1.0)
    first = max(DIGITS, 1 - math.floor(math.log10(least))) if least >= _SMALL else DIGITS
    if before == after or not math.isfinite(before - after):
        return first
    return next((d for d in range(first, _MOST) if signed(before, d) != signed(after, d)), _MOST)
