"""Two grids of the same window in the Tensor panel, the value's and the `.grad`'s: in numbers, or as heat maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from gradstep.tui.panels.tensor.look import Look, Seen, cells_of, dtype_of, flat, peak, sides_of
from gradstep.tui.render import heat
from gradstep.tui.render.drawing import GUTTER, cursor
from gradstep.tui.render.lines import Line, Row, wrap
from gradstep.values import numbers
from gradstep.values.views.tensor import Axis, Statistics, TensorView

HEADS = 2
"""Rows above the numbers."""
CHANGED = "*"
_TICK = 5
"""Every so-manieth column of a heat map is named."""


_LEAST = 20
"""Cells that each of three grids needs: with less, the difference alone is drawn."""


class Room(NamedTuple):
    """Where the grids stand: the column where the first begins, how wide each is, and the sides that they show."""

    start: int
    each: int
    sides: list[Seen]


class Face(NamedTuple):
    """What one grid shows: its name, its numbers, None where there is none, and which the last phase changed."""

    place: int
    """Which of the grids it is, from the left."""
    name: str
    cells: list[list[float | None]]
    marks: list[list[bool]]
    known: Statistics | None
    greatest: float
    """The greatest magnitude of the slice, by which the form of its numbers is chosen."""


class Plate(NamedTuple):
    """What is drawn: one face or two, and what their rows and columns are called."""

    faces: list[Face]
    rows: list[str]
    columns: list[str]
    spot: tuple[int, int]
    """Where the cursor is in it; outside of it, or (-1, -1), for nowhere."""
    left: int
    """How many columns of the slice are left of it."""


def axis_of(view: TensorView, place: int) -> Axis | None:
    """Return the dimension that is rows (0) or columns (1); None where there is none."""
    return next((axis for axis in view.axes if axis.dim == view.dims[place]), None) if place < len(view.dims) else None


def longest(axis: Axis | None, labels: Sequence[str]) -> int:
    """Return the cells that the longest index of a dimension takes, wherever in it the window is."""
    ends = [] if axis is None else [str(axis.index(axis.count - 1))]
    return max(map(len, [*ends, *labels]), default=0)


def room_of(view: TensorView, width: int) -> Room:
    """Return where the grids of a view stand at a width."""
    start = GUTTER + max(2, longest(axis_of(view, 0), view.row_labels) + 2) + 1
    sides = sides_of(view)
    if view.pair is not None and (width - start) // len(sides) < _LEAST:
        sides = sides[-1:] if not view.pair.missing else [side for side in sides[:2] if side.window is not None]
    return Room(start, (width - start) // len(sides), sides)


def fold_of(view: TensorView, width: int) -> int:
    """Return how many elements of a vector stand in one row of its heat map."""
    fits = max(1, (room_of(view, width).each - 2) // heat.CELL)
    return fits - fits % _TICK if fits >= _TICK else fits


def columns_shown(view: TensorView, width: int, look: Look) -> int:
    """Return how many columns of a matrix are drawn at a width."""
    look = look._replace(first=view.top, left=view.left)  # also while the window that is asked for is on its way
    return _shown(_grids(view, _plate(view, look, width), width, look))


def begins(view: TensorView, width: int, look: Look) -> int:
    """Return how far into the view's window the first row that is drawn is."""
    aside, count = look.first - view.top, len(view.row_labels or ("",))
    if look.heat and view.kind == "vector":
        # the window need not begin where a row of the fold does
        return aside if 0 <= aside < count else -view.top % fold_of(view, width)
    return max(0, min(aside, count - 1))


def grid_lines(view: TensorView, width: int, height: int, look: Look) -> list[Line]:
    """Draw the grids in `height` rows, heads included."""
    room = room_of(view, width)
    plate = _plate(view, look, width)
    grids = _grids(view, plate, width, look)
    shown = _shown(grids)
    titles, heads = Row(width), Row(width)
    drawn = {grid.face.place: grid for grid in grids}
    for place, side in enumerate(room.sides):
        if place in drawn:
            drawn[place].title(titles)
            drawn[place].heads(heads, plate, shown)
            titles.add(f"  {side.state}" if side.state else "", "dim")
        else:
            titles.left(room.start + place * room.each + 1, f"{side.name}  {side.state}".strip(), "dim")
            titles.add(CHANGED if view.grad_gone else "", "bright")
    lines = [titles.line(), heads.line()]
    for i, label in enumerate(plate.rows[: max(0, height - HEADS)]):
        here = i == plate.spot[0]
        row = cursor(Row(width), here).left(GUTTER, label, "bright" if here else "dim")
        for place, side in enumerate(room.sides):
            if place in drawn:
                drawn[place].cells(row, i, shown, plate.spot[1] if here else -1)
            elif i < len(instead := wrap(side.instead, max(1, room.each - 2))):
                row.left(room.start + place * room.each + 1, instead[i], "dim", room.each - 1)
        lines.append(row.line())
    return lines


