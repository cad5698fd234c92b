"""The Graph view: the grad_fn graph of the last loss, one row a node or a folded group, in execution order."""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from functools import cached_property
from typing import Literal, NamedTuple

from msgspec.structs import replace
from torch.autograd.graph import Node

from gradstep.engine.buffers import is_freed, storages_of
from gradstep.engine.graph import GraphRecord, leaf_tensor
from gradstep.engine.held import Held, Point
from gradstep.engine.lines import Place, text_of
from gradstep.values.graphs import GraphView, LookGraph, NodeRow
from gradstep.views.groups import Group, Groups, Rows
from gradstep.views.keeping import Keeping
from gradstep.views.lanes import GROUP, LEAF, NODE, Lanes
from gradstep.views.words import operation_of

_LAYOUTS = 4
"""Ways of folding one graph that are kept laid out."""
_ASKED = 256
"""Nodes that are asked whether they are freed: of a larger graph so many of the first, the last and those between."""
_KNOWN = 4096
"""Rows of a layout that are kept made."""


class GraphLook:
    """Makes Graph views. What is the same for as long as a graph lives is made once: groups, lanes, rows."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._stop = -1
        self._graph: _Graph | None = None

    def asked(self, stop: int, graph: bool) -> None:
        """Note a look: the first one at a stop says whether the panel is on screen, a later one may open it."""
        if graph:
            self._held.note_lines = True
        elif stop != self._stop:
            self._held.note_lines = False
            self._graph = None  # or it would keep its buffers alive
        self._stop = stop

    def view(self, stop: int, request: LookGraph, progress: Progress | None = None) -> GraphView:
        """Return a window of the graph of the last loss; `progress` is how far a backward through it has come."""
        record = self._held.graph()
        if record is None:
            self._graph = None
            return GraphView(stop, "none", note=_why_none(self._held))
        if self._graph is None or self._graph.record is not record:
            self._graph = _Graph(self._held, record)
        self._graph.progress = progress
        return self._graph.view(stop, request)


class Progress(NamedTuple):
    """How far a backward that is stopped inside has come."""

    number: int
    """The node that it is at."""
    ran: frozenset[int]
    """The nodes that have run."""


class _Layout:
    """One way of folding a graph: its rows and their lanes."""

    def __init__(self, graph: _Graph, request: LookGraph) -> None:
        record = graph.record
        self.rows = Rows(graph.groups, graph.groups.folded(request.level, request.turned))
        self.edges = self.rows.edges(record)
        self.lanes = Lanes(self.edges, request.lanes)
        self.made: dict[int, NodeRow] = {}
        """Rows as they are while nothing has run."""


class _Graph:
    """A graph with what was found out about it."""

    def __init__(self, held: Held, record: GraphRecord) -> None:
        self.held, self.record = held, record
        self.groups = Groups(record)
        self._layouts: OrderedDict[tuple[int, tuple[str, ...], int], _Layout] = OrderedDict()
        self._kinds = {path: type(module).__name__ for module, path in held.paths.items()}
        self._leaves = {place: self._name(record.nodes[place]) for place in record.leaves}
        self.progress: Progress | None = None
        self._places: dict[str, int] | None = None
        self._keeping: Keeping | None = None
        self._known: tuple[Point, int] | None = None
        self._state: Literal["alive", "freed", "partly freed"] = "alive"

    # -- the window ----------------------------------------------------------------------------------------------------
    def view(self, stop: int, request: LookGraph) -> GraphView:
        layout = self._layout(request)
        rows, total = layout.rows, len(layout.rows.firsts)
        node = self._node(request.near)
        at = -1 if node < 0 else rows.row_of(node)
        first = request.first if at < 0 else at - request.count // 2
        first = max(0, min(first, total - request.count))
        end = min(first + request.count, total)
        keeping = self._kept(stop)
        window = self._rows(layout, first, end)
        return GraphView(
            stop,
            self._state,
            total,
            first,
            tuple([self._now(layout, row, made, keeping, request.sizes) for row, made in enumerate(window, first)]),
            nodes=len(self.record.nodes),
            near=request.near,
            at=at,
            groups=len(self.groups.items),
            lined=self.record.lines is not None,
            bytes=keeping.total if request.sizes else None,
            packed=keeping.packed if request.sizes else 0,
        )

    def _layout(self, request: LookGraph) -> _Layout:
        key = (request.level, request.turned, request.lanes)
        if key not in self._layouts:
            self._layouts[key] = _Layout(self, request)
            if len(self._layouts) > _LAYOUTS:
                self._layouts.popitem(last=False)
        self._layouts.move_to_end(key)
        return self._layouts[key]

    def _kept(self, stop: int) -> Keeping:
        """Return what the nodes keep at this stop, and note the state of the whole."""
        point = self.held.point
        if self._keeping is None or self._known is None or self._known[0] is not point or self._known[1] != stop:
            own = [p for _, p in self.held.parameters] + [b for _, b in self.held.buffers()]
            self._keeping = Keeping(self.record.nodes, storages_of(own))
            self._known = (point, stop)
            self._state = _state(self.record, point.freed)
            if self._state == "freed" and point.freed:
                self._keeping.total = 0
        return self._keeping

    # -- rows ----------------------------------------------------------------------------------------------------------
    def _rows(self, layout: _Layout, first: int, end: int) -> list[NodeRow]:
        """Return rows of a layout; those that were made before are not made again."""
        made = layout.made
        missing = [row for row in range(first, end) if row not in made]
        if missing:
            if len(made) > _KNOWN:
                made.clear()
                missing = [*range(first, end)]
            low, high = missing[0], missing[-1] + 1
            marks = [self._mark(layout.rows, row) for row in range(low, high)]
            drawn = layout.lanes.draw(low, high, marks, layout.rows.firsts)
            for row in missing:
                place = layout.rows.folds.get(row)
                if place is None:
                    made[row] = self._node_row(layout, row, drawn[row - low])
                else:
                    made[row] = self._group_row(layout, row, self.groups.items[place], drawn[row - low])
        return [made[row] for row in range(first, end)]

    def _mark(self, rows: Rows, row: int) -> str:
        return GROUP if row in rows.folds else LEAF if rows.firsts[row] in self._leaves else NODE

    def _node_row(self, layout: _Layout, row: int, lanes: str) -> NodeRow:
        place = layout.rows.firsts[row]
        node, parameter = self.record.nodes[place], self._leaves.get(place, "")
        path = self._owner(place)
        call, number, times = self.record.calls[place], 0, 0
        if call >= 0 and not parameter and (times := self.record.made.times(path or "")) > 1:
            number = self.record.made.calls[call].number
        file, line, source = self._line(place)
        inside = layout.rows.inside(place)
        return NodeRow(
            order=place,
            name=node.name().rsplit("::", 1)[-1],
            operation=f"{parameter}.grad" if parameter else operation_of(node),
            shape=_shape(node),
            module=self._module(path),
            parameter=parameter if parameter != _UNNAMED else "",
            edges=tuple([layout.rows.firsts[target] for target in layout.edges[row]]),
            lanes=lanes,
            path=path,
            file=file,
            line=line,
            source=source,
            inside=inside.key if inside is not None else "",
            opens=inside is not None and inside.first == place,
            call=number,
            calls=times if number else 0,
        )

    def _group_row(self, layout: _Layout, row: int, group: Group, lanes: str) -> NodeRow:
        record = self.record
        call = record.made.calls[group.call]
        kind, times = self._kinds.get(call.path, ""), record.made.times(call.path)
        place = record.lines.calls[group.call] if record.lines is not None else None
        file, line, source = self._written(place, inside=True)
        outer = self.groups.items[group.parent] if group.parent >= 0 else None
        leaves = record.leaves[bisect_left(record.leaves, group.first) : bisect_left(record.leaves, group.end)]
        return NodeRow(
            order=group.first,
            name=kind,
            operation=kind,
            shape=_shape(record.nodes[group.first]),
            module=self._module(call.path),
            parameter="",
            edges=tuple([layout.rows.firsts[target] for target in layout.edges[row]]),
            lanes=lanes,
            path=call.path,
            file=file,
            line=line,
            source=source,
            nodes=group.end - group.first,
            group=group.key,
            inside=outer.key if outer is not None else "",
            opens=outer is not None and outer.first == group.first,
            call=call.number if times > 1 else 0,
            calls=times if times > 1 else 0,
            given=call.given or self._leaving(group),
            parameters=len(leaves),
        )

    def _now(self, layout: _Layout, row: int, made: NodeRow, keeping: Keeping, sizes: bool) -> NodeRow:
        """Return a row as it stands at this stop."""
        first, end = layout.rows.firsts[row], layout.rows.end_of(row)
        status = self._status(first, end)
        saved, size = keeping.state(first, end), keeping.bytes(first, end) if sizes else None
        grad = self._grad(first, end)
        if not (status or saved or grad or size):
            return made
        return replace(made, status=status, saved=saved, grad=grad, bytes=size)

    def _status(self, first: int, end: int) -> Literal["", "done", "running", "ready", "waiting"]:
        """Say how far the nodes of a row have come; one is ready when all that lead to it have run."""
        if self.progress is None:
            return "done" if self.held.point.ran else ""
        number, ran = self.progress
        if first <= number < end:
            return "running"
        if all(node in ran for node in range(first, end)):
            return "done"
        return "ready" if any(self._ready(node, ran) for node in range(first, end)) else "waiting"

    def _ready(self, node: int, ran: frozenset[int]) -> bool:
        return node not in ran and all(before in ran for before in self._leading[node])

    @cached_property
    def _leading(self) -> list[list[int]]:
        """The nodes that lead to each node."""
        leading: list[list[int]] = [[] for _ in self.record.nodes]
        for node, targets in enumerate(self.record.edges):
            for target in targets:
                leading[target].append(node)
        return leading

    # -- what there is to say of a node --------------------------------------------------------------------------------
    def _name(self, leaf: Node) -> str:
        tensor = leaf_tensor(leaf)
        return self.held.names.get(tensor, _UNNAMED) if tensor is not None else _UNNAMED

    def _owner(self, place: int) -> str | None:
        name = self._leaves.get(place)
        if name is None:
            return self.record.owners[place]
        return name.rpartition(".")[0] if name in self.held.owned else None

    def _module(self, path: str | None) -> str:
        return "loss" if path is None else f"{path} {self._kinds.get(path, '')}".strip()

    def _grad(self, first: int, end: int) -> str:
        """Say the state of `.grad` of the leaves of a row, where they have one in common."""
        leaves, ledger = self.record.leaves, self.held.ledger
        states = set()
        for place in leaves[bisect_left(leaves, first) : bisect_left(leaves, end)]:
            tensor = leaf_tensor(self.record.nodes[place])
            states.add("" if tensor is None else ledger.state(self._leaves[place], tensor))
        return states.pop() if len(states) == 1 else "various" if states else ""

    def _leaving(self, group: Group) -> tuple[int, ...] | None:
        """Return the shape of what a group's gradient goes on to, for a module whose inputs were not seen."""
        targets = (t for node in range(group.first, group.end) for t in self.record.edges[node] if t >= group.end)
        return next((_shape(self.record.nodes[t]) for t in targets if t not in self._leaves), None)

    def _line(self, place: int) -> tuple[str, int, str]:
        record = self.record
        if record.lines is None or place in self._leaves:
            return "", 0, ""
        return self._written(record.lines.at(int(record.nodes[place]._sequence_nr())), record.calls[place] >= 0)

    def _written(self, place: Place | None, inside: bool) -> tuple[str, int, str]:
        if place is not None:
            return place.file, place.line, text_of(place)
        if self.record.lines is None:
            return "", 0, ""
        if self.held.workload.loss is None:
            return "", 0, "loss = compute_loss(model, batch)"
        return "", 0, "prediction = model(x)" if inside else "loss = loss_fn(prediction, target)"

    # -- where something is --------------------------------------------------------------------------------------------
    def _node(self, near: str) -> int:
        """Return the node that a name stands for, -1 for none."""
        if near.startswith("#"):
            number = int(near[1:]) if near[1:].isdecimal() else -1
            return number if number < len(self.record.nodes) else -1
        if not near:
            return -1
        if self._places is None:
            self._places = self._first_nodes()
        found = self._places.get(near, -1)
        tensor = self.held.tensor(near) if found < 0 else None
        return found if tensor is None else self._places.get(self.held.names.get(tensor, ""), -1)

    def _first_nodes(self) -> dict[str, int]:
        """Return the first node of every module and of every parameter, by path."""
        places: dict[str, int] = {}
        last: str | None = None
        for node, own in enumerate(self.record.owners):
            owner = own if own is not None else self._owner(node)
            if owner is None or owner == last:
                continue
            last = path = owner
            while path:
                places.setdefault(path, node)
                path = path.rpartition(".")[0]
        return places | {name: place for place, name in self._leaves.items()}


_UNNAMED = "a leaf"
"""What a leaf is called that is no parameter of the model or the optimizer."""


def _state(graph: GraphRecord, freed: bool) -> Literal["alive", "freed", "partly freed"]:
    """Say whether the buffers are there, by asking the nodes; a graph that saved nothing is by what backward did."""
    nodes = graph.nodes
    if len(nodes) > 3 * _ASKED:
        nodes = [*nodes[:_ASKED], *nodes[:: len(nodes) // _ASKED], *nodes[-_ASKED:]]
    answers = {answer for answer in map(is_freed, nodes) if answer is not None}
    if answers == {True, False}:
        return "partly freed"
    return "freed" if answers == {True} or (not answers and freed) else "alive"


def _shape(node: Node) -> tuple[int, ...] | None:
    metadata = getattr(node, "_input_metadata", None)
    if not metadata:
        return None
    return tuple(int(size) for size in metadata[0].shape)


def _why_none(held: Held) -> str:
    if held.point.loss is None:
        return "no graph yet: press f, forward builds it"
    return "the loss has no grad_fn: nothing that it was computed from requires grad"
