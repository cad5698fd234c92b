"""The panel *Graph*: the grad_fn graph of the last loss, one row per node or folded module, in execution order."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gradstep.tui.keys.in_keys import in_keys
from gradstep.tui.keys.keyboard import DEFAULT_KEYS, Keyboard
from gradstep.tui.panels.actions import Actions
from gradstep.tui.panels.breakpoints import of_node
from gradstep.tui.panels.graph.nodes import Columns, describe
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.copying import Copied
from gradstep.tui.render.drawing import GUTTER, Drawing, empty, unknown, window
from gradstep.tui.render.lines import Line, clean, text_line
from gradstep.values import numbers
from gradstep.values.commands import Break
from gradstep.values.expressions import name_line
from gradstep.values.outcomes import Stop
from gradstep.values.views import Request
from gradstep.values.views.graph import GraphView, LookGraph, NodeRow
from gradstep.values.views.inside import Breakpoint

_STATES = {
    "alive": "alive",
    "freed": "buffers freed by backward",
    "partly freed": "buffers partly freed",
    "none": "",
}
_ALL_OPEN = 64
"""A fold level deeper than any model: nothing is folded."""
_MEASURED = 5000
"""Maximum number of nodes of a graph whose memory is measured by default: it takes a pass over them."""


def draw(
    view: GraphView | None,
    width: int,
    height: int,
    first: int = 0,
    at: int = -1,
    breakpoints: tuple[Breakpoint, ...] = (),
    keyboard: Keyboard = DEFAULT_KEYS,
) -> Drawing:
    """Draw the rows from row `first` on, the cursor on row `at` (-1: none).

    Rows outside the window of the view are drawn as `…` until they arrive.
    """
    if view is None or view.state == "none":
        note = view.note if view is not None else ""
        hint = in_keys("No graph yet: run `forward`, which records it as it computes.", keyboard)
        return empty(width, height, clean(note) or hint)
    start, end = window(view.total, first, height - 1 - has_foot(height))
    shown = [_row(view, place) for place in range(start, end)]
    columns = Columns([row for row in shown if row is not None], width, view.nodes or view.total)
    lines = [columns.header()]
    for place, row in zip(range(start, end), shown, strict=True):
        here = place == at
        lines.append(columns.line_for(row, here, of_node(breakpoints, row)) if row else unknown(width, here))
    if has_foot(height):
        row, missing = _row(view, at), "its source line: from the next forward on"
        if not view.recorded:
            missing = in_keys("modules and lines: from the next `forward` on", keyboard)
        if row is not None:
            said = describe(row, width - GUTTER - 1, "" if view.lined else missing)
        else:
            said = "" if view.recorded else missing
        lines += [Line()] * (height - 1 - len(lines)) + [text_line(said, width, "dim")]
    return Drawing(_about(view, width), lines[: max(height, 0)], view.total, start, end - start)


def has_foot(height: int) -> bool:
    """Return whether a line on the row under the cursor fits."""
    return height >= 7


def _about(view: GraphView, width: int) -> str:
    state = _STATES[view.state].removeprefix("buffers " if width < 60 else "")
    if view.bytes:
        state += f", keeps {numbers.size(view.bytes)}" if width >= 60 else f" {numbers.size(view.bytes)}"
    rows = f" in {numbers.count(view.total, 'row')}" if view.total != view.nodes and view.nodes else ""
    return f"{numbers.count(view.nodes or view.total, 'node')}{rows}, {state}"


def _row(view: GraphView, place: int) -> NodeRow | None:
    inside = view.first <= place < view.first + len(view.rows)
    return view.rows[place - view.first] if inside else None


class GraphPanel(Panel[GraphView]):
    """The graph, with a cursor and folding; it holds a window of rows around the visible ones."""

    title = "Graph"
    help_text = (
        "What backward walks: the operations that the forward recorded, the loss first, in the order in which "
        "backward runs them. The lanes at the left are the paths of the gradient; ◆ is a parameter, where a path "
        "ends and the gradient is added to .grad. ▸ and ■ are a module folded into one row, from its input to its "
        "output; ▾ is the first row of an open one."
    )
    shows = GraphView
    _AHEAD, _STRIDE = 60, 30

    def __init__(self) -> None:
        super().__init__("graph")
        self.at = -1
        self._stop = -1
        self._near = ""
        self._level = -1
        self._turned: frozenset[str] = frozenset()
        self._measure = False
        self._lit = -1
        """The number of the node that a backward is stopped at; -1 for none."""
        self._arrived = False
        """True until the cursor has moved to it."""
        self.breakpoints: Callable[[], tuple[Breakpoint, ...]] = tuple
        """Returns the breakpoints, for the marks on rows."""

    def follow(self, stop: Stop) -> None:
        """Have the cursor move to the node that a backward is stopped at."""
        position = stop.position
        number = position.number if position is not None else -1
        if number >= 0 and stop.number != self._stop:
            self._arrived, self._near = True, ""
        self._lit, self._stop = number, stop.number

    @property
    def pointed_node(self) -> int | None:
        """The number of the node under the cursor; None if that is where a backward is stopped, or for none."""
        row = self.here
        if row is None or self._arrived or row.order <= self._lit < row.order + row.nodes:
            return None
        return row.order

    @property
    def sought(self) -> str:
        """The target of the cursor until it arrives: `#12`, or the path of a module or parameter; else empty."""
        return self._near

    def request(self) -> Request:
        """Return the request for the visible rows and some more, in strides, so that not every move needs another."""
        first = max(0, self.first - self._AHEAD) // self._STRIDE * self._STRIDE
        return LookGraph(
            first=0 if self._near else first,
            count=self.body + 2 * self._AHEAD + self._STRIDE,
            level=self._level,
            turned=tuple(sorted(self._turned)),
            near=self._near,
            lanes=8 if self.size.width >= 60 else 5,
            sizes=self._measure or (self.view is not None and 0 < self.view.nodes <= _MEASURED),
        )

    def update(self, view: GraphView, before: GraphView | None) -> None:  # noqa: ARG002
        """Move the cursor to its target, or to the node stopped at; else keep it in range."""
        if self._near and view.near == self._near:
            self._near = ""
            if view.at >= 0:
                self.at = view.at
                self._reveal(ahead=self.body // 3 if self._lit >= 0 else 0)
        if self._arrived and self._lit >= 0:
            self._arrived = False
            places = [i for i, row in enumerate(view.rows) if row.order <= self._lit < row.order + row.nodes]
            if places:
                self.at = view.first + places[0]
                self._reveal(ahead=self.body // 3)
            else:
                self._near = f"#{self._lit}"
        self.at = min(self.at, view.total - 1)
        self.first = max(0, min(self.first, view.total - self.body))

    @property
    def cache_key(self) -> object:
        """The cursor position, and what else the drawing depends on besides the view."""
        return self.at, self.breakpoints()

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        return draw(self.view, width, height, self.first, self.at, self.breakpoints(), self.keyboard)

    @property
    def body(self) -> int:
        """Rows for nodes, without the header and the line on the cursor's row."""
        room = super().body
        return max(1, room - 1 - has_foot(room))

    def move(self, rows: int) -> None:
        """Move the cursor."""
        if self.view is not None and self.view.total:
            start = self.at if self.at >= 0 else self.first - (rows > 0)
            self.at = max(0, min(start + rows, self.view.total - 1))
            self._reveal()

    def click_row(self, row: int) -> None:
        """Move the cursor to the row."""
        if self.view is not None and 0 <= row - 1 + self.first < self.view.total and row - 1 < self.body:
            self.at = row - 1 + self.first

    def copied(self) -> Copied | None:
        """Return a description of the node under the cursor."""
        row = self.here
        if row is None:
            return None
        where = f"{row.file}:{row.line}" if row.file else row.source
        shape = numbers.shape(row.shape) if row.shape is not None else ""
        return Copied(f"node {row.order}", "  ".join(filter(None, [row.name, row.operation, shape, row.module, where])))

    def resized(self) -> None:
        """Scroll the cursor into view."""
        self._reveal()

    # -- what is under the cursor -------------------------------------------------------------------------------------
    def keys(self) -> Mapping[str, Callable[[], str]]:
        """Return the keys that fold and measure."""
        return {
            "fold": self.fold,
            "unfold": self.open_here,
            "fold_all": lambda: self.fold_all(True),
            "unfold_all": lambda: self.fold_all(False),
            "measure": self.toggle_measure,
        }

    def press(self, key: str, actions: Actions) -> bool:
        """Unfold the module under the cursor, select its parameter, toggle a breakpoint, or edit `.grad`."""
        row = self.here
        if key == "choose":
            if not self.unfold() and self.chosen:
                actions.select(self.chosen)
        elif key == "break" and row is not None:
            actions.toggle_break(Break("module", row.path or "*") if row.group else self._break(row, actions.stop))
        elif key == "edit" and row is not None and row.parameter:
            actions.edit(f"set {name_line(row.parameter)}.grad = 0")
        else:
            return False
        return True

    def _break(self, row: NodeRow, stop: Stop) -> Break:
        # numbers refer to the graph of the loss
        in_call = stop.position is not None and stop.position.call
        return Break("node", row.name if in_call else f"#{row.order}")

    @property
    def here(self) -> NodeRow | None:
        """The row under the cursor; None for none, or until it arrives."""
        return _row(self.view, self.at) if self.view is not None and self.at >= 0 else None

    @property
    def chosen(self) -> str:
        """The parameter whose leaf is under the cursor; empty for none."""
        return self.here.parameter if self.here is not None else ""

    @property
    def pointed(self) -> str:
        """The path of the parameter or module under the cursor; empty outside the model."""
        row = self.here
        return "" if row is None else row.parameter or row.path or ""

    def seek(self, path: str) -> None:
        """Have the cursor move to the first row of a module or parameter, or to node `#12`."""
        if path and path != self.pointed:
            self._near = path

    # -- folding ------------------------------------------------------------------------------------------------------
    def fold(self) -> str:
        """Fold the innermost open module around the cursor; return an error message, empty for none."""
        folded = self._turn(self.here.inside if self.here is not None else "")
        return "" if folded else "no open module here to fold"

    def open_here(self) -> str:
        """Unfold the module under the cursor; return an error message, empty for none."""
        return "" if self.unfold() else "no folded module here to open"

    def unfold(self) -> bool:
        """Unfold the module under the cursor; return whether one was folded there."""
        return self._turn(self.here.group if self.here is not None else "")

    def fold_all(self, fold: bool) -> str:
        """Fold or unfold all modules."""
        self._level, self._turned = 0 if fold else _ALL_OPEN, frozenset()
        self._stay()
        return ""

    def toggle_measure(self) -> str:
        """Toggle measuring the memory that the graph keeps; return the description."""
        self._measure = not self._measure
        return (
            "measuring the memory that nodes keep"
            if self._measure
            else f"measuring only graphs of up to {_MEASURED:,} nodes"
        )

    def _turn(self, key: str) -> bool:
        if key:
            self._turned ^= {key}
            self._stay()
        return bool(key)

    def _stay(self) -> None:
        """Keep the cursor on its node, or on the group that the node is folded into."""
        if self.here is not None:
            self._near = f"#{self.here.order}"

    def _reveal(self, ahead: int = 0) -> None:
        """Scroll the cursor into view, with `ahead` rows after it: what runs next."""
        if self.at >= 0:
            last = min(self.at + ahead, self.view.total - 1) if self.view is not None else self.at
            self.first = max(0, min(self.first, self.at), last - self.body + 1)
