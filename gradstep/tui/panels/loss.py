"""The panel *Loss*: the last loss and its history, one point a forward; NaN and inf are points too."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradstep.tui import numbers
from gradstep.tui.lines import Line, Row, clean
from gradstep.tui.panels.drawing import GUTTER, Drawing, empty
from gradstep.tui.panels.panel import Panel
from gradstep.values.views import LookLoss, LossPoint, LossView, Request, View

_WIDE_RANGE = 20.0
"""A history whose greatest value is this many times its smallest is drawn on a log scale."""

_BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def draw(view: LossView | None, width: int, height: int) -> Drawing:
    """Draw the last loss as a number and the history as a plot."""
    if view is None or not view.points:
        note = clean(view.note) if view is not None else ""
        return empty(width, height, note or "No loss yet: press f, it runs prediction = model(x).")
    finite = [point.loss for point in view.points if math.isfinite(point.loss)]
    log = bool(finite) and min(finite) > 0 and max(finite) / min(finite) > _WIDE_RANGE
    about = ("log scale, " if log else "") + "by forward"
    lines = [_value(view, width)]
    if height >= 4:
        lines += _Plot(view.points, width, height - 2, log).lines()
    return Drawing(about, lines[: max(height, 0)], view.forwards)


def _value(view: LossView, width: int) -> Line:
    last = view.points[-1]
    row = Row(width).left(GUTTER, numbers.loss(last.loss), "bright" if math.isfinite(last.loss) else "odd")
    before = view.points[-2].loss if len(view.points) > 1 else math.nan
    if math.isfinite(before) and math.isfinite(last.loss):
        row.add(f"  {numbers.loss(last.loss - before, sign=True)}")
    for place in (f"  forward {last.forward}, iteration {last.iteration}", f"  forward {last.forward}"):
        if row.at + len(place) < width:
            return row.add(place, "dim").line()
    return row.line()


class _Plot:
    """Points over the number of the forward: dots while they are few, braille when they are many."""

    def __init__(self, points: Sequence[LossPoint], width: int, rows: int, log: bool) -> None:
        self._points, self._width, self._rows, self._log = points, width, rows, log
        finite = [point.loss for point in points if math.isfinite(point.loss)]
        self._low, self._high = (min(finite), max(finite)) if finite else (0.0, 0.0)
        names = [numbers.loss(value) for value in (self._low, self._high)] if finite else ["", ""]
        self._labels = GUTTER + max(map(len, names)) + 2
        self._low_name, self._high_name = names
        self._cells = max(1, width - self._labels - 3)

    def lines(self) -> list[Line]:
        few = len(self._points) * 2 <= self._cells
        grid = self._dots() if few else self._braille()
        lines = [self._row(i, grid.get(i, {})) for i in range(self._rows)]
        return [*lines, self._axis()]

    def _row(self, i: int, cells: dict[int, tuple[str, str]]) -> Line:
        row = Row(self._width)
        if i == 0:
            row.right(self._labels - 2, self._high_name, "dim")
        elif i == self._rows - 1 and self._low < self._high:
            row.right(self._labels - 2, self._low_name, "dim")
        for x, (glyph, tone) in sorted(cells.items()):
            row.left(self._labels + x, glyph, tone)
        return row.line()

    def _axis(self) -> Line:
        row, end = Row(self._width), -1
        few = len(self._points) * 2 <= self._cells
        ends = {0, len(self._points) - 1}
        for i, point in enumerate(self._points):
            text = str(point.forward)
            at = self._labels + self._column(i)
            if (few or i in ends) and at > end and at + len(text) < self._width:
                row.left(at, text, "dim")
                end = at + len(text)
        return row.line()

    def _column(self, i: int, scale: int = 1) -> int:
        if len(self._points) == 1:
            return 0
        span = min((self._cells - 1) * scale, (len(self._points) - 1) * 6 * scale)
        return round(i / (len(self._points) - 1) * span)

    def _height(self, value: float) -> float:
        """Return where a value lies between the lowest (0) and the highest (1)."""
        if self._high == self._low:
            return 1.0
        if self._log:
            return (math.log(value) - math.log(self._low)) / (math.log(self._high) - math.log(self._low))
        # halved first, so that a range from -1e308 to 1e308 does not overflow
        return (value / 2 - self._low / 2) / (self._high / 2 - self._low / 2)

    def _odd(self, value: float) -> tuple[int, str]:
        """Return the row and the glyph of a point that is no finite number."""
        if math.isnan(value):
            return 0, "N"
        return (0, "∞") if value > 0 else (self._rows - 1, "∞")

    def _dots(self) -> dict[int, dict[int, tuple[str, str]]]:
        grid: dict[int, dict[int, tuple[str, str]]] = {}
        for i, point in enumerate(self._points):
            last = i == len(self._points) - 1
            if math.isfinite(point.loss):
                y = round((1 - self._height(point.loss)) * (self._rows - 1))
                cell = ("●", "now") if last else ("•", "text")
            else:
                y, glyph = self._odd(point.loss)
                cell = (glyph, "odd")
            grid.setdefault(y, {})[self._column(i)] = cell
        return grid

    def _braille(self) -> dict[int, dict[int, tuple[str, str]]]:
        bits: dict[tuple[int, int], int] = {}
        odd: dict[tuple[int, int], str] = {}
        y = 0
        for i, point in enumerate(self._points):
            x = self._column(i, 2)
            if math.isfinite(point.loss):
                y = round((1 - self._height(point.loss)) * (self._rows * 4 - 1))
                place = (y // 4, x // 2)
                bits[place] = bits.get(place, 0) | _BRAILLE[y % 4][x % 2]
            else:
                row, glyph = self._odd(point.loss)
                odd[row, x // 2] = glyph
        grid: dict[int, dict[int, tuple[str, str]]] = {}
        for (row, x), value in bits.items():
            grid.setdefault(row, {})[x] = (chr(0x2800 + value), "text")
        for (row, x), glyph in odd.items():
            grid.setdefault(row, {})[x] = (glyph, "odd")
        if math.isfinite(self._points[-1].loss):
            grid.setdefault(y // 4, {})[self._column(len(self._points) - 1, 2) // 2] = ("●", "now")
        return grid


class LossPanel(Panel):
    """The last loss and its history."""

    title = "Loss"

    def __init__(self) -> None:
        super().__init__("loss")
        self.view: LossView | None = None

    def request(self) -> Request:
        """Ask for what this panel shows."""
        return LookLoss(points=max(16, 2 * self.size.width))

    def assign(self, view: View) -> None:
        """Take the view that was asked for."""
        self.view = view if isinstance(view, LossView) else None

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body as it stands now."""
        return draw(self.view, width, height)
