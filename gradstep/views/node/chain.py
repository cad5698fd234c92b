"""The chain from the loss to a node: the Jacobians that v went through, and its norm at each."""

from __future__ import annotations

import math
from collections.abc import Mapping

from msgspec.structs import replace

from gradstep.engine.autograd.derivatives.find import rule_of, symbol_of
from gradstep.engine.autograd.graph import GraphRecord, node_name
from gradstep.engine.autograd.nested_shapes import sizes_of
from gradstep.values.views.node import Chain, Link
from gradstep.views.graph.naming import Naming

_MANY = 1_000_000
"""Paths are counted up to this: each residual connection doubles them."""


class Paths:
    """The paths through one graph, found once for all its nodes."""

    def __init__(self, record: GraphRecord) -> None:
        self.record = record
        total = len(record.nodes)
        self._from = [-1] * total
        """The node before each on a shortest path from the loss; -1 where backward begins."""
        self._counts = [0] * total
        self._links: dict[tuple[int, int], Link] = {}
        self.meeting = [0] * total
        """The number of edges that lead to each node."""
        length = [total] * total
        for number, targets in enumerate(record.edges):  # in execution order: after all nodes that lead to it
            if not self.meeting[number]:
                self._counts[number], length[number] = 1, 0
            for target in targets:
                self.meeting[target] += 1
                self._counts[target] = min(_MANY, self._counts[target] + self._counts[number])
                if length[number] + 1 < length[target]:
                    length[target], self._from[target] = length[number] + 1, number

    def to(self, number: int) -> list[int]:
        """Return the nodes on a shortest path from the loss to a node, both included."""
        path = [number]
        while (before := self._from[path[-1]]) >= 0:
            path.append(before)
        return path[::-1]

    def chain(self, number: int, count: int, naming: Naming, norms: Mapping[int, float | None]) -> Chain:
        """Return the chain to a node; the first link and the last ones when there are more than `count`."""
        path = self.to(number)
        skipped = max(0, len(path) - max(2, count))
        pairs = list(zip(path, [*path[1:], -1], strict=True))
        shown = pairs if not skipped else [pairs[0], *pairs[1 + skipped :]]
        links = tuple(replace(self._link(*pair, naming), norm=norms.get(pair[0])) for pair in shown)
        return Chain(links, len(path), skipped, self._counts[number])

    def _link(self, number: int, following: int, naming: Naming) -> Link:
        """Return a link without its norm, made once."""
        known = self._links.get((number, following))
        if known is not None:
            return known
        node = self.record.nodes[number]
        symbol, columns = "", 0
        if following >= 0:
            target = self.record.nodes[following]
            edge, place = next((e, p) for e, (n, p) in enumerate(node.next_functions) if n is target)
            metadata = target._input_metadata[place]
            rule = rule_of(node)
            symbol = symbol_of(rule, edge)[0] if rule is not None else f"input {edge}"
            columns = max(0, math.prod(sizes_of(metadata)))
        made = self._links[number, following] = Link(
            number,
            node_name(node),
            naming.operation(number),
            naming.module(number),
            naming.shape(node, 0),
            symbol,
            columns,
        )
        return made
