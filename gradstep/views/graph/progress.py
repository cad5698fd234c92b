"""The progress of a backward through a graph: which nodes have run, which are ready, whether saved tensors are freed.

A stop costs what has run since the last one, however large the graph is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import islice
from typing import Literal, NamedTuple

from torch.autograd.graph import Node

from gradstep.engine.autograd.buffers import is_freed
from gradstep.engine.autograd.graph import GraphRecord
from gradstep.engine.autograd.saved_values import saved_names

_CHECKED = 256
"""How many nodes are checked for being freed at the start, at the end and in between; all of a smaller graph."""


class BackwardProgress(NamedTuple):
    """The progress of a backward that is stopped inside."""

    number: int
    """The node that it is stopped at."""
    ran: dict[int, None]
    """The nodes that have run, in this order. It grows while the backward goes on."""
    needed: frozenset[int] | None = None
    """The nodes that it will run; None for all."""


class Frontier:
    """The boundary between the nodes of a graph that have run and those that have not."""

    def __init__(self, record: GraphRecord, ran: dict[int, None]) -> None:
        self.ran = ran
        self._edges = record.edges
        self._waits = [0] * len(record.nodes)
        """For each node, how many of the edges that lead to it still wait for their node to run."""
        for targets in record.edges:
            for target in targets:
                self._waits[target] += 1
        self._ready = {node for node, waits in enumerate(self._waits) if not waits}
        self._sorted: list[int] = []
        self._counted = self._prefix = 0

    def follow(self) -> None:
        """Update to what has run since the last call."""
        new = list(islice(reversed(self.ran), len(self.ran) - self._counted))
        self._counted += len(new)
        for node in new:
            self._ready.discard(node)
            for target in self._edges[node]:
                self._waits[target] -= 1
                if not self._waits[target] and target not in self.ran:
                    self._ready.add(target)
        self._sorted = sorted(self._ready)
        while self._prefix in self.ran:
            self._prefix += 1

    def has_run(self, first: int, end: int) -> bool:
        """Return whether all nodes of a range have run."""
        return all(node in self.ran for node in range(max(first, self._prefix), end))

    def is_ready(self, first: int, end: int) -> bool:
        """Return whether a node of a range is ready: it has not run, and all nodes that lead to it have."""
        place = bisect_left(self._sorted, first)
        return place < len(self._sorted) and self._sorted[place] < end


class Freed:
    """Whether backward has freed the saved tensors of a graph, found from some of its nodes; freed ones stay freed."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        total = len(nodes)
        places: set[int] | range = range(total)
        if total > 3 * _CHECKED:
            places = {*range(_CHECKED), *range(0, total, total // _CHECKED), *range(total - _CHECKED, total)}
        self._nodes = {place: nodes[place] for place in places if saved_names(type(nodes[place]))}
        self._answers: dict[int, bool | None] = {}
        self._settled: set[int] = set()
        """The nodes that have been checked since they ran in this backward."""

    def check(self, progress: BackwardProgress | None, same: bool) -> None:
        """Check the nodes that may have changed.

        Args:
            progress: of the backward that is stopped inside; None between phases.
            same: True if the last call was at a stop inside the same backward: only what has run since has changed.
        """
        ran, at = ({}, -1) if progress is None else (progress.ran, progress.number)
        if not same:
            self._settled = set()
        for place, node in self._nodes.items():
            if self._answers.get(place) or place in self._settled:
                continue
            if not same or place in ran or place not in self._answers:
                self._answers[place] = is_freed(node)
            if place in ran and place != at:  # the engine frees it once its hooks have returned
                self._settled.add(place)

    def state(self, freed: bool) -> Literal["alive", "freed", "partly freed"]:
        """Return the state of the graph; `freed` decides for a graph that saved nothing."""
        answers = set(self._answers.values()) - {None}
        if answers == {True, False}:
            return "partly freed"
        return "freed" if answers == {True} or (not answers and freed) else "alive"
