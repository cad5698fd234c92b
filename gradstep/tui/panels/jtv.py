"""The panel *Jᵀ v*: v that arrives at a node, its Jacobian, J^T v that leaves, the formula, and the chain to there."""

from __future__ import annotations

from gradstep.tui import heat
from gradstep.tui.lines import Line, Row, clean, fit
from gradstep.tui.panels.drawing import GUTTER, Drawing, empty, heading, paragraph
from gradstep.tui.panels.jtv_strip import strip_lines
from gradstep.tui.panels.jtv_words import chain_lines, edge_lines, facts, goes, product_line
from gradstep.tui.panels.panel import ViewPanel
from gradstep.values import numbers
from gradstep.values.nodes import Direction, EdgeRow, Flow, LookNode, NodeView, Rows
from gradstep.values.views import Request

_LEAST = 4
"""Rows of numbers that are left whatever is said below them."""
_MOST = 16
_GAP = 3


def draw(view: NodeView | None, width: int, height: int, at: int = -1) -> Drawing:
    """Draw the node: the numbers first, below them in words what there is room for; the cursor on input `at`."""
    if view is None or not view.name:
        return empty(width, height, clean(view.note) if view is not None else "Nothing is loaded yet.")
    about = f"#{view.number} {clean(view.name)}  {clean(view.module)}"
    said, chain = _said(view, width, at), chain_lines(view, width)
    grids = _Grids(view, width)
    rows = min(grids.height, _MOST)
    # at least half of the panel is numbers
    least = min(rows, max(_LEAST, height // 2 - grids.heads + 1))
    room = max(0, height - least - grids.heads)
    if chain and len(said) + len(chain) > room > 0:
        # the way from the loss is never left out without a sign of it
        said = [*said[: room - 1], product_line(view, width, cut=True)]
        chain = chain[1:]
    said = [*said, *chain, *_words(view, width)][:room]
    lines = grids.lines(max(least, min(rows, height - len(said) - grids.heads)))
    return Drawing(about, [*lines, *said][: max(height, 0)])


def _said(view: NodeView, width: int, at: int) -> list[Line]:
    """Say what happens to v and where it goes: the most needed first, a row or column that was asked for before all."""
    lines = strip_lines(view, width)
    if view.forward:
        lines += [_formula(view, width)]
    if len(view.edges) > 1 or (view.edges and not view.forward):
        lines += edge_lines(view, width, at)
    for text, tone in facts(view):
        lines += paragraph(text, width, tone)
    return lines


def _words(view: NodeView, width: int) -> list[Line]:
    """Say in words what the operation does to v."""
    if view.words:
        return paragraph(f"{view.words}.", width)
    if view.leaf:
        return []
    return paragraph("The derivative of this operation is not in gradstep's tables.", width, "dim")


def _formula(view: NodeView, width: int) -> Line:
    row = Row(width).left(GUTTER, clean(view.forward), "text")
    edge = _seen(view)
    if edge is not None and edge.formula:
        row.add("   Jᵀv = ", "dim").add(clean(edge.formula), "code")
        if len(view.edges) == 1:
            row.add(f"   {goes(edge, width - row.at - 4)}", "text" if edge.leaves is not None else "dim")
    return row.line()


def _seen(view: NodeView) -> EdgeRow | None:
    return next((edge for edge in view.edges if edge.edge == view.seen), None)


class _Grids:
    """v, J and J^T v side by side."""

    heads = 2
    """Rows that are no numbers: what each is, and what it amounts to."""

    def __init__(self, view: NodeView, width: int) -> None:
        self.view, self.width = view, width
        edge = _seen(view)
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


class JtvPanel(ViewPanel[NodeView]):
    """What a node makes of v, with a cursor on the input that J and J^T v are of."""

    title = heading("jtv")
    reads = (
        "One node of the backward: v, the gradient that arrives for the operation's output; J, the Jacobian of the "
        "operation; and Jᵀv, what leaves for each of its inputs, with the formula, the norms and their ratio. ↑↓ "
        "chooses the input. Below stand the tensors that the node saved, and the nodes that v came through. It is "
        "the node that is stopped at, or the one under the cursor of Graph."
    )
    shows = NodeView

    def __init__(self) -> None:
        super().__init__("jtv")
        self.number: int | None = None
        self.path = ""
        """What it is about: the number of a node, else the path of a parameter or module, else where it is stopped."""
        self.edge = -1
        self._check = self._insist = False
        self._direction: Direction = ""
        self._at: tuple[int, ...] = ()

    def request(self) -> Request:
        """Ask for the node, its numbers in a window as large as can be drawn."""
        rows = max(_LEAST, min(_MOST, self.body - 4))
        columns = max(8, min(16, self.size.width // 8))
        return LookNode(
            self.number,
            self.path,
            self.edge,
            rows=rows,
            columns=columns,
            check=self._check,
            run=self._insist,
            insist=self._insist,
            strip=self._direction,
            at=self._at,
            span=max(16, self.size.width // 2),
        )

    def taken(self, view: NodeView, before: NodeView | None) -> None:
        """Begin with the first input of another node, and ask nothing costly of it."""
        if before is not None and (before.number, before.name) != (view.number, view.name):
            self.edge, self._check, self._insist = -1, False, False
            self.choose_strip("")

    def draw_view(self, width: int, height: int) -> Drawing:
        """Draw the body as it stands now."""
        seen = self.view.seen if self.view is not None else -1
        return draw(self.view, width, height, seen)

    def move(self, rows: int) -> None:
        """Choose another of the inputs that need a gradient."""
        if self.view is None:
            return
        ends = [edge.edge for edge in self.view.edges if edge.number >= 0]
        if ends:
            here = ends.index(self.view.seen) if self.view.seen in ends else 0
            self.edge = ends[max(0, min(here + rows, len(ends) - 1))]

    def sideways(self, columns: int) -> None:
        """See the next row or column of J, where one is seen."""
        strip = self.view.matrix.strip if self.view is not None and self.view.matrix is not None else None
        if strip is not None and strip.number >= 0 and self.view is not None and self.view.matrix is not None:
            size = self.view.matrix.rows if strip.direction == "row" else self.view.matrix.columns
            self._at = (max(0, min(strip.number + columns, size - 1)),)

    def turn_strip(self) -> str:
        """See a row of J, a column, or neither; return what that is called."""
        if self.view is not None and self.view.name and (self.view.matrix is None or not self.view.matrix.rows):
            self.choose_strip("")
            return "there is no J here to see a row or a column of"
        turn: dict[Direction, Direction] = {"": "row", "row": "column", "column": ""}
        self.choose_strip(turn[self._direction])
        return {
            "row": "the row of J for the element where v is farthest from 0",
            "column": "the column of J for the element where Jᵀv is farthest from 0",
            "": "J in a window",
        }[self._direction]

    def choose_strip(self, direction: Direction, at: tuple[int, ...] = ()) -> None:
        """See a row or a column of J: that of an element, or with none of the one farthest from 0; neither for ""."""
        self._direction, self._at = direction, at

    @property
    def direction(self) -> Direction:
        """Which of the two is seen."""
        return self._direction

    def check(self) -> str:
        """Compare J with finite differences; return what that is called."""
        self._check = not self._check
        return "J is compared with finite differences" if self._check else "J is not compared"

    def insist(self) -> str:
        """Compute what costs much, or runs the user's code once more; return what that is called."""
        self._insist = not self._insist
        words = "computed whatever it costs; a custom Function is run once more for it"
        return words if self._insist else "only what costs little is computed"
