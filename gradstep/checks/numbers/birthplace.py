"""Finds where a loss became NaN or infinite: the first node, in the order of the forward, that saved such a number."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.autograd.graph import Node

from gradstep.checks.patterns import NLL, saved
from gradstep.engine.autograd.graph import GraphRecord, leaf_tensor, node_name
from gradstep.engine.autograd.saved_values import saved_values
from gradstep.engine.numbers.nonfinite import not_finite, numbers_of
from gradstep.engine.stepping.nonfinite import KINDS, Kind

_RESULTS = frozenset({"result", "output", "out", "result0", "result1"})
_PLACES = {"self": 0, "other": 1, "mat1": 1, "mat2": 2, "input": 0, "weight": 1, "mat": 1, "vec": 2}
"""Which of the next nodes computed what a node saved under a name. `self` of a product of matrices is their sum."""


def birthplace(graph: GraphRecord, names: Mapping[Tensor, str]) -> tuple[str, int]:
    """Return what made a loss NaN or infinite, in words, and its node; empty and -1 where the graph does not show it.

    Args:
        graph: the graph of the loss, before its backward.
        names: the names of the parameters.
    """
    for number, node in graph.named(*NLL):
        weight = saved(node, "total_weight")
        if weight is not None and float(weight) == 0:
            return f"#{number} {node_name(node)} is a mean over no labels, for all are ignored", number
    for kind in KINDS:
        found = _first(graph, names, kind)
        if found is not None:
            return found
    return _overflow(graph)


def _first(graph: GraphRecord, names: Mapping[Tensor, str], kind: Kind) -> tuple[str, int] | None:
    for number in graph.leaves:
        tensor = leaf_tensor(graph.nodes[number])
        if tensor is not None and not_finite(tensor).has(kind):
            return f"{names.get(tensor, 'a weight')} holds {kind} already, since an earlier step", number
    for number in reversed(range(len(graph.nodes))):
        node = graph.nodes[number]
        for value in saved_values(node):
            if value.tensor is None or not not_finite(value.tensor).has(kind):
                continue
            if value.name in _RESULTS:
                return f"#{number} {node_name(node)} makes {kind} of finite numbers", number
            if value.name == "target":
                return f"the target holds {kind}", number
            made = _made(node, value.name)
            if made is None and kind == "inf":
                continue  # a mask
            if made is None:
                return f"{value.name} of #{number} {node_name(node)}, which comes from the data, holds {kind}", number
            place = graph.nodes.index(made)
            return f"#{place} {node_name(made)} makes {kind} of finite numbers", place
    return None


def _overflow(graph: GraphRecord) -> tuple[str, int]:
    """Return the node nearest to the loss that was given numbers so large that their square is infinite."""
    for number, node in enumerate(graph.nodes):
        for value in saved_values(node):
            if value.tensor is not None and value.tensor.is_floating_point() and value.tensor.numel():
                most = float(numbers_of(value.tensor).abs().max())
                if most > math.sqrt(torch.finfo(value.tensor.dtype).max):
                    kind = str(value.tensor.dtype).removeprefix("torch.")
                    return f"#{number} {node_name(node)} overflows {kind}: it was given {most:.1e}", number
    return "", -1


def _made(node: Node, name: str) -> Node | None:
    """Return the node that computed what a node saved; None where that requires no grad."""
    following = node.next_functions
    place = _PLACES.get(name, 0)
    return following[place][0] if place < len(following) else None
