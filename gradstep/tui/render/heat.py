"""A number as a cell of a heat map: its sign as a glyph and by hue, its magnitude as a shade and by depth.

Two cells of the terminal, which are about square, hold one number. Without colours the glyphs alone tell the sign and
four depths; with them the second glyph is the colour of its ground, and the cell is one patch.
"""

from __future__ import annotations

import math

from gradstep.tui.render.lines import Row, Span
from gradstep.tui.render.tones import HEAT
from gradstep.values.numbers import MINUS

CELL = 2
"""Cells of the terminal that a number takes."""
_SHADES = "░░▒▒▓▓█"
_CROWD = 3.0
"""A magnitude so many times the root mean square is as deep as any: what stands out must not leave the rest pale."""


def scale_of(greatest: float, rms: float) -> tuple[float, str]:
    """Return the magnitude that is drawn deepest, and in words what it is."""
    if not greatest:
        return 0.0, "no number but 0"
    if rms * _CROWD >= greatest:
        return greatest, "max"
    return rms * _CROWD, f"{_CROWD:g} rms"


def level(value: float, scale: float) -> int:
    """Return how deep a finite number is drawn, -7 to 7; 0 for an exact zero only."""
    if value == 0:
        return 0
    depth = max(1, math.ceil(min(1.0, abs(value) / scale) * HEAT)) if scale > 0 else HEAT
    return depth if value > 0 else -depth


def cell(value: float | None, scale: float, here: bool = False) -> tuple[Span, Span]:
    """Return a number as two spans of one cell each; `here` for the one under the cursor.

    Args:
        value: the number; None where there is none.
        scale: the magnitude that is drawn deepest.
        here: True for the cell that the cursor is on.
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
    """Append every depth from far below zero to far above it."""
    row.add(f"{MINUS} ", "negative")
    for depth in range(-HEAT, HEAT + 1):
        if depth:
            row.add(_SHADES[abs(depth) - 1], f"solid:{depth}")
        else:
            row.add(" 0 ", "dim")
    return row.add(" +", "positive")


RAMP = 2 * HEAT + 7
"""Cells that the ramp takes."""
