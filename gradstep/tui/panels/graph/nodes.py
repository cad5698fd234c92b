"""The rows of the graph as lines: the columns, and the text of a node or folded group in each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from gradstep.tui.panels.breakpoints import mark_of
from gradstep.tui.render.drawing import GUTTER, cursor, widest
from gradstep.tui.render.lines import Line, Row, cell_len, clean, fit, fit_middle
from gradstep.values import numbers
from gradstep.values.views.graph import NodeRow
from gradstep.values.views.inside import Breakpoint

_MARKS = {
    "": ("·", "dim"),
    "waiting": ("·", "dim"),
    "left out": (" ", "dim"),
    "ready": ("○", "text"),
    "running": ("▶", "now"),
    "done": ("✓", "good"),
}
"""The mark of each status, and its tone."""
_SAVED = {"freed": "freed", "written": "overwritten", "packed": "in a hook"}
_NODES = "●◆■"
_WIDE = 60


class Columns:
    """The positions of the columns that fit, for the visible rows."""

    def __init__(self, rows: Sequence[NodeRow], width: int, most: int) -> None:
        """Divide the width among the columns.

        Args:
            rows: the visible rows.
            width: cells of a line.
            most: number of nodes in the graph, for the width of their numbers.
        """
        self.width = width
        wide = width >= _WIDE
        gap = 3 if wide else 1
        self.number = 4 + len(f"#{max(0, most - 1)}") if wide else 0
        self.lanes = self.number + 2 if wide else 4
        self.lane_width = min(widest([row.lanes for row in rows], 5), max(6, width // 4))
        self.operation = self.lanes + self.lane_width + gap
        names = widest([name_of(row) for row in rows], 18 if wide else 9)
        shapes = widest([numbers.shape(row.shape) for row in rows], 9 if wide else 5)
        given = widest([f"{name_of(row)}  {_given(row)}" for row in rows if _given(row)])
        if wide and self.operation + given + gap + shapes + 26 <= width:
            names = max(names, given - gap + 1)
        # next to the column before it: spare width stays at the right
        self.shape = min(self.operation + names + gap + shapes, width - 1)
        self.names = max(0, self.shape - shapes - 1 - self.operation)
        self.module = self.shape + (4 if wide else 2)
        modules = widest([module_of(row) for row in rows], 6)
        self.saved = self.line = 0
        at = self.module + modules
        keeps = widest([saved_of(row) for row in rows], 5)
        if at + 2 + keeps < width:
            self.saved = at = at + 2 + keeps
        if at + 3 + (written := widest([line_of(row) for row in rows], 4)) < width and written > 4:
            self.line = at + 3
        end = min(self.saved - keeps - 2 if self.saved else width, self.line - 2 if self.line else width)
        self.modules = end - self.module - 1 if end == width else end - self.module
        if self.modules < min(modules, 6):
            # the operation needs the room; Model shows the modules too
            self.module = 0

    def header(self) -> Line:
        """Return the header."""
        row = Row(self.width)
        if self.number:
            row.right(self.number, "#", "dim")
        row.left(self.lanes, "order", "dim", self.lane_width).left(self.operation, "operation", "dim")
        row.right(self.shape, "shape", "dim")
        if self.module:
            row.left(self.module, "module", "dim")
        if self.saved:
            row.right(self.saved, "keeps", "dim")
        return (row.left(self.line, "line", "dim") if self.line else row).line()

    def line_for(self, node: NodeRow, here: bool, stops: Breakpoint | None = None) -> Line:
        """Return the line of a node or group, with the mark of its breakpoint."""
        row = cursor(Row(self.width, here), here)
        if stops is not None:
            row.left(1, *mark_of(stops))
        running, dark = node.status == "running", node.status in {"", "waiting", "left out"} and not here
        row.left(GUTTER, *_MARKS[node.status])
        if self.number:
            row.right(self.number, f"#{node.order}", "now" if running else "dim")
        self._draw_lanes(row.to(self.lanes), node, dark)
        row.to(self.operation)
        name = fit(name_of(node), self.names)
        tone = "bright" if running or node.group or (node.parameter and not dark) else "dim" if dark else "text"
        if node.grad and not node.group and name.endswith(node.grad):
            tone = "bright" if not dark else "key" if node.parameter else "dim"
            row.add(name.removesuffix(node.grad), tone).add(node.grad, "dim" if node.grad == "none" else "text")
        else:
            row.add(name, tone)
        given = _given(node)
        shape = numbers.shape(node.shape)
        if given and row.at + 1 + cell_len(given) + 1 + len(shape) <= self.shape:
            shape = f"{given} {shape}"
        row.right(self.shape, shape, "dim")
        if self.module:
            opens = node.opens and not node.group
            row.left(self.module, module_of(node, self.modules), "text" if opens else "dim")
        if self.saved:
            row.right(self.saved, saved_of(node), "bad" if node.saved == "written" else "dim")
        return (row.left(self.line, line_of(node), "dim") if self.line else row).line()

    def _draw_lanes(self, row: Row, node: NodeRow, dark: bool) -> None:
        drawn, _, notes = node.lanes.partition("↓")
        for glyph in fit(drawn.rstrip(" "), self.lane_width):
            solid = glyph in _NODES
            now = solid and node.status == "running"
            row.add(glyph, "now" if now else "dim" if solid and dark else "text" if solid or glyph == "↑" else "line")
        room = self.lanes + self.lane_width - row.at
        if notes and room > 1:
            row.add(fit(f" ↓{notes}" if drawn.endswith(" ") else f"↓{notes}", room), "dim")


def name_of(row: NodeRow) -> str:
    """Return the label of a row: an operation, a parameter's `.grad` with its state, or a folded module."""
    if row.group:
        call = f" {row.call}/{row.calls}" if row.call else ""
        return clean(f"▸ {row.module}{call}")
    return clean(f"{row.operation} {row.grad}" if row.grad else row.operation)


