"""The saved tensors of a graph at one stop: alive or freed, and their memory, each storage counted once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from torch.autograd.graph import Node

from gradstep.engine.autograd.buffers import SavedMemory, State, Storage, saved_memory, state_of
from gradstep.views.graph.progress import BackwardProgress

_CHECKED = 8
"""Maximum number of nodes of a row whose saved tensors are checked."""


class SavedTensors:
    """The saved tensors of the nodes, read once and lazily.

    Args:
        nodes: the nodes of the graph.
        excluded: returns the storages that are not the graph's own: of parameters and buffers, which outlive it.
        read: results for some nodes from an earlier stop.
    """

    def __init__(
        self, nodes: Sequence[Node], excluded: Callable[[], frozenset[Storage]], read: Mapping[int, SavedMemory] = {}
    ) -> None:
        self._nodes = nodes
        self._find_excluded = excluded
        self._read = dict(read)
        self._states: dict[int, State] = {}

    def waiting(self, progress: BackwardProgress) -> dict[int, SavedMemory]:
        """Return the results for nodes that have not run: their saved tensors can't change before that."""
        return {n: kept for n, kept in self._read.items() if n not in progress.ran and n != progress.number}

    @cached_property
    def _excluded(self) -> frozenset[Storage]:
        return self._find_excluded()

    def of(self, node: int) -> SavedMemory:
        """Return what a node has saved."""
        found = self._read.get(node)
        if found is None:
            found = self._read[node] = saved_memory(self._nodes[node])
        return found

    def state(self, first: int, end: int) -> State:
        """Return the state of the saved tensors of a row; `freed` only when nothing is left."""
        states = {self._state(node) for node in range(first, min(end, first + _CHECKED))} - {""}
        order: tuple[State, ...] = ("written", "alive", "packed", "freed")
        return next((state for state in order if state in states), "")

    def _state(self, node: int) -> State:
        found = self._states.get(node)
        if found is None:
            found = self._states[node] = state_of(self._nodes[node])
        return found

    def bytes(self, first: int, end: int) -> int | None:
        """Return the bytes that the nodes of a row have saved; None when they saved nothing or a hook packed it."""
        if self.state(first, end) in ("", "packed"):
            return None
        return _sum(self._storages(first, end))

    @cached_property
    def total(self) -> int:
        """Bytes that the whole graph has saved."""
        return _sum(self._storages(0, len(self._nodes)))

    @cached_property
    def packed(self) -> int:
        """Number of nodes whose saved tensors a hook has packed."""
        return sum(self.of(node).state == "packed" for node in range(len(self._nodes)))

    def _storages(self, first: int, end: int) -> set[Storage]:
        found: set[Storage] = set()
        for node in range(first, end):
            found |= self.of(node).storages
        return found - self._excluded


def _sum(storages: set[Storage]) -> int:
    return sum(size for _, size in storages)
