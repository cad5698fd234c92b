"""The node views: the incoming gradient v, J, J^T v, saved tensors, and the chain from the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.autograd.graph import Node

from gradstep.engine.autograd.derivatives.find import rule_of, summed_over, symbol_of, words_of
from gradstep.engine.autograd.derivatives.rule import Derivative, dimension
from gradstep.engine.autograd.graph import GraphRecord, node_name
from gradstep.engine.autograd.jacobian import Refusal, refusal, vjp
from gradstep.engine.autograd.nested_shapes import sizes_of
from gradstep.engine.autograd.saved_values import SavedValue, saved_values, settings
from gradstep.engine.bits import same_bits
from gradstep.engine.held import Held
from gradstep.engine.numbers.readable import dtype_name
from gradstep.engine.reads import Reading, gather
from gradstep.values.views.node import (
    Chain,
    ChainView,
    EdgeRow,
    Flow,
    LookChain,
    LookNode,
    MatrixPart,
    NodeView,
    SavedRow,
)
from gradstep.views.graph.naming import Naming
from gradstep.views.node.chain import Paths
from gradstep.views.node.flow import Vectors, flow_of, vector_at, window_of
from gradstep.views.node.matrix import MatrixViewer

_LINKS = 64
"""Maximum number of links of the chain in a node view."""
_NONE: Mapping[int, float | None] = {}


class NodeViewer:
    """Makes node views. The paths through a graph are found once."""

    def __init__(self, held: Held) -> None:
        self._held = held
        self._matrices = MatrixViewer()
        self._paths: Paths | None = None

    def forget(self) -> None:
        """Release the graph."""
        self._paths = None

    def chain(
        self, stop: int, request: LookChain, record: GraphRecord, number: int, norms: Mapping[int, float | None] = _NONE
    ) -> ChainView:
        """Return the chain from the loss to a node; `norms` are the known norms of v, by node."""
        if not 0 <= number < len(record.nodes):
            return ChainView(stop, note=f"the graph has no node #{number}")
        naming = Naming(self._held, record)
        return ChainView(stop, self.paths_of(record).chain(number, request.count, naming, norms))

    def path(self, record: GraphRecord, number: int) -> list[int]:
        """Return the nodes on the chain to a node, as many as a view has links."""
        path = self.paths_of(record).to(number)
        return [*path[:1], *path[-_LINKS:]]

    def view(
        self,
        stop: int,
        request: LookNode,
        record: GraphRecord,
        number: int,
        arrived: Vectors | None = None,
        left: Vectors | None = None,
        norms: Mapping[int, float | None] = _NONE,
        made: Vectors | None = None,
    ) -> Reading[NodeView]:
        """Read the view of a node. Call it on the thread of the phase, under no_grad.

        Args:
            stop: the number of the stop.
            request: what to show of it.
            record: the graph.
            number: the node's place in it.
            arrived: v for each output of the operation: the tensors that the engine passed, not copies: with other
                strides the last bits may differ. None when unknown.
            left: what the engine passed on; None before the node has run.
            norms: the known norms of v at other nodes.
            made: the node's own result, when the gradient it passed on was edited.
        """
        if not 0 <= number < len(record.nodes):
            return NodeView(stop, note=f"the graph has no node #{number}")
        return (yield from _Node(self, stop, request, record, number, arrived, left, made).view(norms))

    def paths_of(self, record: GraphRecord) -> Paths:
        """Return the paths through a graph."""
        if self._paths is None or self._paths.record is not record:
            self._paths = Paths(record)
        return self._paths


class _Node:
    """One node in one view."""

    def __init__(
        self,
        look: NodeViewer,
        stop: int,
        request: LookNode,
        record: GraphRecord,
        number: int,
        arrived: Vectors | None,
        left: Vectors | None,
        made: Vectors | None,
    ) -> None:
        self.look, self.stop, self.request, self.number = look, stop, request, number
        self.node: Node = record.nodes[number]
        self.record, self.arrived = record, arrived
        self.naming = Naming(look._held, record)
        self.paths = look.paths_of(record)
        self.rule: Derivative | None = rule_of(self.node)
        self.exact = left is not None
        self.made = left if made is None else made
        self.why = ""
        self.left = left if left is not None else self._predicted()
        self.window = (request.top, request.left, request.rows, request.columns)

    def view(self, norms: Mapping[int, float | None]) -> Reading[NodeView]:
        node, request = self.node, self.request
        leaf = self.naming.parameter(self.number)
        passed = [None if to is None else vector_at(self.left, i) for i, (to, _) in enumerate(node.next_functions)]
        arrives, leaves, saved = yield from gather(
            [
                gather([self._flow(v) for v in self.arrived or ()]),
                gather([self._flow(v) for v in passed]),
                gather([self._saved(value) for value in saved_values(node)]),
            ]
        )
        norm = math.sqrt(sum(flow.norm**2 for flow in arrives if flow is not None and flow.norm is not None))
        edges = tuple([self._edge(edge, flow, norm) for edge, flow in enumerate(leaves)])
        seen = self._shown_edge()
        output = self._shown_output()
        if seen < 0:
            matrix = None
        elif self._changed():
            note = "a saved tensor was modified since it ran: J would be different"
            matrix = MatrixPart(seen, output, 0, 0, note=note)
        else:
            v, left = vector_at(self.arrived, output), vector_at(self.left, seen)
            matrix = self.look._matrices.part(self.stop, node, seen, output, request, self.record.made.applied, v, left)
        here = norm if arrives else norms.get(self.number)
        return NodeView(
            self.stop,
            self.number,
            len(self.record.nodes),
            node_name(node),
            self.naming.operation(self.number),
            self.naming.module(self.number),
            "" if self.arrived is None else "after" if self.exact else "before",
            "" if self.rule is None else self.rule.forward,
            self._words(leaf),
            tuple(arrives),
            edges,
            seen,
            leaf,
            matrix,
            tuple(saved),
            tuple((name, _setting(value)) for name, value in settings(node).items() if "_sym_" not in name),
            self._chain({**norms, self.number: here}),
            self.exact,
            "" if leaf else self.why,
        )

    def _chain(self, norms: Mapping[int, float | None]) -> Chain:
        return self.paths.chain(self.number, _LINKS, self.naming, norms)

    def _predicted(self) -> Vectors | None:
        """Return the gradients that the node will pass on; None when unknown, with the reason in `why`."""
        if self.arrived is None:
            refused = refusal(self.node, self.request.run)
            self.why = "v is shown when backward is stepped to this node" if refused is None else refused.why
            return None
        made = vjp(self.node, self.arrived, self.request.run)
        if isinstance(made, Refusal):
            self.why = made.why
            return None
        return made

    def _changed(self) -> bool:
        """Return whether the node now gives another result than when it ran: torch does not count every write."""
        if not self.exact or self.made is None or self.arrived is None or refusal(self.node) is not None:
            return False
        made = vjp(self.node, self.arrived)
        if isinstance(made, Refusal):
            return False
        pairs = ((now, then) for now, then in zip(made, self.made, strict=True) if now is not None)
        return not all(then is not None and same_bits(now, then) for now, then in pairs)

    def _words(self, leaf: str) -> str:
        if leaf:
            return f"v is added to {leaf}.grad: backward ends here"
        return words_of(self.node)

    def _flow(self, value: Tensor | None) -> Reading[Flow | None]:
        return None if value is None else (yield from flow_of(value, *self.window))

    def _edge(self, edge: int, leaves: Flow | None, norm: float) -> EdgeRow:
        following, place = self.node.next_functions[edge]
        symbol, formula = symbol_of(self.rule, edge) if self.rule is not None else ("", "")
        if following is None:
            return EdgeRow(edge, symbol, formula, note="does not require grad")
        number = self._number_of(edge)
        out = None if leaves is None or leaves.norm is None or not norm else leaves.norm / norm
        note = "" if leaves is not None else "none: no gradient flows here" if self.left is not None else self.why
        shape = self.naming.shape(following, place)
        return EdgeRow(
            edge,
            symbol,
            formula,
            number,
            node_name(following),
            self.naming.operation(number),
            self.naming.module(number),
            self.naming.parameter(number),
            shape,
            leaves,
            out,
            summed_over(self.node, edge),
            self.paths.meeting[number] - 1,
            note,
        )

    def _number_of(self, edge: int) -> int:
        """Return the number of the node that an edge leads to: `edges` omits those without one."""
        before = sum(following is not None for following, _ in self.node.next_functions[:edge])
        return self.record.edges[self.number][before]

    def _shown_edge(self) -> int:
        """Return the requested edge; else the first that does not end at a leaf."""
        edge = self.request.edge
        edges = [i for i, (following, _) in enumerate(self.node.next_functions) if following is not None]
        inner = [i for i in edges if self.node.next_functions[i][0].next_functions]  # type: ignore[union-attr]
        return edge if edge in edges else (inner or edges or [-1])[0]

    def _shown_output(self) -> int:
        output, count = self.request.output, len(self.node._input_metadata)
        if 0 <= output < count:
            return output
        return next((i for i, v in enumerate(self.arrived or ()) if v is not None), 0)

    def _saved(self, value: SavedValue) -> Reading[SavedRow]:
        symbol = "" if self.rule is None else self.rule.saved.get(value.name, "")
        tensor = value.tensor
        if tensor is None:
            return SavedRow(value.name, value.state, symbol)
        return SavedRow(
            value.name,
            value.state,
            symbol,
            sizes_of(tensor),
            dtype_name(tensor),
            tensor.numel() * tensor.element_size(),
            _owner(self.look._held, tensor),
            value.version_then,
            value.version_now,
            (yield from window_of(tensor, *self.window)),
        )


def _owner(held: Held, tensor: Tensor) -> str:
    """Return the parameter or buffer whose memory a tensor shares; empty when it has its own."""
    if tensor.is_meta or tensor.layout is not torch.strided or not tensor.numel():
        return ""
    memory = tensor.untyped_storage().data_ptr()
    for name, own in (*held.parameters, *held.buffers()):
        if not own.is_meta and own.layout is torch.strided and own.untyped_storage().data_ptr() == memory:
            return name
    return ""


def _setting(value: object) -> str:
    if isinstance(value, (list, tuple)) or (isinstance(value, int) and not isinstance(value, bool)):
        return dimension(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
