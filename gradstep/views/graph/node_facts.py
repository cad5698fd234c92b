"""The facts about the nodes of one graph: operation, module, parameter, source line, and lookup by name."""

from __future__ import annotations

from bisect import bisect_left

from torch.autograd.graph import Node

from gradstep.engine.autograd.graph import GraphRecord, leaf_tensor, node_name
from gradstep.engine.autograd.nested_shapes import sizes_of
from gradstep.engine.held import Held
from gradstep.engine.observe.source_lines import SourcePlace, text_of
from gradstep.values.views.graph import NodeRow
from gradstep.views.graph.groups import Group, Groups
from gradstep.views.graph.naming import UNNAMED, Naming


class NodeRows:
    """Makes the rows of one graph."""

    def __init__(self, held: Held, record: GraphRecord, groups: Groups) -> None:
        self._held, self._record, self._groups = held, record, groups
        self._naming = Naming(held, record)
        self._places: dict[str, int] | None = None
        self.leaves = {place: self._naming.parameter(place) for place in record.leaves}
        """The parameter of each AccumulateGrad, by the index of the node."""

    def node_row(self, place: int, edges: tuple[int, ...], lanes: str) -> NodeRow:
        """Return the row of a node, as it is while nothing has run; `edges` are the numbers of the rows it leads to."""
        node, parameter = self._record.nodes[place], self.leaves.get(place, "")
        path = self._naming.owner(place)
        call, number, times = self._record.calls[place], 0, 0
        if call >= 0 and not parameter and (times := self._record.made.times(path or "")) > 1:
            number = self._record.made.calls[call].number
        file, line, source = self._line(place)
        inside = self._groups.innermost(place)
        return NodeRow(
            order=place,
            name=node_name(node),
            operation=self._naming.operation(place),
            shape=_shape(node),
            module=self._naming.title(path),
            parameter=parameter if parameter != UNNAMED else "",
            edges=edges,
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

    def group_row(self, group: Group, edges: tuple[int, ...], lanes: str) -> NodeRow:
        """Return the row of a folded group, as it is while nothing has run."""
        record = self._record
        call = record.made.calls[group.call]
        kind, times = self._held.kinds.get(call.path, ""), record.made.times(call.path)
        place = record.lines.calls[group.call] if record.lines is not None else None
        file, line, source = self._written(place, inside=True)
        outer = self._groups.items[group.parent] if group.parent >= 0 else None
        leaves = record.leaves[bisect_left(record.leaves, group.first) : bisect_left(record.leaves, group.end)]
        return NodeRow(
            order=group.first,
            name=kind,
            operation=kind,
            shape=_shape(record.nodes[group.first]),
            module=self._naming.title(call.path),
            parameter="",
            edges=edges,
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

    def grad(self, first: int, end: int) -> str:
        """Return the state of `.grad` of the leaves of a row, when all have the same."""
        leaves, ledger = self._record.leaves, self._held.ledger
        states = set()
        for place in leaves[bisect_left(leaves, first) : bisect_left(leaves, end)]:
            tensor = leaf_tensor(self._record.nodes[place])
            states.add("" if tensor is None else ledger.state(self.leaves[place], tensor))
        return states.pop() if len(states) == 1 else "various" if states else ""

    def _leaving(self, group: Group) -> tuple[int, ...] | None:
        """Return the shape of the gradient that a group passes on, for a module whose inputs were not recorded."""
        targets = (t for node in range(group.first, group.end) for t in self._record.edges[node] if t >= group.end)
        return next((_shape(self._record.nodes[t]) for t in targets if t not in self.leaves), None)

    def _line(self, place: int) -> tuple[str, int, str]:
        record = self._record
        if record.lines is None or place in self.leaves:
            return "", 0, ""
        return self._written(record.line(place), record.calls[place] >= 0)

    def _written(self, place: SourcePlace | None, inside: bool) -> tuple[str, int, str]:
        if place is not None:
            return place.file, place.line, text_of(place)
        if self._record.lines is None:
            return "", 0, ""
        if self._held.workload.loss is None:
            return "", 0, "loss = compute_loss(model, batch)"
        return "", 0, "prediction = model(x)" if inside else "loss = loss_fn(prediction, target)"

    def node(self, near: str) -> int:
        """Return the node that a name denotes, -1 for none."""
        if near.startswith("#"):
            number = int(near[1:]) if near[1:].isdecimal() else -1
            return number if number < len(self._record.nodes) else -1
        if not near:
            return -1
        if self._places is None:
            self._places = self._first_nodes()
        found = self._places.get(near, -1)
        tensor = self._held.tensor(near) if found < 0 else None
        return found if tensor is None else self._places.get(self._held.names.get(tensor, ""), -1)

    def _first_nodes(self) -> dict[str, int]:
        """Return the first node of every module and of every parameter, by path."""
        places: dict[str, int] = {}
        last: str | None = None
        for node, own in enumerate(self._record.owners):
            owner = own if own is not None else self._naming.owner(node)
            if owner is None or owner == last:
                continue
            last = path = owner
            while path:
                places.setdefault(path, node)
                path = path.rpartition(".")[0]
        return places | {name: place for place, name in self.leaves.items()}


def _shape(node: Node) -> tuple[int, ...] | None:
    metadata = getattr(node, "_input_metadata", None)
    if not metadata:
        return None
    return sizes_of(metadata[0])
