"""Small text graphics: sparklines, bars on a log scale, gauges and greyscale images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from gradstep.tui.render.lines import Row, Span

_BLOCKS = "▁▂▃▄▅▆▇█"
_PARTS = " ▏▎▍▌▋▊▉"
_SHADES = " ░▒▓█"
GREYS = 16
"""Grey levels of an image; there is a tone `pixel:a:b` for each pair of them."""


class Decades(NamedTuple):
    """A log scale from 10**low to 10**high."""

    low: int
    high: int

    def place(self, value: float) -> float:
        """Return the position of a positive number on the scale, 0 to 1 within it."""
        return (math.log10(value) - self.low) / (self.high - self.low)


def decades_of(values: Sequence[float | None], least: int = 4) -> Decades | None:
    """Return at least `least` decades that cover all positive finite numbers; None without any."""
    exponents = [math.log10(v) for v in values if v is not None and math.isfinite(v) and v > 0]
    if not exponents:
        return None
    high = math.floor(max(exponents)) + 1
    return Decades(min(math.floor(min(exponents)), high - least), high)


def power(exponent: int) -> str:
    """Write a power of ten: `1e−12`, `1e0`."""
    return f"1e{exponent}".replace("-", "−")


def bar(value: float | None, scale: Decades | None, cells: int) -> str:
    """Return a bar with a resolution of an eighth of a cell; empty for what a log scale can't show."""
    if value is None or scale is None or not math.isfinite(value) or value <= 0 or cells < 1:
        return ""
    eighths = max(1, min(cells * 8, round(scale.place(value) * cells * 8)))
    return ("█" * (eighths // 8) + _PARTS[eighths % 8]).rstrip()


def gauge(row: Row, column: int, value: float | None, scale: Decades, mark: float, cells: int, tone: str) -> None:
    """Draw a track with a mark, and a dot at the value; an arrow at an end if it lies beyond."""
    track = ["·"] * cells
    track[round(scale.place(mark) * (cells - 1))] = "│"
    if value is None or not math.isfinite(value) or value <= 0:
        row.left(column, "".join(track), "line")
        return
    place = scale.place(value)
    at = max(0, min(cells - 1, round(place * (cells - 1))))
    row.left(column, "".join(track[:at]), "line").left(
        column + at, "◂" if place < 0 else "▸" if place > 1 else "●", tone
    )
    row.left(column + at + 1, "".join(track[at + 1 :]), "line")


def spark(values: Sequence[float | None], low: float | None = None, high: float | None = None) -> list[Span]:
    """Return one character per number, scaled between `low` and `high`; a blank for None, N for NaN, ∞ for inf."""
    finite = [v for v in values if v is not None and math.isfinite(v)]
    low = min(finite, default=0.0) if low is None else low
    high = max(finite, default=0.0) if high is None else high
    return [_spark(value, low, high) for value in values]


def _spark(value: float | None, low: float, high: float) -> Span:
    if value is None:
        return Span(" ")
    if not math.isfinite(value):
        return Span("N" if math.isnan(value) else "∞", "odd")
    return Span(_BLOCKS[max(0, min(7, int(_share(value, low, high) * 8)))])


def stretch(values: Sequence[float], cells: int) -> list[float]:
    """Resample numbers to `cells` of them, by even repetition or omission."""
    count = len(values)
    if not count or cells < 1:
        return []
    return [values[min(count - 1, i * count // cells)] for i in range(cells)]


def merged(spans: list[Span]) -> list[Span]:
    """Join adjacent spans of the same tone."""
    joined: list[Span] = []
    for text, tone in spans:
        if joined and joined[-1].tone == tone:
            joined[-1] = Span(joined[-1].text + text, tone)
        else:
            joined.append(Span(text, tone))
    return joined


def picture(
    pixels: Sequence[Sequence[float]], low: float, high: float, colour: bool, scale: int = 1
) -> list[list[Span]]:
    """Draw grey pixels, two rows of pixels per row of text.

    In colour the two halves of a block are two pixels; without colour a shade is the mean of both. A non-finite number
    is a letter.

    Args:
        pixels: rows of numbers, all of the same length.
        low: the value of black.
        high: the value of white.
        colour: whether there are colours.
        scale: width of a pixel in cells, and its height in half cells.
    """
    rows = [[v for v in row for _ in range(scale)] for row in pixels for _ in range(scale)]
    if len(rows) % 2:
        rows.append([])
    return [
        [_pair(top, bottom[i] if bottom else None, low, high, colour) for i, top in enumerate(upper)]
        for upper, bottom in zip(rows[::2], rows[1::2], strict=True)
    ]


def _pair(top: float, bottom: float | None, low: float, high: float, colour: bool) -> Span:
    for value in (top, bottom):
        if value is not None and not math.isfinite(value):
            return Span("N" if math.isnan(value) else "∞", "odd")
    upper, lower = _grey(top, low, high), None if bottom is None else _grey(bottom, low, high)
    if colour:
        return Span("▀", f"pixel:{upper}:{'' if lower is None else lower}")
    mean = upper if lower is None else (upper + lower) / 2
    return Span(_SHADES[round(mean / (GREYS - 1) * (len(_SHADES) - 1))])


def _grey(value: float, low: float, high: float) -> int:
    return max(0, min(GREYS - 1, round(_share(value, low, high) * (GREYS - 1))))


def _share(value: float, low: float, high: float) -> float:
    """Return the position of a number between two others, 0 to 1; 0.5 where those are equal or not finite."""
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        return 0.5
    # halved first, so that a range from -1e308 to 1e308 does not overflow
    return (value / 2 - low / 2) / (high / 2 - low / 2)
