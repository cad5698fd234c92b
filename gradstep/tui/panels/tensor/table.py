"""A vector in Tensor: a row per element with value, `.grad`, change, and a bar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from gradstep.tui.panels.tensor.display import Display, NumberColumn, cells_of, dtype_of, flat, own_name, peak, sides_of
from gradstep.tui.panels.tensor.grid import CHANGED, axis_of, begins, longest
from gradstep.tui.render.drawing import GUTTER, cursor
from gradstep.tui.render.lines import Line, Row, fit
from gradstep.values import numbers
from gradstep.values.views.tensor import TensorView, Window

HEADS = 1
"""Rows above the numbers."""
_WIDE = 60
"""Minimum width for full titles and wide gaps."""
_THREE = 40
"""Minimum width for two tensors and their difference."""


def table_lines(view: TensorView, width: int, height: int, display: Display) -> list[Line]:
    """Draw the table in `height` rows, header included."""
    labels = [f"[{label}]" if label else "" for label in view.row_labels or ("",)]
    table = _Table(width, max(3, longest(axis_of(view, 0), view.row_labels) + 2))
    (_add_pair if view.pair is not None else _add_own)(table, view, width, display)
    skip = begins(view, width, display)
    here = display.spot[0] - view.top if display.spot is not None else -1
    shown = range(skip, min(len(labels), skip + max(0, height - HEADS)))
    return [table.header(), *(table.line(i, labels[i], i == here) for i in shown)]


def _add_own(table: _Table, view: TensorView, width: int, display: Display) -> None:
    """Add a tensor and its `.grad`, the change or the result of a step, and bars."""
    own, dtype, forms = own_name(view), dtype_of(view), display.forms
    form = forms.column(own, peak(view.statistics, flat(view.value)), dtype, 4)
    table.column(own, _first(view.value), form, _marks(view.value))
    of_grad = forms.column(".grad", peak(view.grad_statistics, flat(view.grad)), dtype, 4)
    if view.grad_state or view.grad is not None:
        marks = [True] * len(view.row_labels or ("",)) if view.grad_gone else _marks(view.grad)
        table.column(".grad", _first(view.grad), of_grad, marks, missing="none")
    changes, changed = _changes(view.value), own
    if not changes and view.would is None:
        changes, changed = _changes(view.grad), ".grad"
    if width >= 40 and changes and view.quantity == "value":
        greatest = peak(None, changes)
        title = fit(f"change of {changed}", 18) if width >= _WIDE else "change"
        table.column(title, changes, forms.column("change", greatest, dtype, 4), [])
    elif width >= 40 and view.would is not None:
        table.column("step would give" if width >= _WIDE else "after a step", view.would, form, [])
    grads = flat(view.grad)
    bars, barred = (grads, ".grad") if any(map(math.isfinite, grads)) else (flat(view.value), own)
    table.bars(bars, barred, peak(view.grad_statistics if barred == ".grad" else view.statistics, bars))


def _add_pair(table: _Table, view: TensorView, width: int, display: Display) -> None:
    """Add both tensors, their difference, and its bars."""
    sides, dtype = sides_of(view), dtype_of(view)
    if width < _THREE:
        sides = sides[-1:] if sides[-1].window is not None else sides[:-1]
    for side in sides:
        form = display.forms.column(side.name, peak(side.known, flat(side.window)), dtype, 4)
        name = "difference" if side is sides[-1] and width < _WIDE else side.name
        table.column(name, _first(side.window), form, [], missing=side.instead)
    told = sides[-1]
    table.bars(flat(told.window), told.name, peak(told.known, flat(told.window)))


def _first(window: Window | None) -> list[float | None]:
    return [row[0] for row in cells_of(window)]


def _marks(window: Window | None) -> list[bool]:
    return [] if window is None else [mark for row in window.changed for mark in row]


def _changes(window: Window | None) -> list[float]:
    """Return after minus before for each element; empty if nothing changed, or there was no tensor before."""
    if window is None or window.before is None or not any(map(any, window.changed)):
        return []
    before = [value for row in window.before for value in row]
    return [after - old for after, old in zip(flat(window), before, strict=False)]


class _Numbers(NamedTuple):
    """A column of numbers, right-aligned before column `end`."""

    end: int
    title: str
    texts: list[str]
    tones: list[str]
    marks: list[bool]
    missing: str


class _Table:
    """A table of columns of numbers, aligned at the decimal point, with bars at the right."""

    def __init__(self, width: int, label: int) -> None:
        self.width = width
        self._end = GUTTER + label
        self._gap = 4 if width >= _WIDE else 2
        self._columns: list[_Numbers] = []
        self._bars: list[float] = []
        self._bar_name, self._longest = "", 0.0

    def column(
        self, title: str, values: Sequence[float | None], form: NumberColumn, marks: list[bool], missing: str = ""
    ) -> None:
        title = fit(title, max(12, form.width)) if self.width < _WIDE else title
        # a bare 0 and NaN are aligned with the last decimal of the others
        self._end += self._gap + max(form.width, len(title), 7)
        texts, tones = [form.text(value) for value in values], [numbers.tone_of(value) for value in values]
        self._columns.append(_Numbers(self._end, title, texts, tones, marks, missing))

    def bars(self, values: list[float], name: str, greatest: float) -> None:
        self._bars, self._bar_name, self._longest = values, name, greatest

    def header(self) -> Line:
        row = Row(self.width)
        for column in self._columns:
            row.right(column.end, column.title, "dim")
        centre = self._bar_span()
        if centre:
            row.right(min(self.width - 1, centre[0] + len(self._bar_name) // 2 + 1), self._bar_name, "dim")
        return row.line()

    def line(self, i: int, label: str, here: bool) -> Line:
        row = cursor(Row(self.width, here), here).left(GUTTER, label, "bright" if here else "dim")
        for end, _, texts, tones, marks, missing in self._columns:
            row.right(end, texts[i] if i < len(texts) else missing, tones[i] if i < len(tones) else "dim")
            row.add(CHANGED if i < len(marks) and marks[i] else "", "bright")
        span = self._bar_span()
        if span and i < len(self._bars):
            self._bar(row, self._bars[i], *span)
        return row.line()

    def _bar_span(self) -> tuple[int, int] | None:
        """Return the column of the axis and the cells on each side of it; None without room for bars."""
        room = self.width - 2 - (self._end + 3)
        if room < 9 or not self._bars:
            return None
        half = min(12, (room - 1) // 2)
        return self.width - 2 - half, half

    def _bar(self, row: Row, value: float, centre: int, half: int) -> None:
        if not math.isfinite(value):
            row.left(centre - 1, numbers.signed(value, numbers.Form(0)), "odd")
            return
        cells = min(half, round(abs(value) / self._longest * half)) if self._longest else 0
        if value < 0:
            row.left(centre - cells, "━" * cells, "negative")
        row.left(centre, "│", "line")
        if value > 0:
            row.add("━" * cells, "positive")
