"""The names of the nodes of a graph: name, operation in plain words, module, parameter, shapes."""

from __future__ import annotations

from typing import Any

from gradstep.engine.autograd.graph import GraphRecord, leaf_tensor
from gradstep.engine.autograd.nested_shapes import sizes_of
from gradstep.engine.held import Held
from gradstep.views.graph.operations import operation_of

OUTSIDE = "loss"
"""The module's name for a node that was made outside of the model."""
UNNAMED = "a leaf"
"""The name of a leaf that is not a parameter of the model or the optimizer."""


class Naming:
    """The names of one graph's nodes, each found on request."""

    def __init__(self, held: Held, record: GraphRecord) -> None:
        self._held, self._record = held, record

    def parameter(self, number: int) -> str:
        """Return the parameter that a leaf adds to the `.grad` of; empty for other nodes."""
        leaf = leaf_tensor(self._record.nodes[number])
        return "" if leaf is None else self._held.names.get(leaf, UNNAMED)

    def operation(self, number: int) -> str:
        """Return a node's operation in plain words; `2.weight.grad` for a leaf."""
        parameter = self.parameter(number)
        return f"{parameter}.grad" if parameter else operation_of(self._record.nodes[number])

    def module(self, number: int) -> str:
        """Return path and class of the module that a node belongs to; empty where that was not recorded."""
        return self.title(self.owner(number))

    def owner(self, number: int) -> str | None:
        """Return the path of the module that made a node, or has a leaf's parameter; None if there is none."""
        parameter = self.parameter(number)
        if not parameter:
            return self._record.maker(number)
        return parameter.rpartition(".")[0] if parameter in self._held.owned else None

    def title(self, path: str | None) -> str:
        """Return path and class of a module; for None `loss`, or empty where modules were not recorded."""
        if path is None:
            return OUTSIDE if self._held.point.watched.recorded else ""
        return f"{path} {self._held.kinds.get(path, '')}".strip()

    def where(self, number: int) -> str:
        """Return a node's full name: `#7 relu of 1 ReLU`."""
        module = self.module(number)
        return f"#{number} {self.operation(number)}" + (f" of {module}" if module else "")

    def find(self, path: str) -> int:
        """Return the node that a path names, -1 for none.

        It is the leaf of a parameter; of a module the first of its nodes that backward reaches: the one that made its
        output, in its last call.
        """
        record, tensor = self._record, self._held.tensor(path)
        if tensor is not None:
            return next((place for place in record.leaves if leaf_tensor(record.nodes[place]) is tensor), -1)
        inside = f"{path}."
        owners = enumerate(record.owners)
        return next((i for i, own in owners if own is not None and (own == path or own.startswith(inside))), -1)

    def shape(self, node: Any, output: int) -> tuple[int, ...]:
        """Return the shape of an output of a node's operation, which is that of v."""
        metadata = node._input_metadata
        return sizes_of(metadata[output]) if output < len(metadata) else ()
