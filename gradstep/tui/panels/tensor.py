"""The panel *Tensor*: a window of the selected tensor and the same window of its `.grad`, side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradstep.tui import numbers
from gradstep.tui.lines import Line, Row, clean, text_line
from gradstep.tui.panels.drawing import GUTTER, Drawing, cursor, empty, widest
from gradstep.tui.panels.panel import Panel
from gradstep.values.expressions import Expression
from gradstep.values.tensors import Statistics
from gradstep.values.views import LookTensor, NoView, Request, TensorView, View, Window

_CHANGED = "*"
_CELL = 6
"""Cells that a number of a grid needs at least: what a request for a window goes by, before any is seen."""


def columns_for(width: int) -> int:
    """Return how many columns of a matrix fit at most beside the same ones of its `.grad`."""
    return max(1, (width - 2 * GUTTER - 4) // 2 // _CELL)


def columns_shown(view: TensorView, width: int) -> int:
    """Return how many of the view's columns are drawn at a width."""
    return min((grid.fits for grid in _sides(view, width)), default=1)


Spot = tuple[int, int]
"""A row and a column of the window, from 0."""


def draw(view: TensorView | None, width: int, height: int, spot: Spot | None = None) -> Drawing:
    """Draw the window that the view holds, the cursor at `spot`."""
    if view is None or not view.name:
        return empty(width, height, "Nothing selected: choose a parameter in Model, or type :show and its name.")
    name = clean(view.name)
    about = f"{name}  of {numbers.shape(view.whole)}, {view.dtype}"
    if view.value is None or view.kind == "none":
        return empty(width, height, clean(view.note) or "There is no number to draw here.", about=about)
    foot = footer(view, width)
    room = height - len(foot)
    lines = _grids(view, width, room, spot) if view.kind == "matrix" else _table(view, width, room, spot)
    return Drawing(about, (lines[: max(room, 1)] + foot)[: max(height, 0)], view.shape[0] if view.shape else 1)


def footer(view: TensorView, width: int) -> list[Line]:
    """Say what the whole slice amounts to, and what its marks mean, in as many words as there is room for."""
    amount = math.prod(view.shape)
    seen = columns_words(view, width)
    parts = [seen] if seen else []
    known = view.statistics or Statistics(amount)
    parts += [f"these {amount:,}: norm {numbers.norm(known.norm) or '·'}" if amount != 1 else "1 element"]
    if amount != 1 and known.minimum is not None and known.maximum is not None:
        form = numbers.form_of([known.minimum, known.maximum], view.dtype, 3)
        parts.append(f"min {numbers.signed(known.minimum, form)}  max {numbers.signed(known.maximum, form)}")
    if known.nans or known.infs:
        parts.append(f"{known.nans:,} NaN, {known.infs:,} inf")
    else:
        parts.append("no NaN, no inf")
    if view.grad_statistics is not None and amount != 1:
        parts.append(f".grad norm {numbers.norm(view.grad_statistics.norm)}")
    if any(any(row) for part in (view.value, view.grad) if part for row in part.changed):
        parts.append(f"{_CHANGED} changed")
    text = parts[0]
    for part in parts[1:]:
        if GUTTER + len(text) + 2 + len(part) < width:
            text += f"  {part}"
    return [text_line(text, width, "dim")]


def columns_words(view: TensorView, width: int) -> str:
    """Say which columns of a matrix are seen when not all of them are."""
    across = view.shape[-1] if view.kind == "matrix" and view.shape else 0
    shown = columns_shown(view, width) if across else 0
    if shown >= across:
        return ""
    return f"columns {view.left}–{view.left + shown - 1} of {across:,}, ←→ for more"


def _flat(window: Window | None) -> list[float]:
    return [] if window is None else [value for row in window.values for value in row]


def _changes(window: Window | None) -> list[float | None]:
    """Return after minus before for each changed number of a vector; empty when there is no before."""
    if window is None or window.before is None or not any(map(any, window.changed)):
        return []
    before = [value for row in window.before for value in row]
    return [after - old for after, old in zip(_flat(window), before, strict=False)]


def _marks(window: Window | None) -> list[bool]:
    return [] if window is None else [mark for row in window.changed for mark in row]


def _table(view: TensorView, width: int, height: int, spot: Spot | None) -> list[Line]:
    """Draw a vector: a row for each element with value, `.grad`, what changed, and a bar."""
    own = clean(view.path.rsplit(".", 1)[-1]) or "value"
    values, grads = _flat(view.value), _flat(view.grad)
    changes, changed = _changes(view.value), own
    if not changes and view.would is None:
        changes, changed = _changes(view.grad), ".grad"
    labels = [f"[{label}]" if label else "" for label in view.row_labels]
    has_grad = bool(view.grad_state) or view.grad is not None
    table = _Table(width, widest(labels, 3))
    table.column(own[:12], values, _marks(view.value), view.dtype)
    if has_grad:
        table.column(".grad", grads, _marks(view.grad), view.dtype, missing="none")
    if changes and width >= 40:
        table.column(f"change of {changed}"[:18], changes, [], view.dtype)
    elif view.would is not None and width >= 40:
        table.column("step would give", view.would, [], view.dtype)
    bars, barred = (grads, ".grad") if any(map(math.isfinite, grads)) else (values, own)
    table.bars(bars, barred)
    here = spot[0] if spot is not None else -1
    return [table.header(), *(table.line(i, label, i == here) for i, label in enumerate(labels[: max(0, height - 1)]))]


