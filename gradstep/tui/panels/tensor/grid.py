"""The grids of Tensor: the same window of a tensor and its `.grad`, as numbers or as heat maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from gradstep.tui.panels.tensor.display import Display, Side, cells_of, dtype_of, flat, peak, sides_of
from gradstep.tui.render import heat
from gradstep.tui.render.drawing import GUTTER, cursor
from gradstep.tui.render.lines import Line, Row, wrap
from gradstep.values import numbers
from gradstep.values.views.tensor import Axis, Statistics, TensorView

HEADS = 2
"""Rows above the numbers."""
_DIGITS = 3
"""Decimals of numbers below 10."""
CHANGED = "*"
_TICK = 5
"""Every so many columns of a heat map are numbered."""


_LEAST = 20
"""Minimum width of each of three grids; below it only the difference is drawn."""


class GridLayout(NamedTuple):
    """The layout of the grids: the column where the first begins, the width of each, and the sides they show."""

    start: int
    each: int
    sides: list[Side]


class GridData(NamedTuple):
    """The content of a grid: its name, its numbers, and which of them the last phase changed."""

    place: int
    """Its index among the grids, from the left."""
    name: str
    cells: list[list[float | None]]
    marks: list[list[bool]]
    known: Statistics | None
    greatest: float
    """The magnitude that determines the form of the numbers: see `form_scale`."""


class GridWindow(NamedTuple):
    """The visible part of the grids, with the labels of rows and columns."""

    grids: list[GridData]
    rows: list[str]
    columns: list[str]
    spot: tuple[int, int]
    """The position of the cursor in it; outside, or (-1, -1), for none."""
    left: int
    """Number of columns of the slice to the left of it."""


def axis_of(view: TensorView, place: int) -> Axis | None:
    """Return the dimension of rows (0) or columns (1); None for none."""
    return next((axis for axis in view.axes if axis.dim == view.dims[place]), None) if place < len(view.dims) else None


def longest(axis: Axis | None, labels: Sequence[str]) -> int:
    """Return the width of the longest index of a dimension, wherever the window is."""
    ends = [] if axis is None else [str(axis.index(axis.count - 1))]
    return max(map(len, [*ends, *labels]), default=0)


def grid_layout(view: TensorView, width: int) -> GridLayout:
    """Return the layout of the grids at a width."""
    start = GUTTER + max(2, longest(axis_of(view, 0), view.row_labels) + 2) + 1
    sides = sides_of(view)
    if view.pair is not None and (width - start) // len(sides) < _LEAST:
        sides = sides[-1:] if not view.pair.missing else [side for side in sides[:2] if side.window is not None]
    return GridLayout(start, (width - start) // len(sides), sides)


def fold_of(view: TensorView, width: int) -> int:
    """Return how many elements of a vector one row of its heat map holds."""
    fits = max(1, (grid_layout(view, width).each - 2) // heat.CELL)
    return fits - fits % _TICK if fits >= _TICK else fits


def columns_shown(view: TensorView, width: int, display: Display) -> int:
    """Return how many columns of a matrix are drawn at a width."""
    display = display._replace(first=view.top, left=view.left)  # also until the requested window arrives
    return _shown(_grids(view, _grid_window(view, display, width), width, display))


def begins(view: TensorView, width: int, display: Display) -> int:
    """Return the offset of the first drawn row in the window of the view."""
    aside, count = display.first - view.top, len(view.row_labels or ("",))
    if display.heat and view.kind == "vector":
        # the window need not begin where a row of the fold does
        return aside if 0 <= aside < count else -view.top % fold_of(view, width)
    return max(0, min(aside, count - 1))


def grid_lines(view: TensorView, width: int, height: int, display: Display) -> list[Line]:
    """Draw the grids in `height` rows, header included."""
    layout = grid_layout(view, width)
    window = _grid_window(view, display, width)
    grids = _grids(view, window, width, display)
    shown = _shown(grids)
    titles, heads = Row(width), Row(width)
    drawn = {grid.data.place: grid for grid in grids}
    for place, side in enumerate(layout.sides):
        if place in drawn:
            drawn[place].title(titles)
            drawn[place].heads(heads, window, shown)
            titles.add(f"  {side.state}" if side.state else "", "dim")
        else:
            titles.left(layout.start + place * layout.each + 1, f"{side.name}  {side.state}".strip(), "dim")
            titles.add(CHANGED if view.grad_gone else "", "bright")
    lines = [titles.line(), heads.line()]
    for i, label in enumerate(window.rows[: max(0, height - HEADS)]):
        here = i == window.spot[0]
        row = cursor(Row(width), here).left(GUTTER, label, "bright" if here else "dim")
        for place, side in enumerate(layout.sides):
            if place in drawn:
                drawn[place].cells(row, i, shown, window.spot[1] if here else -1)
            elif i < len(instead := wrap(side.instead, max(1, layout.each - 2))):
                row.left(layout.start + place * layout.each + 1, instead[i], "dim", layout.each - 1)
        lines.append(row.line())
    return lines


def _grid_window(view: TensorView, display: Display, width: int) -> GridWindow:
    """Return the part of the view to draw: it may hold more, or another part until the requested window arrives."""
    grids = _grid_data(grid_layout(view, width))
    rows = [f"[{label}]" if label else "" for label in view.row_labels or ("",)]
    top, left, columns = view.top, view.left, list(view.column_labels)
    spot, skip = display.spot or (-1, -1), begins(view, width, display)
    if view.kind != "matrix":
        fold, aside = fold_of(view, width), skip
        grids = [
            each._replace(cells=_folded(each.cells[aside:], fold), marks=_folded(each.marks[aside:], fold))
            for each in grids
        ]
        here = divmod(spot[0] - top - aside, fold)
        return GridWindow(grids, rows[aside::fold], [str(i) for i in range(min(fold, len(rows)))], here, 0)
    aside = max(0, min(display.left - left, len(columns) - 1))
    grids = [each._replace(cells=_cut(each.cells, skip, aside), marks=_cut(each.marks, skip, aside)) for each in grids]
    here = (spot[0] - top - skip, spot[1] - left - aside)
    return GridWindow(grids, rows[skip:], columns[aside:], here, left + aside)


def _grid_data(layout: GridLayout) -> list[GridData]:
    return [
        GridData(
            place,
            side.name,
            cells_of(side.window),
            [list(row) for row in side.window.changed],
            side.known,
            numbers.form_scale(peak(side.known, flat(side.window)), flat(side.window), _DIGITS),
        )
        for place, side in enumerate(layout.sides)
        if side.window is not None
    ]


_Cell = TypeVar("_Cell")


def _folded(rows: list[list[_Cell]], fold: int) -> list[list[_Cell]]:
    """Return a column as rows of `fold` elements."""
    column = [row[0] for row in rows]
    return [column[i : i + fold] for i in range(0, len(column), fold)]


def _cut(rows: list[list[_Cell]], skip: int, aside: int) -> list[list[_Cell]]:
    return [row[aside:] for row in rows[skip:]]


def _grids(view: TensorView, window: GridWindow, width: int, display: Display) -> list[_Grid]:
    layout = grid_layout(view, width)
    kind = _Heat if display.heat else _Numbers
    return [kind(data, view, layout.start + data.place * layout.each, layout.each, display) for data in window.grids]


def _shown(grids: Sequence[_Grid]) -> int:
    return min((grid.fits for grid in grids), default=1)


class _Grid(ABC):
    """One of the grids, at its place."""

    def __init__(self, data: GridData, start: int, width: int, cell: int) -> None:
        self.data, self.start, self.width, self.cell = data, start, width, cell
        across = max(map(len, data.cells), default=0)
        self.fits = max(1, min(across, width // cell))

    @abstractmethod
    def title(self, row: Row) -> None:
        """Write the title."""

    @abstractmethod
    def heads(self, row: Row, window: GridWindow, shown: int) -> None:
        """Write the indices of the columns."""

    @abstractmethod
    def cells(self, row: Row, i: int, shown: int, here: int) -> None:
        """Write the numbers of row `i`; the cursor is on column `here`, -1 for none."""


class _Numbers(_Grid):
    """Numbers in columns of one width and form, wherever the window is, unless that would show only zeros."""

    def __init__(self, data: GridData, view: TensorView, start: int, width: int, display: Display) -> None:
        self._column = display.forms.column(data.name, data.greatest, dtype_of(view), _DIGITS)
        label = longest(axis_of(view, 1), view.column_labels) + 2
        super().__init__(data, start, width, max(self._column.width, label) + 2)

    def title(self, row: Row) -> None:
        row.left(self.start + 1, self.data.name, "dim", self.width - 2)

    def heads(self, row: Row, window: GridWindow, shown: int) -> None:
        for j, label in enumerate(window.columns[:shown]):
            row.right(self.start + (j + 1) * self.cell - 1, f"[{label}]", "dim")

    def cells(self, row: Row, i: int, shown: int, here: int) -> None:
        marks = self.data.marks[i] if i < len(self.data.marks) else []
        for j, value in enumerate(self.data.cells[i][:shown] if i < len(self.data.cells) else []):
            tone = "block" if j == here else numbers.tone_of(value)
            row.right(self.start + (j + 1) * self.cell - 1, self._column.text(value), tone)
            row.add(CHANGED if j < len(marks) and marks[j] else "", "bright")


class _Heat(_Grid):
    """A coloured cell per number."""

    def __init__(self, data: GridData, view: TensorView, start: int, width: int, display: Display) -> None:
        super().__init__(data, start + 1, width - 2, heat.CELL)
        seen = (value for row in data.cells for value in row if value is not None)
        self._scale, self._of = display.forms.scale(data.name, data.known, seen)
        self._form = display.forms.column(data.name, self._scale, dtype_of(view), 3)

    def title(self, row: Row) -> None:
        scale = f"±{self._form.text(self._scale).lstrip('+')}"
        row.left(self.start, self.data.name, "dim", self.width - 1)
        for words in (f"  {scale} = {self._of}", f" {scale}") if self._scale else (f"  {self._of}",):
            if row.at + len(words) <= self.start + self.width:
                row.add(words, "text")
                break

    def heads(self, row: Row, window: GridWindow, shown: int) -> None:
        for j, label in enumerate(window.columns[:shown]):
            if (window.left + j) % _TICK == 0 and j * self.cell + len(label) < self.width:
                row.left(self.start + j * self.cell, label, "dim")

    def cells(self, row: Row, i: int, shown: int, here: int) -> None:
        row.to(self.start)
        for j, value in enumerate(self.data.cells[i][:shown] if i < len(self.data.cells) else []):
            for text, tone in heat.cell(value, self._scale, j == here):
                row.add(text, tone)
