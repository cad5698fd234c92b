"""Small line charts with two logarithmic axes, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_WIDTH, _HEIGHT = 270, 190
_LEFT, _TOP, _RIGHT, _BOTTOM = 44, 26, 12, 24
_COLOURS = ("#1f6feb", "#8b949e", "#e66e0a")
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Series(NamedTuple):
    """A named line."""

    name: str
    points: Sequence[tuple[float, float]]


class Chart(NamedTuple):
    """Some lines over the same axes."""

    title: str
    series: Sequence[Series]


def page(charts: Sequence[Chart], columns: int) -> str:
    """Return charts in rows of `columns`, as one SVG file."""
    rows = math.ceil(len(charts) / columns)
    width, height = columns * _WIDTH, rows * _HEIGHT
    parts = [
        f'<g transform="translate({place % columns * _WIDTH} {place // columns * _HEIGHT})">{_drawn(chart)}</g>'
        for place, chart in enumerate(charts)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="monospace" font-size="10"><rect width="{width}" height="{height}" fill="#ffffff"/>'
        f"{''.join(parts)}</svg>\n"
    )


def _drawn(chart: Chart) -> str:
    points = [point for each in chart.series for point in each.points]
    (left, right), (low, high) = (_decades([point[axis] for point in points]) for axis in (0, 1))

    def x(value: float) -> float:
        return _LEFT + (math.log10(value) - left) / (right - left) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (math.log10(value) - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [f'<text x="8" y="14" fill="#1f2328" font-size="12">{escape(chart.title)}</text>']
    for power in range(low, high + 1):
        at = y(10.0**power)
        parts.append(f'<path d="M{_LEFT} {at:.1f}H{_WIDTH - _RIGHT}" stroke="#d0d7de"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{at + 3:.1f}" text-anchor="end" fill="#59636e">{_power(power)}</text>')
    for power in range(left, right + 1):
        label = f'<text x="{x(10.0**power):.1f}" y="{_HEIGHT - 9}" text-anchor="middle" fill="#59636e">'
        parts.append(f"{label}{_power(power)}</text>")
    for each, colour in zip(chart.series, _COLOURS, strict=False):
        path = "L".join(f"{x(a):.1f} {y(b):.1f}" for a, b in each.points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="2.5" fill="{colour}"/>' for a, b in each.points]
    names = "  ".join(
        f'<tspan fill="{colour}">{escape(each.name)}</tspan>'
        for each, colour in zip(chart.series, _COLOURS, strict=False)
    )
    return "".join(
        [*parts, f'<text x="{_WIDTH - _RIGHT}" y="14" text-anchor="end" xml:space="preserve">{names}</text>']
    )


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """Return the powers of ten around some values; at least one decade."""
    low, high = math.floor(math.log10(min(values)) + 1e-9), math.ceil(math.log10(max(values)) - 1e-9)
    return low, max(high, low + 1)


def _power(power: int) -> str:
    return f"{10**power:g}" if -1 <= power <= 3 else f"10{str(power).translate(_SUPERSCRIPT)}"
