"""The cells of a heat map: the sign of a number as a glyph and a hue, its magnitude as a shade.

A number takes two cells of the terminal, which are about square. Without colours the glyphs alone show the sign and
four shades; with colours the second glyph has the colour of its background, so that the cell is one patch.
"""

from __future__ import annotations

import math

from gradstep.tui.render.lines import Row, Span
from gradstep.tui.render.tones import HEAT
from gradstep.values.numbers import MINUS

CELL = 2
"""Terminal cells per number."""
_SHADES = "░░▒▒▓▓█"
_CROWD = 3.0
"""The magnitude of the deepest shade is at most this many root mean squares, so that outliers don't fade the rest."""


def scale_of(greatest: float, rms: float) -> tuple[float, str]:
    """Return the magnitude that has the deepest shade, and what it is: `max`, `3 rms`."""
    if not greatest:
        return 0.0, "all zero"
    if rms * _CROWD >= greatest:
        return greatest, "max"
    return rms * _CROWD, f"{_CROWD:g} rms"


def level(value: float, scale: float) -> int:
    """Return the shade of a finite number, -7 to 7; 0 only for an exact zero."""
    if value == 0:
        return 0
    depth = max(1, math.ceil(min(1.0, abs(value) / scale) * HEAT)) if scale > 0 else HEAT
    return depth if value > 0 else -depth


def cell(value: float | None, scale: float, here: bool = False) -> tuple[Span, Span]:
    """Return a number as two spans of one cell each.

    Args:
        value: the number; None for none.
        scale: the magnitude of the deepest shade.
        here: whether the cursor is on it.
    """
    both = glyphs(value, scale)
    sign, shade = both[0], both[1]
    if here:
        return Span(sign, "block"), Span(shade, "block")
    if value is None:
        return Span(sign, "dim"), Span(shade, "dim")
    if not math.isfinite(value):
        return Span(sign, "odd"), Span(shade, "odd")
    if value == 0:
        return Span(sign, "dim"), Span(shade, "dim")
    depth = level(value, scale)
    return Span(sign, f"heat:{depth}"), Span(shade, f"solid:{depth}")


def glyphs(value: float | None, scale: float) -> str:
    """Return the two glyphs of a number: `−▒`, ` 0` for an exact zero, `NN` for NaN, `+∞`, blanks for none."""
    if value is None:
        return "  "
    if math.isnan(value):
        return "NN"
    sign = MINUS if math.copysign(1.0, value) < 0 else "+"
    if math.isinf(value):
        return f"{sign}∞"
    if value == 0:
        return f"{MINUS}0" if sign == MINUS else " 0"
    return sign + _SHADES[abs(level(value, scale)) - 1]


def ramp(row: Row) -> Row:
    """Append a legend of all shades."""
    row.add(f"{MINUS} ", "negative")
    for depth in range(-HEAT, HEAT + 1):
        if depth:
            row.add(_SHADES[abs(depth) - 1], f"solid:{depth}")
        else:
            row.add(" 0 ", "dim")
    return row.add(" +", "positive")


RAMP = 2 * HEAT + 7
"""Width of the ramp in cells."""
