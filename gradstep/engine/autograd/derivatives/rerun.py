"""Operations that can be rerun from what their nodes saved, in double precision, as a function of one input.

A node has no forward to call. An operation that is linear in an input can be rerun at any point; otherwise the point
must have been saved, or follow from the saved output (x = atanh y). Any other operation is not in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.nn import functional

from gradstep.engine.autograd.saved_values import PACKED, Setting, read, saved_values, settings

Function: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Rerun:
    """An operation as a function of one of its inputs, the others fixed."""

    function: Function
    point: Tensor
    """The input of the forward, or a point with the same derivative."""


class SavedContext:
    """What a node saved: tensors in float64, settings, the shapes of one output and of one input."""

    def __init__(self, node: Node, edge: int, output: int) -> None:
        following, place = node.next_functions[edge]
        there: Any = following._input_metadata[place]  # type: ignore[union-attr]
        self.edge, self.output, self._node = edge, output, node
        self.device: torch.device = there.device
        self.in_shape = tuple(int(size) for size in there.shape)
        self.out_shape = tuple(int(size) for size in node._input_metadata[output].shape)
        self.set: Mapping[str, Setting] = settings(node)
        self._tensors = {value.name: value.tensor for value in saved_values(node)}

    def __getitem__(self, name: str) -> Tensor:
        """Return a saved tensor; raise KeyError when there is none."""
        tensor = self._tensors[name]
        if tensor is None:
            raise KeyError(name)
        plain = tensor.detach()
        return plain.double() if plain.is_floating_point() else plain

    def get(self, name: str) -> Tensor | None:
        """Return a saved tensor; None for an optional one that was not passed."""
        return self[name] if name in self._tensors else None

    def listed(self, name: str) -> tuple[Any, ...]:
        """Return a saved list of indices as an index; None in it is a whole dimension."""
        indices = read(self._node, name)
        if indices is PACKED:
            raise KeyError(name)
        return tuple(slice(None) if t is None else t for t in indices)

    def number(self, name: str) -> Any:
        """Return a setting; torch saves negative dimensions as unsigned 64-bit numbers."""
        value = self.set[name]
        if isinstance(value, (list, tuple)):
            return [v - 2**64 if isinstance(v, int) and v >= 2**63 else v for v in value]
        return value - 2**64 if isinstance(value, int) and value >= 2**63 else value

    @property
    def anywhere(self) -> Tensor:
        """A point for an operation that is linear in this input."""
        return torch.zeros(self.in_shape, dtype=torch.float64, device=self.device)


Maker: TypeAlias = Callable[[SavedContext], "Function | Rerun"]


def at_saved(name: str, function: Callable[[SavedContext, Tensor], Tensor]) -> Maker:
    """Return the maker of an operation whose only input was saved."""
    return lambda k: Rerun(lambda x: function(k, x), k[name])


def from_result(forward: Function, inverse: Function) -> Maker:
    """Return the maker of an operation whose input follows from its saved output."""
    return lambda k: Rerun(forward, inverse(k["result"]))


def linear(function: Callable[[SavedContext, Tensor], Tensor]) -> Maker:
    """Return the maker of an operation that is linear in its only input."""
    return lambda k: lambda x: function(k, x)


def by_edge(*makers: Maker) -> Maker:
    """Return the maker of an operation with several inputs, one maker for each."""
    return lambda k: makers[k.edge](k)


def reduction_of(k: SavedContext) -> str:
    """Return the name of a loss's reduction."""
    return ("none", "mean", "sum")[k.number("reduction")]


def loss(function: Callable[..., Tensor], *settings: str, tensors: Sequence[str] = ()) -> Maker:
    """Return the maker of a loss of `self` and `target`, with saved settings and optional tensors as keywords."""

    def make(k: SavedContext) -> Rerun:
        options = {name: k.number(name) for name in settings} | {name: k.get(name) for name in tensors}
        other = k["target" if k.edge == 0 else "self"]

        def run(x: Tensor) -> Tensor:
            pair = (x, other) if k.edge == 0 else (other, x)
            return function(*pair, reduction=reduction_of(k), **options)

        return Rerun(run, k["self" if k.edge == 0 else "target"])

    return make


def attention(k: SavedContext) -> Function | Rerun:
    """Return attention as a function of query, key or value."""
    if k.number("dropout_p"):
        raise KeyError("the dropout mask")
    given = (k["query"], k["key"], k["value"])
    mask, causal, scale = k.get("attn_mask"), k.number("is_causal"), k.number("scale")

    def run(x: Tensor) -> Tensor:
        q, key, value = (x if i == k.edge else tensor for i, tensor in enumerate(given))
        return functional.scaled_dot_product_attention(q, key, value, mask, 0.0, causal, scale=scale)

    return Rerun(run, given[k.edge])
