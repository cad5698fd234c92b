"""The Graph view: the grad_fn graph of the last loss, one row a node in execution order."""

from __future__ import annotations

from typing import Literal

from torch.autograd.graph import Node

from gradstep.engine.buffers import is_freed
from gradstep.engine.graph import GraphRecord, leaf_tensor
from gradstep.engine.held import Held
from gradstep.values.views import GraphView, NodeRow
from gradstep.views.lanes import draw_lanes
from gradstep.views.words import operation_of


class GraphLook:
    """Makes Graph views; keeps the lanes of the last graph, and the rows made of it: only a backward changes them."""

    def __init__(self) -> None:
        self._record: GraphRecord | None = None
        self._lanes: list[str] = []
        self._rows: dict[tuple[int, int, bool], tuple[NodeRow, ...]] = {}

    def view(self, held: Held, stop: int, first: int, count: int) -> GraphView:
        """Return rows `first` to `first + count` of the graph of the last loss."""
        graph = held.graph()
        if graph is None:
            self._record = None
            return GraphView(stop, "none", note=_why_none(held))
        if graph is not self._record:
            self._record = graph
            self._lanes = draw_lanes(graph.edges, [leaf_tensor(node) is not None for node in graph.nodes])
            self._rows = {}
        state = _state(graph, held.point.freed)
        window = (first, min(first + count, len(graph.nodes)), held.point.ran)
        if window not in self._rows:
            self._rows = {window: tuple(self._row(held, graph, i, held.point.ran) for i in range(*window[:2]))}
        return GraphView(stop, state, len(graph.nodes), first, self._rows[window])

    def _row(self, held: Held, graph: GraphRecord, place: int, ran: bool) -> NodeRow:
        node = graph.nodes[place]
        leaf = leaf_tensor(node)
        name = held.names.get(leaf, "a leaf") if leaf is not None else ""
        owner = graph.owners[place] if leaf is None else name.rpartition(".")[0] if name in held.owned else None
        return NodeRow(
            order=place,
            name=node.name().rsplit("::", 1)[-1],
            operation=f"{name}.grad" if leaf is not None else operation_of(node),
            shape=_shape(node),
            module=_module(held, owner),
            parameter=name,
            edges=graph.edges[place],
            lanes=self._lanes[place],
            done=ran,
        )


def _state(graph: GraphRecord, freed: bool) -> Literal["alive", "freed", "partly freed"]:
    """Say whether the buffers are there, by asking the nodes; a graph that saved nothing is by what backward did."""
    answers = {answer for answer in map(is_freed, graph.nodes[:_ASKED]) if answer is not None}
    if answers == {True, False}:
        return "partly freed"
    return "freed" if answers == {True} or (not answers and freed) else "alive"


_ASKED = 2000
"""Nodes that are asked whether they are freed; a larger graph is judged by its first ones."""


def _shape(node: Node) -> tuple[int, ...] | None:
    metadata = getattr(node, "_input_metadata", None)
    if not metadata:
        return None
    return tuple(int(size) for size in metadata[0].shape)


def _module(held: Held, path: str | None) -> str:
    if path is None:
        return "loss"
    kind = type(held.model.get_submodule(path)).__name__
    return f"{path} {kind}" if path else kind


def _why_none(held: Held) -> str:
    if held.point.loss is None:
        return "no graph yet: press f, forward builds it"
    return "the loss has no grad_fn: nothing that it was computed from requires grad"
