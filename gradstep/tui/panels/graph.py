"""The panel *Graph*: the grad_fn graph of the last loss, one row a node in execution order."""

from __future__ import annotations

from gradstep.tui import numbers
from gradstep.tui.lines import Line, Row, clean, fit
from gradstep.tui.panels.drawing import GUTTER, Drawing, cursor, empty, widest, window
from gradstep.tui.panels.panel import Panel
from gradstep.values.views import GraphView, LookGraph, NodeRow, NoView, Request, View

_STATES = {
    "alive": "alive",
    "freed": "buffers freed by backward",
    "partly freed": "buffers partly freed",
    "none": "",
}


def draw(view: GraphView | None, width: int, height: int, first: int = 0, at: int = -1) -> Drawing:
    """Draw the nodes from the one with order `first` on, the cursor on node `at` (-1: nowhere).

    Nodes that the view's window does not hold are drawn as `…` until they have been asked for.
    """
    if view is None or view.state == "none":
        note = view.note if view is not None else ""
        hint = "No graph yet: press f, the forward records it while it computes."
        return empty(width, height, clean(note) or hint)
    short = width < 60
    state = _STATES[view.state].removeprefix("buffers " if short else "")
    about = f"{numbers.count(view.total, 'node')}, {state}"
    start, end = window(view.total, first, height - 1)
    held = {row.order: row for row in view.rows}
    shown = [held.get(order) for order in range(start, end)]
    columns = _Columns([row for row in shown if row is not None], width)
    lines = [columns.header()]
    for order, node in zip(range(start, end), shown, strict=True):
        here = order == at
        lines.append(columns.line(node, here) if node else cursor(Row(width, here), here).left(3, "…", "dim").line())
    return Drawing(about, lines[: max(height, 0)], view.total)


class _Columns:
    """Where each column stands, for the nodes that are visible."""

    def __init__(self, rows: list[NodeRow], width: int) -> None:
        self.width = width
        self.lanes = 5 if width >= 60 else 4
        room = max(6, width // 4)
        self.lane_width = min(widest([row.lanes.rstrip() for row in rows], 5), room)
        self.operation = self.lanes + self.lane_width + (3 if width >= 60 else 1)
        wide = width >= 60
        shapes = widest([numbers.shape(row.shape) for row in rows], 9 if wide else 5)
        names = widest([clean(row.operation) for row in rows], 18 if wide else 9)
        # close to what it belongs to: nothing is stretched for its own sake
        self.shape = min(self.operation + names + (3 if wide else 1) + shapes, width - 1)
        self.module = self.shape + (4 if wide else 2)
        if width - 1 - self.module < min(widest([clean(row.module) for row in rows], 6), 6):
            # the operation needs the room: the module is named in Model, and at the top of a wider screen
            self.module = 0
        self.names = max(0, self.shape - shapes - 1 - self.operation)

    def header(self) -> Line:
        row = Row(self.width).left(self.lanes, "order", "dim", self.lane_width).left(self.operation, "operation", "dim")
        row.right(self.shape, "shape", "dim")
        return (row.left(self.module, "module", "dim") if self.module else row).line()

    def line(self, node: NodeRow, here: bool) -> Line:
        row = cursor(Row(self.width, here), here)
        row.left(GUTTER, "✓" if node.done else "·", "good" if node.done else "dim").to(self.lanes)
        lanes = fit(node.lanes.rstrip(), self.lane_width)
        for glyph in lanes:
            solid = glyph in "●◆"
            row.add(glyph, "now" if solid and here else "text" if solid and node.done else "dim" if solid else "line")
        leaf = "bright" if node.parameter else "text"
        tone = leaf if node.done or here else "key" if node.parameter else "dim"
        row.left(self.operation, clean(node.operation), tone, self.names)
        row.right(self.shape, numbers.shape(node.shape), "dim")
        return (row.left(self.module, clean(node.module), "dim") if self.module else row).line()


class GraphPanel(Panel):
    """The graph, with a cursor; it holds the window of nodes around what is seen."""

    title = "Graph"
    reads = (
        "What backward walks: the operations that the forward recorded, the loss first, in the order in which "
        "backward runs them. The lanes at the left are the ways the gradient takes; ◆ is a parameter, where it "
        "ends and is added to .grad."
    )
    _AHEAD = 100

    def __init__(self) -> None:
        super().__init__("graph")
        self.view: GraphView | None = None
        self.why = ""
        self.at = -1

    def request(self) -> Request:
        """Ask for what this panel shows."""
        return LookGraph(first=max(0, self.first - self._AHEAD), count=self.body + 2 * self._AHEAD)

    def assign(self, view: View) -> None:
        """Take a window of nodes; a shorter graph pulls the cursor in."""
        if isinstance(view, GraphView):
            self.view, self.why = view, ""
            self.at = min(self.at, view.total - 1)
            self.first = max(0, min(self.first, view.total - self.body))
        elif isinstance(view, NoView):
            self.view, self.why = None, view.why

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body as it stands now."""
        if self.why:
            return empty(width, height, clean(self.why))
        return draw(self.view, width, height, self.first, self.at if self.focused else -1)

    @property
    def body(self) -> int:
        """Rows for nodes: a header stands above them."""
        return max(1, super().body - 1)

    def move(self, rows: int) -> None:
        """Move the cursor."""
        if self.view is not None and self.view.total:
            self.at = max(0, min(max(self.at, 0) + rows if self.at >= 0 else self.first, self.view.total - 1))
            self.first = max(min(self.first, self.at), self.at - self.body + 1)

    def click_row(self, row: int) -> None:
        """Move the cursor to the row."""
        if self.view is not None and 0 <= row - 1 + self.first < self.view.total:
            self.at = row - 1 + self.first

    @property
    def chosen(self) -> str:
        """The parameter whose leaf is under the cursor; empty elsewhere."""
        rows = self.view.rows if self.view is not None else ()
        return next((row.parameter for row in rows if row.order == self.at), "")
