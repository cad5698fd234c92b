"""The Graph view: the grad_fn graph of the last loss, one row a node or a folded group, in execution order."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from msgspec.structs import replace

from gradstep.engine.autograd.buffers import Storage, storages_of
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.engine.debuggee.loop import Point
from gradstep.engine.held import Held
from gradstep.values.views.graph import GraphView, LookGraph, NodeRow
from gradstep.views.graph.groups import FoldedRows, Groups
from gradstep.views.graph.lanes import GROUP, LEAF, NODE, Lanes
from gradstep.views.graph.memory import SavedTensors
from gradstep.views.graph.node_facts import NodeRows
from gradstep.views.graph.progress import BackwardProgress, Freed, Frontier

_LAYOUTS = 4
"""Maximum number of layouts that are cached for one graph."""
_KNOWN = 4096
"""Maximum number of rows of a layout that are cached."""


class GraphViewer:
    """Makes Graph views. Groups, lanes and rows are made once for each graph."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._graph: _Graph | None = None

    def forget(self) -> None:
        """Release the graph that was shown, with its saved tensors."""
        self._graph = None

    def view(self, stop: int, request: LookGraph, progress: BackwardProgress | None = None) -> GraphView:
        """Return a window of the graph of the last loss; `progress` is that of a backward that is stopped inside."""
        record = self._held.graph()
        if record is None:
            self._graph = None
            return GraphView(stop, "none", note=_why_none(self._held))
        if self._graph is None or self._graph.record is not record:
            self._graph = _Graph(self._held, record)
        self._graph.follow(progress)
        return self._graph.view(stop, request)


class _Layout:
    """One way of folding a graph: its rows and their lanes."""

    def __init__(self, graph: _Graph, request: LookGraph, like: _Layout | None) -> None:
        """Lay the rows out; `like` is a layout with as many lanes, which this one shares what it can with."""
        self.rows = FoldedRows(graph.groups, graph.groups.folded(request.level, request.turned), graph.record.edges)
        if like is None:
            self.lanes = Lanes(self.rows, request.lanes)
        else:
            self.lanes = Lanes(self.rows, request.lanes, like.lanes, self.rows.differ(like.rows))
        self.made: dict[int, NodeRow] = {}
        """Rows as they are while nothing has run."""


