"""The grids of the panel *Jᵀ v*: v, J and Jᵀv side by side, each with a title and a norm."""

from __future__ import annotations

from gradstep.tui.render import heat
from gradstep.tui.render.drawing import GUTTER
from gradstep.tui.render.lines import Line, Row, clean, fit
from gradstep.values import numbers
from gradstep.values.views.node import EdgeRow, Flow, NodeView, Rows

_GAP = 3
_WIDE = 100
"""Minimum width at which the title of J may be wider than its window."""
_MOST = 16
"""Maximum number of visible rows of J."""
_TICK = 4
"""Every so many columns of J are numbered."""


def seen_edge(view: NodeView) -> EdgeRow | None:
    """Return the input that J and Jᵀv are for; None for none."""
    return next((edge for edge in view.edges if edge.edge == view.seen), None)


class Grids:
    """v, J and Jᵀv side by side."""

    def __init__(self, view: NodeView, width: int) -> None:
        self.view, self.width = view, width
        edge = seen_edge(view)
        self._arrives = next((flow for flow in view.arrives if flow is not None), None)
        self._leaves = None if edge is None else edge.leaves
        self._ratio = None if edge is None else edge.ratio
        self._why = "" if edge is None else edge.note
        matrix = view.matrix
        self._gap = _GAP if width >= 60 else 2
        cells = _across(matrix.window) if matrix is not None else 0
        self._label = len(str(matrix.top + len(matrix.window) - 1)) + 1 if matrix is not None and matrix.window else 0
        most = max(0, ((width - 2 * GUTTER - 2 * self._gap) // 3 - self._label) // heat.CELL)
        self._cells = min(cells, most)
        wide = len(self._part(_MOST)) + 1 if width >= _WIDE else 12
        middle = max(self._label + self._cells * heat.CELL + 2, 0 if matrix is None else wide)
        self.side = (width - GUTTER - 1 - (middle + self._gap if matrix else 0) - self._gap) // 2
        # close together: spare width stays at the right
        self.side = min(self.side, max(_width(self._arrives), _width(self._leaves), 22))
        self.middle = GUTTER + self.side + self._gap
        self.right = self.middle + (middle + self._gap if matrix else 0)
        self.end = min(width - 1, self.right + self.side)

    @property
    def heads(self) -> int:
        """Rows besides the numbers: titles, column numbers of J, and norms."""
        return 2 + bool(self._label)

    @property
    def height(self) -> int:
        """Rows of numbers available."""
        windows = [flow.window for flow in (self._arrives, self._leaves) if flow is not None]
        windows += [self.view.matrix.window] if self.view.matrix is not None else []
        return max(map(len, windows), default=0)

    def lines(self, count: int) -> list[Line]:
        """Draw `count` rows of numbers, with titles above and norms below."""
        sides = [_Side(flow, self.side) for flow in (self._arrives, self._leaves)]
        lines = [self._titles(min(count, self.height), sides), *self._numbers()]
        for i in range(min(count, self.height)):
            row = Row(self.width)
            sides[0].cells(row, i, GUTTER)
            self._matrix(row, i)
            sides[1].cells(row, i, self.right)
            lines.append(row.line())
        return [*lines, self._norms()]

    def _titles(self, count: int, sides: list[_Side]) -> Line:
        row = Row(self.width)
        room = (self.middle if self.view.matrix is not None else self.right) - GUTTER - 1
        name = "v: not captured" if self._arrives is None else _fitting(sides[0].names("v", count), room)
        row.left(GUTTER, name, "dim", room)
        matrix = self.view.matrix
        if matrix is not None:
            names = [self._part(count), f"J {matrix.rows}×{matrix.columns}" if matrix.rows else "J"]
            row.left(self.middle, _fitting(names, self.right - self.middle - 1), "dim", self.right - self.middle - 1)
        if self.view.edges:
            room = self.width - 1 - self.right
            name = "Jᵀv: none" if self._leaves is None else _fitting(sides[1].names("Jᵀv", count), room)
            row.left(self.right, name, "dim", room)
        return row.line()

    def _part(self, count: int) -> str:
        """Return the visible part of J in `count` rows: `J[:8, :8] of 16×16`; J and its size if that is all."""
        matrix = self.view.matrix
        if matrix is None or not matrix.rows:
            return "J" if matrix is not None else ""
        rows, columns = matrix.top + min(count, len(matrix.window)), matrix.left + self._cells
        if not matrix.window or (rows - matrix.top, self._cells) == (matrix.rows, matrix.columns):
            return f"J {matrix.rows}×{matrix.columns}"
        part = f"{matrix.top or ''}:{rows}, {matrix.left or ''}:{columns}"
        return f"J[{part}] of {matrix.rows}×{matrix.columns}"

    def _numbers(self) -> list[Line]:
        """Return the row of J's column numbers; none without a window of J."""
        matrix = self.view.matrix
        if matrix is None or not self._label:
            return []
        row, start = Row(self.width), self.middle + self._label
        for j in range(self._cells):
            number = str(matrix.left + j)
            if j % _TICK == 0 and j * heat.CELL + len(number) <= self._cells * heat.CELL:
                row.left(start + j * heat.CELL, number, "dim")
        more = matrix.left + self._cells < matrix.columns
        return [row.left(start + self._cells * heat.CELL, "…" if more else "", "dim").line()]

    def _norms(self) -> Line:
        row = Row(self.width)
        if self._arrives is not None:
            row.left(GUTTER, f"norm {numbers.norm(self._arrives.norm) or '·'}", "text", self.side)
        matrix = self.view.matrix
        if matrix is not None:
            name, room = clean(matrix.structure), self.right - self.middle - 1
            row.left(self.middle, fit(name, room), "text")
        if self._leaves is not None:
            norm = f"norm {numbers.norm(self._leaves.norm) or '·'}"
            ratio = f"  ×{numbers.norm(self._ratio)}" if self._ratio is not None else ""
            room = self.width - self.right
            row.left(self.right, norm + ratio if len(norm + ratio) <= room else norm, "text")
        elif self._why and self.view.edges:
            row.left(self.right, fit(clean(self._why), self.width - 1 - self.right), "dim")
        return row.line()

    def _matrix(self, row: Row, i: int) -> None:
        matrix = self.view.matrix
        if matrix is None or i >= len(matrix.window):
            return
        values = matrix.window[i][: self._cells]
        row.right(self.middle + self._label - 1, str(matrix.top + i), "dim").to(self.middle + self._label)
        flat = [value for line in matrix.window for value in line]
        ones = all(value in (0.0, 1.0) for value in flat)
        scale = max((abs(value) for value in flat if value - value == 0), default=0.0)
        for j, value in enumerate(values):
            # structural zeros are dots, to distinguish them from computed ones
            if (
                value == 0
                and (ones or matrix.zeros is not None)
                and (matrix.zeros is None or matrix.top + i != matrix.left + j)
            ):
                row.add("· ", "dim")
            elif ones:
                row.add(f"{value:.0f} ", "bright" if value else "dim")
            else:
                for text, tone in heat.cell(value, scale):
                    row.add(text, tone)


class _Side:
    """The grid of v or Jᵀv, all numbers in the same form."""

    def __init__(self, flow: Flow | None, width: int) -> None:
        self._shape = () if flow is None else flow.shape
        self._window: Rows = () if flow is None else flow.window
        seen = [value for line in self._window for value in line]
        if flow is not None and flow.statistics is not None:
            seen = [numbers.form_scale(flow.statistics.greatest, seen, 3)]
        self._form = numbers.form_of(seen, "", 3)
        texts = [numbers.signed(value, self._form) for line in self._window for value in line]
        self._cell = max((len(text) for text in texts), default=4) + 2
        self._shown = max(1, (width + 2) // self._cell)  # no gap after the last

    def names(self, name: str, count: int) -> list[str]:
        """Return titles for `count` visible rows, the longest first: `v[:8, :3] of 16×256`."""
        shape, size = self._shape, numbers.shape(self._shape)
        rows, columns = min(count, len(self._window)), min(self._shown, _across(self._window))
        seen = (rows, columns) if len(shape) > 1 else (rows,) if shape else ()
        parts = ["0"] * (len(shape) - len(seen))
        parts += [f":{n}" if n < size else ":" for n, size in zip(seen, shape[len(parts) :], strict=True)]
        if not rows or parts == [":"] * len(shape):
            return [f"{name} {size}"]
        tight = f"{name}[{','.join(parts)}]"
        return [f"{name}[{', '.join(parts)}] of {size}", f"{tight} of {size}", tight, f"{name} {size}"]

    def cells(self, row: Row, i: int, start: int) -> None:
        """Write a row of numbers."""
        for j, value in enumerate(self._window[i][: self._shown] if i < len(self._window) else ()):
            text = numbers.signed(value, self._form)
            row.right(start + (j + 1) * self._cell - 2, text, numbers.tone_of(value))


def _fitting(names: list[str], room: int) -> str:
    """Return the first name that fits, else the last."""
    return next((name for name in names if len(name) <= room), names[-1])


def _across(window: Rows) -> int:
    return max(map(len, window), default=0)


def _width(flow: Flow | None) -> int:
    """Return the width of the whole window of a vector, in cells."""
    if flow is None or not flow.window:
        return 0
    side = _Side(flow, 1)
    return _across(flow.window) * side._cell
