"""The saved tensors of a graph at one stop: alive or freed, and their memory, each storage counted once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """

    def __init__(self, nodes: Sequence[Node], excluded: Callable[[], frozenset[Storage]]) -> None:
        self._nodes = nodes
        self._find_excluded = excluded
        self._read: dict[int, SavedMemory] = {}
        self._states: dict[int, State] = {}
        self._bytes: dict[tuple[int, int], int] = {}
        """By row, what its nodes have saved."""

    def advance(self, progress: BackwardProgress) -> None:
        """Forget what may have changed since an earlier stop inside the same backward.

        What a node has saved does not change before it runs, and what is freed stays freed.
        """
        ran, here = progress.ran, progress.number
        changed = [n for n, kept in self._read.items() if (n in ran or n == here) and kept.state != "freed"]
        for node in changed:
            del self._read[node]
        self._states = {
            node: state
            for node, state in self._states.items()
            if state == "freed" or (not state and node not in ran and node != here)
        }
        self._bytes = {row: size for row, size in self._bytes.items() if not any(row[0] <= n < row[1] for n in changed)}
        for name in ("_all", "total"):
            vars(self).pop(name, None)

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

    def bytes(self, first: int, end: int) -> int:
        """Return the bytes that the nodes of a row have saved."""
        found = self._bytes.get((first, end))
        if found is None:
            found = self._bytes[first, end] = self._sum([self.of(node) for node in range(first, end)])
        return found

    @cached_property
    def _all(self) -> list[SavedMemory]:
        return [self.of(node) for node in range(len(self._nodes))]

    @cached_property
    def total(self) -> int:
        """Bytes that the whole graph has saved."""
        return self._sum(self._all)

    @property
    def packed(self) -> int:
        """Number of nodes whose saved tensors a hook has packed."""
        return sum([each.state == "packed" for each in self._all])

    def _sum(self, several: Sequence[SavedMemory]) -> int:
        found: frozenset[Storage] = frozenset().union(*[each.storages for each in several])
        return sum([size for _, size in found - self._excluded])