class _Graph:
    """A graph with its cached layouts and saved tensors."""

    def __init__(self, held: Held, record: GraphRecord) -> None:
        self.held, self.record = held, record
        self.groups = Groups(record)
        self._layouts: OrderedDict[tuple[int, tuple[str, ...], int], _Layout] = OrderedDict()
        self._node_rows = NodeRows(held, record, self.groups)
        self._progress: BackwardProgress | None = None
        self._frontier: Frontier | None = None
        self._freed = Freed(record.nodes)
        self._saved_tensors: SavedTensors | None = None
        self._known: tuple[Point | None, int] = (None, -1)
        self._read_in: dict[int, None] | None = None
        """The nodes that have run in the backward inside which saved tensors were read; None between phases."""
        self._state: Literal["alive", "freed", "partly freed"] = "alive"

    def follow(self, progress: BackwardProgress | None) -> None:
        """Update to the progress of a backward; None between phases."""
        self._progress = progress
        if progress is None:
            self._frontier = None
            return
        if self._frontier is None or self._frontier.ran is not progress.ran:
            self._frontier = Frontier(self.record, progress.ran)
        self._frontier.follow()

    # -- the window ----------------------------------------------------------------------------------------------------
    def view(self, stop: int, request: LookGraph) -> GraphView:
        layout = self._layout(request)
        rows, total = layout.rows, layout.rows.total
        node = self._node_rows.node(request.near)
        at = -1 if node < 0 else rows.row_of(node)
        first = request.first if at < 0 else at - request.count // 2
        first = max(0, min(first, total - request.count))
        end = min(first + request.count, total)
        saved_tensors, sizes = self._kept(stop), request.sizes and not self.held.point.lent
        window = self._rows(layout, first, end)
        return GraphView(
            stop,
            self._state,
            total,
            first,
            tuple([self._now(layout, row, made, saved_tensors, sizes) for row, made in enumerate(window, first)]),
            nodes=len(self.record.nodes),
            near=request.near,
            at=at,
            groups=len(self.groups.items),
            lined=self.record.lines is not None,
            recorded=self.held.point.watched.recorded,
            bytes=saved_tensors.total if sizes else None,
            packed=saved_tensors.packed if sizes else 0,
        )

    def _layout(self, request: LookGraph) -> _Layout:
        key = (request.level, request.turned, request.lanes)
        if key not in self._layouts:
            latest = reversed(self._layouts.items())
            like = next((layout for (*_, lanes), layout in latest if lanes == request.lanes), None)
            self._layouts[key] = _Layout(self, request, like)
            if len(self._layouts) > _LAYOUTS:
                self._layouts.popitem(last=False)
        self._layouts.move_to_end(key)
        return self._layouts[key]

    def _kept(self, stop: int) -> SavedTensors:
        """Return the saved tensors of the nodes at this stop, and update the state of the graph."""
        point = self.held.point
        if self._saved_tensors is None or self._known[0] is not point or self._known[1] != stop:
            progress = self._progress
            ran = None if progress is None else progress.ran
            # the stop before was inside the same backward: most nodes are unchanged
            same = ran is not None and ran is self._read_in and self._known[0] is point
            if same and self._saved_tensors is not None and progress is not None:
                self._saved_tensors.advance(progress)
            else:
                self._saved_tensors = SavedTensors(self.record.nodes, self._own)
            self._known, self._read_in = (point, stop), ran
            if point.lent:
                self._state = "alive"
            else:
                self._freed.check(progress, same)
                self._state = self._freed.state(point.freed)
            if self._state == "freed" and point.freed:
                self._saved_tensors.total = 0
        return self._saved_tensors

    def _own(self) -> frozenset[Storage]:
        """Return the storages of parameters and buffers, which outlive the graph."""
        return storages_of([tensor for _, tensor in (*self.held.parameters, *self.held.buffers())])

    # -- rows ----------------------------------------------------------------------------------------------------------
    def _rows(self, layout: _Layout, first: int, end: int) -> list[NodeRow]:
        """Return rows of a layout, from the cache where possible."""
        made, rows = layout.made, layout.rows
        missing = [row for row in range(first, end) if row not in made]
        if missing:
            if len(made) > _KNOWN:
                made.clear()
                missing = [*range(first, end)]
            low, high = missing[0], missing[-1] + 1
            marks = [self._mark(rows, rows.node_of(row)) for row in range(low, high)]
            drawn = layout.lanes.draw(low, high, marks)
            for row in missing:
                node = rows.node_of(row)
                fold, edges = rows.fold_at(node), rows.edges_of(node)
                if fold is None:
                    made[row] = self._node_rows.node_row(node, edges, drawn[row - low])
                else:
                    made[row] = self._node_rows.group_row(self.groups.items[fold], edges, drawn[row - low])
        return [made[row] for row in range(first, end)]

    def _mark(self, rows: FoldedRows, node: int) -> str:
        if rows.fold_at(node) is not None:
            return GROUP
        return LEAF if node in self._node_rows.leaves else NODE

    def _now(self, layout: _Layout, row: int, made: NodeRow, saved_tensors: SavedTensors, sizes: bool) -> NodeRow:
        """Return a row as it is at this stop."""
        first = layout.rows.node_of(row)
        end = layout.rows.end_of(first)
        status = self._status(first, end)
        saved = saved_tensors.state(first, end)
        size = saved_tensors.bytes(first, end) if sizes and saved not in ("", "packed") else None
        if self.held.point.lent and saved in ("freed", "written"):
            saved = "alive"  # it was alive there
        grad = self._node_rows.grad(first, end)
        if not (status or saved or grad or size):
            return made
        return replace(made, status=status, saved=saved, grad=grad, bytes=size)

    def _status(self, first: int, end: int) -> Literal["", "done", "running", "ready", "waiting", "left out"]:
        """Return the progress of a row; a node is ready when all nodes that lead to it have run."""
        if self._progress is None or self._frontier is None:
            return "done" if self.held.point.ran else ""
        number, _, needed = self._progress
        if first <= number < end:
            return "running"
        if needed is not None and needed.isdisjoint(range(first, end)):
            return "left out"
        if self._frontier.has_run(first, end):
            return "done"
        return "ready" if self._frontier.is_ready(first, end) else "waiting"


def _why_none(held: Held) -> str:
    if held.point.loss is None:
        return "no graph yet: run `forward`, which builds it"
    return "the loss has no grad_fn: nothing that it was computed from requires grad"
