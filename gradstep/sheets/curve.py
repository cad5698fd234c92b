"""The loss curve as SVG, with axes in the page's text colour, so that it is visible in light and dark themes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from gradstep.values import numbers
from gradstep.values.views import LossView

_WIDTH, _HEIGHT = 640, 200
_TOP, _RIGHT = 12, 16
_RATES = 28
"""Height of the strip below the curve that shows a varying learning rate."""
_BLUE, _ORANGE, _RED = "rgb(31,111,235)", "rgb(230,110,10)", "rgb(179,38,30)"
_DOTS = 60
"""Maximum number of points for which each is drawn as a dot."""
_TEXT = 'fill="currentColor" font-size="11" font-family="monospace"'


def curve(view: LossView, log: bool) -> str:
    """Return the history as one `svg` element; it has at least one point."""
    return _Curve(view, log).svg()


def share(value: float, low: float, high: float, log: bool) -> float:
    """Return a loss scaled to 0 for the lowest and 1 for the highest."""
    if high == low:
        return 1.0
    if log:
        return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
    # halved first, so that a range from -1e308 to 1e308 does not overflow
    return (value / 2 - low / 2) / (high / 2 - low / 2)


class _Curve:
    """The geometry of the plot."""

    def __init__(self, view: LossView, log: bool) -> None:
        self.points, self.by, self.log = view.points, view.by, log
        finite = [point.loss for point in view.points if math.isfinite(point.loss)]
        self.low, self.high = (min(finite), max(finite)) if finite else (0.0, 0.0)
        self.names = [numbers.loss(self.high), numbers.loss(self.low)] if finite else ["", ""]
        self.left = 12 + 7 * max(map(len, self.names))
        self.varies = len({point.rate for point in view.points}) > 1
        self.bottom = _HEIGHT - 22 - (_RATES + 6 if self.varies else 0)

    def svg(self) -> str:
        parts = [self._axes(), *self._odd()]
        smoothed = [point.smooth for point in self.points]
        if any(value is not None for value in smoothed):
            parts.append(self._line([point.loss for point in self.points], 'stroke-opacity="0.45"', 1.2))
            parts.append(self._line(smoothed, "", 2.2))
        else:
            parts.append(self._line([point.loss for point in self.points], "", 1.8))
        parts += [*self._dots(), self._rates() if self.varies else ""]
        label = escape(f"loss by {self.by}, {len(self.points)} points")
        size = f'width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        return f'<svg {size} role="img" aria-label="{label}" style="max-width:100%">{"".join(parts)}</svg>'

    def x(self, i: int) -> float:
        last = len(self.points) - 1
        return self.left + (i / last if last else 0.5) * (_WIDTH - _RIGHT - self.left)

    def y(self, value: float) -> float:
        place = min(1.0, max(0.0, share(value, self.low, self.high, self.log)))
        return self.bottom - place * (self.bottom - _TOP)

    def _drawable(self, value: float | None) -> bool:
        return value is not None and math.isfinite(value) and not (self.log and value <= 0)

    def _line(self, values: Sequence[float | None], more: str, width: float) -> str:
        """Draw a line with gaps at values that are not finite."""
        path, joined = [], False
        for i, value in enumerate(values):
            if value is not None and self._drawable(value):
                path.append(f"{'L' if joined else 'M'}{self.x(i):.1f} {self.y(value):.1f}")
            joined = self._drawable(value)
        given = f'fill="none" stroke="{_BLUE}" stroke-width="{width}" stroke-linejoin="round" {more}'
        return f'<path d="{"".join(path)}" {given}/>' if path else ""

    def _dots(self) -> list[str]:
        last = len(self.points) - 1
        shown = range(last + 1) if last < _DOTS else [last]
        return [
            f'<circle cx="{self.x(i):.1f}" cy="{self.y(self.points[i].loss):.1f}" r="{3.5 if i == last else 2.2}" '
            f'fill="{_BLUE}"><title>{escape(self._label(i))}</title></circle>'
            for i in shown
            if self._drawable(self.points[i].loss)
        ]

    def _label(self, i: int) -> str:
        point = self.points[i]
        return f"{self.by} {self._number(i)}: {numbers.loss(point.loss)}"

    def _number(self, i: int) -> int:
        return self.points[i].forward if self.by == "forward" else self.points[i].iteration

    def _odd(self) -> list[str]:
        """Mark each point that is not finite with a vertical line, and with a label where there is room."""
        parts, end = [], -1.0
        for i, point in enumerate(self.points):
            if math.isfinite(point.loss):
                continue
            x, name = self.x(i), numbers.loss(point.loss)
            parts.append(
                f'<path d="M{x:.1f} {_TOP}V{self.bottom}" stroke="{_RED}" stroke-width="1.5">'
                f"<title>{escape(self._label(i))}</title></path>"
            )
            if x - 13 > end:
                end = x + 13
                parts.append(f'<rect x="{x - 13:.1f}" y="0" width="26" height="14" rx="2" fill="{_RED}"/>')
                parts.append(_words(x, 11, name, 'fill="white" font-size="11" font-family="monospace"', "middle"))
        return parts

    def _axes(self) -> str:
        frame = f"M{self.left} {_TOP}V{self.bottom}H{_WIDTH - _RIGHT}"
        high, low = self.names
        ends = [(0, "start")] + ([(len(self.points) - 1, "end")] if len(self.points) > 1 else [])
        parts = [f'<path d="{frame}" fill="none" stroke="currentColor" stroke-opacity="0.45"/>']
        parts.append(_words(self.left - 6, _TOP + 4, high, _TEXT, "end"))
        if high != low:
            parts.append(_words(self.left - 6, self.bottom, low, _TEXT, "end"))
        parts += [_words(self.x(i), self.bottom + 14, f"{self._number(i)}", _TEXT, side) for i, side in ends]
        return "".join(parts)

    def _rates(self) -> str:
        """Draw the learning rate in its strip, on a linear scale from 0."""
        rates = [point.rate for point in self.points]
        known = [rate for rate in rates if rate is not None and math.isfinite(rate)]
        most, base = max(known, default=0.0), _HEIGHT - 4
        path, joined = [], False
        for i, rate in enumerate(rates):
            there = rate is not None and math.isfinite(rate)
            if rate is not None and there:
                height = rate / most * _RATES if most > 0 else 0.0
                path.append(f"{'L' if joined else 'M'}{self.x(i):.1f} {base - height:.1f}")
            joined = there
        line = f'<path d="{"".join(path)}" fill="none" stroke="{_ORANGE}" stroke-width="1.5"/>' if path else ""
        return line + _words(self.left - 6, base, f"lr {numbers.short(known[-1])}" if known else "lr", _TEXT, "end")


def _words(x: float, y: float, text: str, given: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {given}>{escape(text)}</text>'
