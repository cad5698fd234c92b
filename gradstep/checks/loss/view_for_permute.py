"""`view-for-permute`: a view where the dimensions should be permuted, which scrambles the elements."""

from __future__ import annotations

from collections.abc import Iterable

from torch.autograd.graph import Node

from gradstep.checks.check import Moment, Seen
from gradstep.checks.patterns import GraphCheck, setting, shape_of
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.values.findings import Rule

_NAMES = frozenset({"ViewBackward0", "UnsafeViewBackward0", "ReshapeAliasBackward0"})
_RANK = 4
"""Dimensions at least: of fewer, (time, batch, heads * size) to (time, batch * heads, size) may look the same."""


class ViewForPermute(GraphCheck):
    """Compares the sizes before and after each view."""

    rule = Rule(
        id="view-for-permute",
        severity="warning",
        title="a view instead of a permute",
        why="view and reshape keep the order of the elements in memory: a view to swapped sizes does not swap the "
        "dimensions, so values of one position or head end up in another.",
        detects="In the graph of the loss, a view of at least four dimensions has the same sizes in another order; or "
        "a view turns (batch, a, b, c) into (batch, b, a * c), or the reverse: attention heads without a transpose.",
        remedy="Swap the dimensions first: out.transpose(1, 2).reshape(batch, time, heads * size), or x.permute(0, "
        "3, 1, 2).",
        source="torch.Tensor.view and torch.permute documentation; Informer2020#59",
    )

    def look(self, moment: Moment, graph: GraphRecord) -> Iterable[Seen]:
        """Look at the views."""
        for number, node in graph.named(*_NAMES):
            before, after = _sizes(node), shape_of(node)
            if _is_exchange(before, after) or _merges(before, after) or _merges(after, before):
                what = f"A view turns {before} into {after}: the sizes are swapped, the elements are not."
                evidence = {"before": "x".join(map(str, before)), "after": "x".join(map(str, after))}
                yield Seen(what, moment.at(node=number, panel="graph"), evidence)


def _sizes(node: Node) -> tuple[int, ...]:
    """Return the sizes of what a view was made of."""
    sizes = setting(node, "self_sym_sizes")
    return tuple(int(each) for each in sizes) if isinstance(sizes, (tuple, list)) else ()


def _is_exchange(before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    real = [tuple(each for each in sizes if each > 1) for sizes in (before, after)]
    return real[0] != real[1] and sorted(real[0]) == sorted(real[1]) and len(real[0]) >= _RANK


def _merges(four: tuple[int, ...], three: tuple[int, ...]) -> bool:
    """Return whether (batch, a, b, c) and (batch, b, a * c) are the sizes."""
    if len(four) != _RANK or len(three) != _RANK - 1:
        return False
    batch, heads, time, size = four
    return heads > 1 and time > 1 and heads != time and size > 1 and three == (batch, time, heads * size)
