"""Numbers in formulas: those of tensors with their sign, hyper-parameters as they are written in code."""

from __future__ import annotations

import math

from gradstep.values.tables import number

DIGITS = 4
"""Decimals of an element, as in the tensor panel."""
_MOST = 9
"""Decimals at most: more than float32 tells apart."""


def signed(value: float | None, digits: int = DIGITS) -> str:
    """Write an element: always with its sign, an exact zero as 0, None as `none`."""
    if value is None:
        return "none"
    if value == 0:
        return "−0" if math.copysign(1.0, value) < 0 else "0"
    text = number(value, digits)
    return text if value != value or text.startswith("−") else f"+{text}"


def plain(value: float) -> str:
    """Write a hyper-parameter the short way: 0.001, 1e−08."""
    return f"{value:.6g}".replace("-", "−")


def digits_that_tell(before: float, after: float) -> int:
    """Return the decimals from which on two numbers are written differently."""
    if before == after or not math.isfinite(before - after):
        return DIGITS
    return next((d for d in range(DIGITS, _MOST) if signed(before, d) != signed(after, d)), _MOST)