class _Table:
    """A table of number columns, aligned on the point, with a bar at the right."""

    def __init__(self, width: int, label: int) -> None:
        self.width = width
        self._end = GUTTER + label
        self._gap = 4 if width >= 60 else 2
        self._columns: list[tuple[int, str, list[str], list[str], list[bool], str]] = []
        self._bars: list[float] = []
        self._bar_name = ""

    def column(
        self, title: str, values: Sequence[float | None], marks: list[bool], dtype: str, missing: str = ""
    ) -> None:
        form = numbers.form_of(values, dtype)
        texts = [numbers.signed(value, form) for value in values]
        # the point of a bare 0 and the end of NaN stand where the last decimal of the others stands
        end = self._end + self._gap + widest(texts, max(len(title), 7))
        tones = [numbers.tone_of(value) for value in values]
        self._columns.append((end, title, texts, tones, marks, missing))
        self._end = end

    def bars(self, values: list[float], name: str) -> None:
        self._bars, self._bar_name = values, name

    def header(self) -> Line:
        row = Row(self.width)
        for end, title, *_ in self._columns:
            row.right(end, title, "dim")
        centre = self._bar_span()
        if centre:
            row.right(min(self.width - 1, centre[0] + len(self._bar_name) // 2 + 1), self._bar_name, "dim")
        return row.line()

    def line(self, i: int, label: str, here: bool) -> Line:
        row = cursor(Row(self.width, here), here).left(GUTTER, label, "bright" if here else "dim")
        for end, _, texts, tones, marks, missing in self._columns:
            text = texts[i] if i < len(texts) else missing
            row.right(end, text, tones[i] if i < len(tones) else "dim")
            row.add(_CHANGED if i < len(marks) and marks[i] else "", "bright")
        span = self._bar_span()
        if span and i < len(self._bars):
            self._bar(row, self._bars[i], *span)
        return row.line()

    def _bar_span(self) -> tuple[int, int] | None:
        """Return the column of the axis and the cells at each side of it, when there is room for a bar."""
        room = self.width - 2 - (self._end + 3)
        if room < 9 or not self._bars:
            return None
        half = min(12, (room - 1) // 2)
        return self.width - 2 - half, half

    def _bar(self, row: Row, value: float, centre: int, half: int) -> None:
        if not math.isfinite(value):
            row.left(centre - 1, numbers.signed(value, numbers.Form(0)), "odd")
            return
        greatest = max((abs(v) for v in self._bars if math.isfinite(v)), default=0.0)
        cells = round(abs(value) / greatest * half) if greatest else 0
        if value < 0:
            row.left(centre - cells, "━" * cells, "negative")
        row.left(centre, "│", "line")
        if value > 0:
            row.add("━" * cells, "positive")


def _grids(view: TensorView, width: int, height: int, spot: Spot | None) -> list[Line]:
    """Draw a matrix: two grids of the same window, the value's and the `.grad`'s."""
    own = clean(view.path.rsplit(".", 1)[-1]) or "value"
    labels = [f"[{label}]" for label in view.row_labels]
    start, half, two = _halves(view, width)
    grids = _sides(view, width)
    titles, heads = Row(width).left(start + 1, own, "dim", half - 2), Row(width)
    if two:
        state = f"  {view.grad_state}" if view.grad_state else ""
        titles.left(start + half + 2, f".grad{state}", "dim")
    shown = min(grid.fits for grid in grids) if grids else 0
    for grid in grids:
        grid.labels(heads, view.column_labels[:shown])
    lines = [titles.line(), heads.line()]
    for i, label in enumerate(labels[: max(0, height - 2)]):
        here = spot is not None and i == spot[0]
        row = cursor(Row(width), here).left(GUTTER, label, "bright" if here else "dim")
        for grid in grids:
            grid.cells(row, i, shown, spot[1] if spot is not None and here else -1)
        if two and view.grad is None and i == 0:
            row.left(start + half + 2, "none yet: f, then b", "dim")
        lines.append(row.line())
    return lines


def _halves(view: TensorView, width: int) -> tuple[int, int, bool]:
    """Return where the first grid starts, how wide each is, and whether there are two."""
    start = GUTTER + widest([f"[{label}]" for label in view.row_labels], 2) + 1
    two = bool(view.grad_state) or view.grad is not None
    return start, (width - start - 1) // (2 if two else 1), two


def _sides(view: TensorView, width: int) -> list[_Grid]:
    start, half, _ = _halves(view, width)
    grids = [_Grid(view.value, view, start, half)] if view.value else []
    if view.grad is not None:
        grids.append(_Grid(view.grad, view, start + half + 1, half))
    return grids


class _Grid:
    """A window of numbers in columns of one width."""

    def __init__(self, window: Window, view: TensorView, start: int, width: int) -> None:
        self._window = window
        self._start = start
        self._form = numbers.form_of(_flat(window), view.dtype, 3)
        texts = [numbers.signed(value, self._form) for value in _flat(window)]
        self._cell = max(widest(texts, 3), widest(view.column_labels) + 2) + 2
        across = max((len(row) for row in window.values), default=0)
        self.fits = max(1, min(across, width // self._cell))

    def labels(self, row: Row, labels: tuple[str, ...]) -> None:
        for j, label in enumerate(labels):
            row.right(self._start + (j + 1) * self._cell - 1, f"[{label}]", "dim")

    def cells(self, row: Row, i: int, shown: int, here: int) -> None:
        values = self._window.values[i] if i < len(self._window.values) else ()
        marks = self._window.changed[i] if i < len(self._window.changed) else ()
        for j, value in enumerate(values[:shown]):
            text = numbers.signed(value, self._form)
            tone = "block" if j == here else numbers.tone_of(value)
            row.right(self._start + (j + 1) * self._cell - 1, text, tone)
            row.add(_CHANGED if j < len(marks) and marks[j] else "", "bright")


class TensorPanel(Panel):
    """The window of the selection, and the cursor on one element of it; scrolling asks for another window."""

    title = "Tensor"
    reads = (
        "The selected weight and its .grad, the same window of both. `*` marks what the last phase changed; the "
        "bars are .grad, below zero to the left. The row with ▶ is the element that Why and Ledger are about."
    )
    _HEADS = 2

    def __init__(self) -> None:
        super().__init__("tensor")
        self.view: TensorView | None = None
        self.why = ""
        self.left = 0
        self.row, self.column = 0, 0
        """Where the cursor is in the selected slice."""
        self.element: tuple[int, ...] | None = None
        """The element under the cursor: an index into the whole tensor; None while there is none."""
        self.opening: Expression | None = None
        """What is looked at for as long as nothing is selected."""

    def request(self) -> Request:
        """Ask for what this panel shows."""
        rows, columns = max(1, self.body), columns_for(self.size.width)
        return LookTensor(rows, columns, self.first, self.left, self.opening)

    def assign(self, view: View) -> None:
        """Take a window; another selection is seen from its start."""
        if isinstance(view, TensorView):
            if self.view is not None and self.view.name != view.name:
                self.first, self.left = view.top, view.left
                self.row, self.column = view.top, view.left
            self.view, self.why = view, ""
            self.rows = view.shape[0] if view.shape else 1
            self._point()
        elif isinstance(view, NoView):
            self.view, self.why = None, view.why

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body as it stands now."""
        if self.why:
            return empty(width, height, clean(self.why))
        return draw(self.view, width, height, self._spot)

    @property
    def body(self) -> int:
        """Rows for numbers: the head of the columns stands above them and a line on the whole slice below."""
        return max(1, super().body - self._HEADS)

    def move(self, rows: int) -> None:
        """Move the cursor by rows; the window follows it."""
        view = self.view
        if view is None or view.kind == "none":
            return
        self.row = max(0, min(self.row + rows, self.rows - 1))
        seen = max(1, self.body - (view.kind == "matrix"))  # a matrix has a second row of heads
        self.first = max(0, min(max(self.first, self.row - seen + 1), self.row))
        self._point()

    def sideways(self, columns: int) -> None:
        """Move the cursor by columns of a matrix; the window follows it."""
        view = self.view
        if view is None or view.kind != "matrix":
            return
        across = columns_shown(view, self.size.width)
        self.column = max(0, min(self.column + columns, view.shape[-1] - 1))
        self.left = max(0, min(max(self.left, self.column - across + 1), self.column))
        self._point()

    def click_row(self, row: int) -> None:
        """Put the cursor on the row that was clicked."""
        if self.view is not None and self.view.kind in ("vector", "matrix"):
            row -= 2 if self.view.kind == "matrix" else 1
            if 0 <= row < len(self.view.row_labels):
                self.move(self.view.top + row - self.row)

    @property
    def _spot(self) -> Spot:
        """Where the cursor is in the window; outside of it before the window has followed."""
        return (0, 0) if self.view is None else (self.row - self.view.top, self.column - self.view.left)

    def _point(self) -> None:
        """Find the element under the cursor, if the window that is held has it."""
        view, (row, column) = self.view, self._spot
        if view is None or view.kind == "none":
            self.element = None
            return
        labels = [(view.row_labels, row), (view.column_labels, column)]
        labels = labels[: sum(index is None for index in view.place)]
        if all(0 <= i < len(names) for names, i in labels):
            inside = iter([int(names[i]) for names, i in labels])
            self.element = tuple(next(inside) if index is None else index for index in view.place)