def _plate(view: TensorView, look: Look, width: int) -> Plate:
    """Cut what is to be drawn out of the view, which may hold more, or another part while a window is on its way."""
    faces = _faces(room_of(view, width))
    rows = [f"[{label}]" if label else "" for label in view.row_labels or ("",)]
    top, left, columns = view.top, view.left, list(view.column_labels)
    spot, skip = look.spot or (-1, -1), begins(view, width, look)
    if view.kind != "matrix":
        fold, aside = fold_of(view, width), skip
        faces = [f._replace(cells=_folded(f.cells[aside:], fold), marks=_folded(f.marks[aside:], fold)) for f in faces]
        here = divmod(spot[0] - top - aside, fold)
        return Plate(faces, rows[aside::fold], [str(i) for i in range(min(fold, len(rows)))], here, 0)
    aside = max(0, min(look.left - left, len(columns) - 1))
    faces = [f._replace(cells=_cut(f.cells, skip, aside), marks=_cut(f.marks, skip, aside)) for f in faces]
    here = (spot[0] - top - skip, spot[1] - left - aside)
    return Plate(faces, rows[skip:], columns[aside:], here, left + aside)


def _faces(room: Room) -> list[Face]:
    return [
        Face(
            place,
            side.name,
            cells_of(side.window),
            [list(row) for row in side.window.changed],
            side.known,
            peak(side.known, flat(side.window)),
        )
        for place, side in enumerate(room.sides)
        if side.window is not None
    ]


_Cell = TypeVar("_Cell")


def _folded(rows: list[list[_Cell]], fold: int) -> list[list[_Cell]]:
    """Return a column as rows of so many."""
    column = [row[0] for row in rows]
    return [column[i : i + fold] for i in range(0, len(column), fold)]


def _cut(rows: list[list[_Cell]], skip: int, aside: int) -> list[list[_Cell]]:
    return [row[aside:] for row in rows[skip:]]


def _grids(view: TensorView, plate: Plate, width: int, look: Look) -> list[_Grid]:
    room = room_of(view, width)
    kind = _Heat if look.heat else _Numbers
    return [kind(face, view, room.start + face.place * room.each, room.each, look) for face in plate.faces]


def _shown(grids: Sequence[_Grid]) -> int:
    return min((grid.fits for grid in grids), default=1)


class _Grid(ABC):
    """One of the grids, at its place."""

    def __init__(self, face: Face, start: int, width: int, cell: int) -> None:
        self.face, self.start, self.width, self.cell = face, start, width, cell
        across = max(map(len, face.cells), default=0)
        self.fits = max(1, min(across, width // cell))

    @abstractmethod
    def title(self, row: Row) -> None:
        """Write what the grid is."""

    @abstractmethod
    def heads(self, row: Row, plate: Plate, shown: int) -> None:
        """Write the indices of the columns."""

    @abstractmethod
    def cells(self, row: Row, i: int, shown: int, here: int) -> None:
        """Write the numbers of a row; the cursor is on the `here`th of them, or on none."""


class _Numbers(_Grid):
    """Numbers in columns of one width and one form, wherever the window is."""

    def __init__(self, face: Face, view: TensorView, start: int, width: int, look: Look) -> None:
        self._column = look.steady.column(face.name, face.greatest, dtype_of(view), 3)
        label = longest(axis_of(view, 1), view.column_labels) + 2
        super().__init__(face, start, width, max(self._column.width, label) + 2)

    def title(self, row: Row) -> None:
        row.left(self.start + 1, self.face.name, "dim", self.width - 2)

    def heads(self, row: Row, plate: Plate, shown: int) -> None:
        for j, label in enumerate(plate.columns[:shown]):
            row.right(self.start + (j + 1) * self.cell - 1, f"[{label}]", "dim")

    def cells(self, row: Row, i: int, shown: int, here: int) -> None:
        marks = self.face.marks[i] if i < len(self.face.marks) else []
        for j, value in enumerate(self.face.cells[i][:shown] if i < len(self.face.cells) else []):
            tone = "block" if j == here else numbers.tone_of(value)
            row.right(self.start + (j + 1) * self.cell - 1, self._column.text(value), tone)
            row.add(CHANGED if j < len(marks) and marks[j] else "", "bright")


class _Heat(_Grid):
    """A patch for each number."""

    def __init__(self, face: Face, view: TensorView, start: int, width: int, look: Look) -> None:
        super().__init__(face, start + 1, width - 2, heat.CELL)
        seen = (value for row in face.cells for value in row if value is not None)
        self._scale, self._of = look.steady.scale(face.name, face.known, seen)
        self._form = look.steady.column(face.name, self._scale, dtype_of(view), 3)

    def title(self, row: Row) -> None:
        scale = f"±{self._form.text(self._scale).lstrip('+')}"
        row.left(self.start, self.face.name, "dim", self.width - 1)
        for words in (f"  {scale} = {self._of}", f" {scale}") if self._scale else (f"  {self._of}",):
            if row.at + len(words) <= self.start + self.width:
                row.add(words, "text")
                break

    def heads(self, row: Row, plate: Plate, shown: int) -> None:
        for j, label in enumerate(plate.columns[:shown]):
            if (plate.left + j) % _TICK == 0 and j * self.cell + len(label) < self.width:
                row.left(self.start + j * self.cell, label, "dim")

    def cells(self, row: Row, i: int, shown: int, here: int) -> None:
        row.to(self.start)
        for j, value in enumerate(self.face.cells[i][:shown] if i < len(self.face.cells) else []):
            for text, tone in heat.cell(value, self._scale, j == here):
                row.add(text, tone)
