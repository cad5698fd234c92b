"""The numbers of the panel *Jᵀ v*: v, J and J^T v side by side, what each is and what it amounts to."""

from __future__ import annotations

from gradstep.tui import heat
from gradstep.tui.lines import Line, Row, clean, fit
from gradstep.tui.panels.drawing import GUTTER
from gradstep.values import numbers
from gradstep.values.nodes import EdgeRow, Flow, NodeView, Rows

_GAP = 3


def seen_edge(view: NodeView) -> EdgeRow | None:
    """Return the input that J and J^T v are of; None for none."""
    return next((edge for edge in view.edges if edge.edge == view.seen), None)


class Grids:
    """v, J and J^T v side by side."""

    heads = 2
    """Rows that are no numbers: what each is, and what it amounts to."""

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
        most = max(0, (width - 2 * GUTTER - 2 * self._gap) // 3 // heat.CELL)
        self._cells = min(cells, most)
        middle = max(self._cells * heat.CELL, 0 if matrix is None else 12)
        self.side = (width - GUTTER - 1 - (middle + self._gap if matrix else 0) - self._gap) // 2
        # side by side and close together: nothing is stretched for its own sake
        self.side = min(self.side, max(_width(self._arrives), _width(self._leaves), 22))
        self.middle = GUTTER + self.side + self._gap
        self.right = self.middle + (middle + self._gap if matrix else 0)
        self.end = min(width - 1, self.right + self.side)

    @property
    def height(self) -> int:
        """Rows of numbers that there are."""
        windows = [flow.window for flow in (self._arrives, self._leaves) if flow is not None]
        windows += [self.view.matrix.window] if self.view.matrix is not None else []
        return max(map(len, windows), default=0)

    def lines(self, count: int) -> list[Line]:
        """Draw so many rows of numbers, between what each grid is and what it amounts to."""
        sides = [_Side(flow, self.side) for flow in (self._arrives, self._leaves)]
        lines = [self._titles()]
        for i in range(min(count, self.height)):
            row = Row(self.width)
            sides[0].cells(row, i, GUTTER)
            self._matrix(row, i)
            sides[1].cells(row, i, self.right)
            lines.append(row.line())
        return [*lines, self._norms()]

    def _titles(self) -> Line:
        row = Row(self.width)
        room = self.side if self.view.matrix is not None else self.side + self._gap
        shape = f" {numbers.shape(self._arrives.shape)}" if self._arrives is not None else ": not seen"
        row.left(GUTTER, "v" + shape, "dim", room)
        matrix = self.view.matrix
        if matrix is not None:
            name = f"J {matrix.rows}×{matrix.columns}" if matrix.rows else "J"
            row.left(self.middle, name, "dim", self.right - self.middle - 1)
        if self.view.edges:
            shape = f" {numbers.shape(self._leaves.shape)}" if self._leaves is not None else ": none"
            row.left(self.right, "Jᵀv" + shape, "dim", self.side)
        return row.line()

    def _norms(self) -> Line:
        row = Row(self.width)
        if self._arrives is not None:
            row.left(GUTTER, f"norm {numbers.norm(self._arrives.norm) or '·'}", "text", self.side)
        matrix = self.view.matrix
        if matrix is not None:
            name, room = clean(matrix.structure), self.right - self.middle - 1
            row.left(self.middle, name if len(name) <= room else "", "text")
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
        row.to(self.middle)
        flat = [value for line in matrix.window for value in line]
        ones = all(value in (0.0, 1.0) for value in flat)
        scale = max((abs(value) for value in flat if value - value == 0), default=0.0)
        for j, value in enumerate(values):
            # what can be nothing but 0 is told from what happens to be 0
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
    """One vector as a grid of numbers in one form."""

    def __init__(self, flow: Flow | None, width: int) -> None:
        self._window: Rows = () if flow is None else flow.window
        greatest = [] if flow is None or flow.statistics is None else [flow.statistics.greatest]
        self._form = numbers.form_of(greatest or [v for line in self._window for v in line], "", 3)
        texts = [numbers.signed(value, self._form) for line in self._window for value in line]
        self._cell = max((len(text) for text in texts), default=4) + 2
        self._shown = max(1, (width + 2) // self._cell)  # nothing need be free behind the last

    def cells(self, row: Row, i: int, start: int) -> None:
        """Write a row of it."""
        for j, value in enumerate(self._window[i][: self._shown] if i < len(self._window) else ()):
            text = numbers.signed(value, self._form)
            row.right(start + (j + 1) * self._cell - 2, text, numbers.tone_of(value))


def _across(window: Rows) -> int:
    return max(map(len, window), default=0)


def _width(flow: Flow | None) -> int:
    """Return the cells that a vector's window takes when all of it is drawn."""
    if flow is None or not flow.window:
        return 0
    side = _Side(flow, 1)
    return _across(flow.window) * side._cell
