"""A text plot of a loss: dots while the points are few, braille when they are many."""

from __future__ import annotations

import math
from bisect import bisect_left

from gradstep.tui.render.drawing import GUTTER
from gradstep.tui.render.lines import Line, Row
from gradstep.values import numbers
from gradstep.values.views import LossPoint, LossView

OTHER = "×"
"""A point of the other branch, distinct without colour too."""
_BRAILLE = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))

Cells = dict[int, dict[int, tuple[str, str]]]
"""By row and column: a character and its tone."""


class Plot:
    """The loss by forward or iteration, with the points of another branch behind it.

    Args:
        view: the points.
        width: columns, labels included.
        rows: rows without the axis.
        log: whether the y axis is logarithmic; all finite losses are then positive.
        at: the index of the point under the cursor, -1 for none.
    """

    def __init__(self, view: LossView, width: int, rows: int, log: bool, at: int = -1) -> None:
        self._points, self._by = view.points, view.by
        self._width, self._rows, self._log, self._at = width, max(1, rows), log, at
        self._others = view.beside
        finite = [point.loss for point in (*view.points, *view.beside) if math.isfinite(point.loss)]
        self._low, self._high = (min(finite), max(finite)) if finite else (0.0, 0.0)
        names = [numbers.loss(value) for value in (self._low, self._high)] if finite else ["", ""]
        self._low_name, self._high_name = names
        self.left = GUTTER + max(map(len, names)) + 2
        """The column where the plot area begins."""
        self._cells = max(1, width - self.left - 3)
        self._numbers = [self._number(point) for point in view.points]
        self._extent = max([len(view.points) - 1.0, *(self._place(point) for point in view.beside)])
        """The largest x coordinate, in units of one point."""
        self._few = (self._extent + 1) * 2 <= self._cells

    def lines(self) -> list[Line]:
        """Return the rows, with the axis last."""
        grid = self._behind()
        for y, cells in (self._dots() if self._few else self._braille()).items():
            grid.setdefault(y, {}).update(cells)
        if self._at >= 0:
            x = self.cell(self._at)
            for y in range(self._rows):
                grid.setdefault(y, {}).setdefault(x, ("│", "now"))
        return [*(self._row(i, grid.get(i, {})) for i in range(self._rows)), self._axis()]

    def cell(self, i: int) -> int:
        """Return the column of a point within the plot area."""
        return self._column(i) if self._few else self._column(i, 2) // 2

    def _row(self, i: int, cells: dict[int, tuple[str, str]]) -> Line:
        row = Row(self._width)
        if i == 0:
            row.right(self.left - 2, self._high_name, "dim")
        elif i == self._rows - 1 and self._low < self._high:
            row.right(self.left - 2, self._low_name, "dim")
        for x, (glyph, tone) in sorted(cells.items()):
            row.left(self.left + x, glyph, tone)
        return row.line()

    def _axis(self) -> Line:
        row, end = Row(self._width), -1
        ends = {0, len(self._points) - 1} | ({self._at} if self._at >= 0 else set())
        for i, number in enumerate(self._numbers):
            text = str(number)
            column = self.left + self.cell(i)
            if (self._few or i in ends) and column > end and column + len(text) < self._width:
                row.left(column, text, "now" if i == self._at else "dim")
                end = column + len(text)
        return row.line()

    def _number(self, point: LossPoint) -> int:
        return point.forward if self._by == "forward" else point.iteration

    def _place(self, point: LossPoint) -> float:
        """Return the x coordinate of a point of the other branch: between these points, or beyond the last."""
        known, number = self._numbers, self._number(point)
        after = bisect_left(known, number)
        if after < len(known):
            before = max(0, after - 1)
            step = known[after] - known[before]
            return after if not step or not after else before + (number - known[before]) / step
        apart = (known[-1] - known[0]) / (len(known) - 1) if len(known) > 1 else 1.0
        return len(known) - 1 + (number - known[-1]) / (apart or 1.0)

    def _behind(self) -> Cells:
        """Draw the points of the other branch."""
        grid: Cells = {}
        for point in self._others:
            x = self._column(self._place(point)) if self._few else self._column(self._place(point), 2) // 2
            if math.isfinite(point.loss):
                y = round((1 - self._height(point.loss)) * (self._rows - 1))
                grid.setdefault(y, {})[x] = (OTHER, "dim")
            else:
                y, glyph = self._odd(point.loss)
                grid.setdefault(y, {})[x] = (glyph, "dim")
        return grid

    def _column(self, i: float, scale: int = 1) -> int:
        if not self._extent:
            return 0
        span = min((self._cells - 1) * scale, self._extent * 6 * scale)
        return round(i / self._extent * span)

    def _height(self, value: float) -> float:
        """Return the y coordinate of a value, 0 (lowest) to 1 (highest)."""
        if self._high == self._low:
            return 1.0
        if self._log:
            return (math.log(value) - math.log(self._low)) / (math.log(self._high) - math.log(self._low))
        # halved first, so that a range from -1e308 to 1e308 does not overflow
        return (value / 2 - self._low / 2) / (self._high / 2 - self._low / 2)

    def _odd(self, value: float) -> tuple[int, str]:
        """Return the row and the glyph of a non-finite point."""
        if math.isnan(value):
            return 0, "N"
        return (0, "∞") if value > 0 else (self._rows - 1, "∞")

    def _smooth(self, i: int, scale: int = 1) -> int | None:
        """Return the row of the moving average at a point; None for none."""
        value = self._points[i].smooth
        if value is None or not math.isfinite(value) or (self._log and value <= 0):
            return None
        return round((1 - min(1.0, max(0.0, self._height(value)))) * (self._rows * scale - 1))

    def _dots(self) -> Cells:
        grid: Cells = {}
        for i in range(len(self._points)):
            y = self._smooth(i)
            if y is not None:
                grid.setdefault(y, {})[self._column(i)] = ("∙", "dim")
        for i, point in enumerate(self._points):
            now = i == len(self._points) - 1 if self._at < 0 else i == self._at
            if math.isfinite(point.loss):
                y = round((1 - self._height(point.loss)) * (self._rows - 1))
                cell = ("●", "now") if now else ("•", "text")
            else:
                y, glyph = self._odd(point.loss)
                cell = (glyph, "odd")
            grid.setdefault(y, {})[self._column(i)] = cell
        return grid

    def _braille(self) -> Cells:
        bits: dict[tuple[int, int], int] = {}
        bright: set[tuple[int, int]] = set()
        odd: dict[tuple[int, int], str] = {}
        smoothed = any(point.smooth is not None for point in self._points)

        def dot(x: int, y: int) -> tuple[int, int]:
            cell = (y // 4, x // 2)
            bits[cell] = bits.get(cell, 0) | _BRAILLE[y % 4][x % 2]
            return cell

        for i, point in enumerate(self._points):
            x = self._column(i, 2)
            if math.isfinite(point.loss):
                cell = dot(x, round((1 - self._height(point.loss)) * (self._rows * 4 - 1)))
                if i == (self._at if self._at >= 0 else len(self._points) - 1):
                    odd.setdefault(cell, "●")
            else:
                row, glyph = self._odd(point.loss)
                odd[row, x // 2] = glyph
            y = self._smooth(i, 4)
            if y is not None:
                bright.add(dot(x, y))
        grid: Cells = {}
        for (row, x), value in bits.items():
            tone = "text" if not smoothed else "bright" if (row, x) in bright else "dim"
            grid.setdefault(row, {})[x] = (chr(0x2800 + value), tone)
        for (row, x), glyph in odd.items():
            grid.setdefault(row, {})[x] = (glyph, "now" if glyph == "●" else "odd")
        return grid
