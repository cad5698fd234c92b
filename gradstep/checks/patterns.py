"""What checks look for in a graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any

from torch import Tensor
from torch.autograd.graph import Node

from gradstep.checks.check import Check, Moment, Seen, at
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.engine.autograd.nested_shapes import sizes_of
from gradstep.engine.autograd.saved_values import read
from gradstep.engine.diagnose.loss_terms import ADDS, REDUCES, SCALES

VIEWS = frozenset(
    {
        *("ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0", "SqueezeBackward0", "SqueezeBackward1"),
        *("UnsqueezeBackward0", "TransposeBackward0", "TBackward0", "PermuteBackward0", "CloneBackward0"),
        *("AliasBackward0", "ToCopyBackward0", "ExpandBackward0", "SliceBackward0", "SelectBackward0"),
    }
)
"""Nodes that pass values on as they are, at most in another shape, order or dtype."""
NLL = frozenset({"NllLossBackward0", "NllLoss2DBackward0"})
BCE = frozenset({"BinaryCrossEntropyBackward0", "BinaryCrossEntropyWithLogitsBackward0"})
REGRESSION = frozenset({"MseLossBackward0", "SmoothL1LossBackward0", "HuberLossBackward0"})


def through_views(node: Node | None) -> Node | None:
    """Return the node that computed the values that a node passes on; of a slice of a `cat`, the part it lies in."""
    cuts: dict[int, tuple[int, int]] = {}
    while node is not None and node.next_functions:
        name = node.name()
        if name == "SliceBackward0":
            dim, cut = int(setting(node, "dim")), (int(setting(node, "start")), int(setting(node, "end")))
            cuts[dim] = (0, 0) if dim in cuts else cut  # of a slice of a slice, neither tells
        elif name == "CatBackward0" and cuts:
            node, cuts = _part(node, cuts), {}
            continue
        elif name in VIEWS:
            cuts = {}
        else:
            break
        node = node.next_functions[0][0]
    return node


def _part(cat: Node, cuts: Mapping[int, tuple[int, int]]) -> Node | None:
    """Return what computed the one input of a `cat` that a slice lies in; itself where there are several."""
    rank = len(shape_of(cat))
    dim = int(setting(cat, "dim")) % max(1, rank)
    start, end = next((cut for place, cut in cuts.items() if place % max(1, rank) == dim), (0, 0))
    ends = list(accumulate(shape_of(each, place)[dim] for each, place in cat.next_functions if each is not None))
    if len(ends) < len(cat.next_functions) or not ends:  # an input that requires no grad has an unknown size
        return cat
    low, high = (each + ends[-1] if each < 0 else min(each, ends[-1]) for each in (start, end))
    for (each, _), first, last in zip(cat.next_functions, (0, *ends), ends, strict=False):
        if first <= low < high <= last:
            return each
    return cat


def before(node: Node, place: int = 0) -> Node | None:
    """Return the node that computed an input of a node, through views."""
    return through_views(node.next_functions[place][0]) if place < len(node.next_functions) else None


def name_of(node: Node | None) -> str:
    """Return the name of a node; empty for None."""
    return "" if node is None else node.name()


def saved(node: Node, name: str) -> Tensor | None:
    """Return a tensor that a node saved; None where it was not, was freed or overwritten, or has an unpack hook."""
    try:
        value = read(node, name)
    except (AttributeError, RuntimeError):
        return None
    return value if isinstance(value, Tensor) else None


def setting(node: Node, name: str) -> Any:
    """Return a number that a node saved, a dimension as a signed one; None where it saved none."""
    try:
        value = getattr(node, f"_saved_{name}", None)
    except RuntimeError:
        return None
    return value - (1 << 64) if isinstance(value, int) and value >= 1 << 63 else value


def shape_of(node: Node | None, place: int = 0) -> tuple[int, ...]:
    """Return the shape of what a node computed; empty for None."""
    return () if node is None else sizes_of(node._input_metadata[place])


def softmax_dim(node: Node) -> int:
    """Return the dimension that a softmax normalises, counted from the first."""
    return int(setting(node, "dim") or 0) % max(1, len(shape_of(node)))


def terms(graph: GraphRecord) -> Iterator[tuple[int, Node]]:
    """Yield the nodes that compute the terms of a loss, numbered: what sums, scales, averages and views lead to."""
    waiting, seen = [0], {0}
    while waiting:
        number = waiting.pop(0)
        node = graph.nodes[number]
        name = node.name()
        if name in ADDS | REDUCES | VIEWS or (name in SCALES | {"MulBackward1", "DivBackward1"} and _is_scaled(node)):
            waiting += [each for each in graph.edges[number] if each not in seen]
            seen.update(graph.edges[number])
        else:
            yield number, node


def _is_scaled(node: Node) -> bool:
    """Return whether a node scales by one number: not by a weight for each sample."""
    if sum(following is not None for following, _ in node.next_functions) != 1:
        return False
    factors = [each for name in ("other", "self") if (each := saved(node, name)) is not None]
    return all(each.numel() == 1 for each in factors)


class GraphCheck(Check):
    """A check that looks at the graph of the loss, in the first iterations, then seldom.

    A graph that takes long to walk is looked at after the first forward, and where a view has had it walked.
    """

    @at("forward", first=0)
    def ended(self, moment: Moment) -> Iterable[Seen]:
        """Look at the graph after a forward."""
        graph = None if moment.count and moment.held.graph_takes_long else moment.graph
        return () if graph is None else self.look(moment, graph)

    def look(self, moment: Moment, graph: GraphRecord) -> Iterable[Seen]:
        """Yield what is seen in the graph."""
        raise NotImplementedError
