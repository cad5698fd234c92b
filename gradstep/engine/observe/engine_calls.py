"""One call of autograd's engine: what is differentiated, with respect to what, through which nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from msgspec import Struct
from torch import Tensor, nn

from gradstep.engine.autograd.graph import GraphRecord, Owners, leaf_tensor, record
from gradstep.engine.observe.source_lines import Lines

ENGINE_CALLS = ("torch.autograd.grad", "torch.autograd.backward", "torch.Tensor.backward")
"""What the ops that call the engine are called."""


def is_transformed(innermost: Callable[[], object] = torch._C._functorch.peek_interpreter_stack) -> bool:
    """Return whether a transform of `torch.func` runs on this thread."""
    return innermost() is not None


class EngineCall(Struct, frozen=True, eq=False):
    """One call of autograd's engine."""

    name: str
    """`torch.autograd.grad` or `torch.autograd.backward`."""
    outputs: tuple[Any, ...]
    """The outputs to differentiate: tensors, or gradient edges."""
    gradients: tuple[Tensor | None, ...]
    """v for each of them."""
    inputs: tuple[Any, ...]
    """The inputs to differentiate with respect to; empty for every leaf."""
    accumulates: bool = False
    """True for a call that adds to `.grad`: `torch.autograd.grad` does not."""
    retains: bool = False
    """True where it keeps the graph."""
    creates: bool = False
    """True where it makes a graph of the derivative (`create_graph=True`)."""

    @property
    def trains(self) -> bool:
        """True where its gradients are for an update: `backward`, or `grad` of the parameters of a model.

        A `grad` with `create_graph`, or of an input (a gradient penalty, an attack), is one more step of a forward.
        """
        if self.accumulates:
            return True
        return not self.creates and any(isinstance(each, nn.Parameter) for each in self.inputs)

    @property
    def seen_through(self) -> bool:
        """True where the nodes that it runs can be stopped at: no vmap or other transform runs over them."""
        functorch = torch._C._functorch
        tensors = [each for each in (*self.outputs, *self.gradients) if isinstance(each, Tensor)]
        return (
            not is_transformed()
            and not any(functorch.is_legacy_batchedtensor(tensor) for tensor in tensors)
            and all(isinstance(each, Tensor) and each.grad_fn is not None for each in self.outputs)
        )

    def graph(self, owners: Owners, lines: Lines | None) -> GraphRecord:
        """Return the graph that it runs through; nodes that it leaves out are in it too, see `needed`."""
        return record(tuple(dict.fromkeys(output.grad_fn for output in self.outputs)), owners, lines)

    def whole_graph(self) -> GraphRecord | None:
        """Return the graph, of which nothing more is known; None where its nodes can't be stopped at."""
        return self.graph(Owners(), None) if self.seen_through else None

    def needed(self, graph: GraphRecord) -> frozenset[int]:
        """Return the nodes that lead to an input: of a `grad` no others are run."""
        if not self.inputs:
            return frozenset(range(len(graph.nodes)))
        ends = {each.grad_fn for each in self.inputs if isinstance(each, Tensor)} - {None}
        ends |= {each.node for each in self.inputs if not isinstance(each, Tensor)}
        leaves = {id(each) for each in self.inputs if isinstance(each, Tensor)}
        found: set[int] = set()
        for number in range(len(graph.nodes) - 1, -1, -1):  # every node stands before those that it leads to
            node = graph.nodes[number]
            leads = any(target in found for target in graph.edges[number])
            if leads or node in ends or id(leaf_tensor(node)) in leaves:
                found.add(number)
        return frozenset(found)