def module_of(row: NodeRow, room: int = 1 << 20) -> str:
    """Return the module of a node, marked where its group begins; of a group its size.

    To fit into `room` cells, the class of the module is left out first, then the number of the call.
    """
    if row.group:
        grads = f", {row.parameters} .grad {row.grad}".rstrip() if row.parameters else ""
        return fit(f"  {numbers.count(row.nodes, 'node')}{grads}", room)
    mark, call = "▾" if row.opens else " ", f" {row.call}/{row.calls}" if row.call else ""
    names = (f"{row.module}{call}", f"{row.path or row.module}{call}", row.path or row.module)
    texts = [clean(f"{mark} {name}") for name in names]
    return next((text for text in texts if cell_len(text) <= room), fit_middle(texts[-1], room))


def saved_of(row: NodeRow) -> str:
    """Return the memory that a row keeps for backward, or the state of its saved tensors."""
    if row.saved == "alive":
        return "alive" if row.bytes is None else numbers.size(row.bytes)
    return _SAVED.get(row.saved, "")


def line_of(row: NodeRow) -> str:
    """Return the short file name and line that made a node; the call by gradstep if no user code did."""
    return clean(f"{PurePath(row.file).name}:{row.line}" if row.line else row.source.partition(" = ")[2])


def describe(row: NodeRow, room: int, unknown: str = "") -> str:
    """Return a line on a row with what has no column.

    Args:
        row: the node or group.
        room: maximum width in cells; the source line is left out last.
        unknown: what to say in place of a source line that was not recorded.
    """
    kept = f"keeps {saved_of(row)}" if row.bytes is not None and row.saved == "alive" else saved_of(row)
    if row.group:
        last = row.order + row.nodes - 1
        grads = f"{row.parameters} .grad {row.grad}".rstrip() if row.parameters else ""
        parts = [f"#{row.order} to #{last}, {row.nodes} nodes", grads, kept]
    else:
        parts = [f"#{row.order} {row.name}", f"adds to {row.operation}: {row.grad}" if row.parameter else kept]
    where = f"{PurePath(row.file).name}:{row.line}  " if row.line else ""
    line = where + row.source if row.source else "" if row.parameter else unknown
    said = [clean(part) for part in parts if part]
    end = [clean(line)] if line else []
    text = "  ".join([*said, *end])
    while len(said) > 1 and cell_len(text) > room:
        said.pop()
        text = "  ".join([*said, "…", *end])
    return fit(text, room)


def _given(row: NodeRow) -> str:
    return f"{numbers.shape(row.given)} →" if row.group and row.given is not None else ""
