"""Module calls on the user's threads: their nodes are found by walking back from what the calls returned.

Each thread has its own counter of sequence numbers, so a number alone does not identify the call of a node.
"""

from __future__ import annotations

from threading import Lock, get_ident
from typing import Any, cast

from torch.autograd.graph import Node

from gradstep.engine.tensor_trees import tensors_in

_KEY = "gradstep call"


class Elsewhere:
    """The calls of one forward that ran on other threads."""

    def __init__(self) -> None:
        self.lock = Lock()
        self._home = get_ident()
        self._open: dict[int, list[tuple[int, int]]] = {}
        self._first = self._end = 0

    def away(self) -> bool:
        """Return whether this is not the forward's thread."""
        return get_ident() != self._home

    def enter(self, call: int, number: int) -> None:
        """Note that a call begins on this thread, at a sequence number."""
        self._open.setdefault(get_ident(), []).append((call, number))

    def leave(self, number: int, given: Any, output: Any) -> None:
        """Note that the innermost call on this thread ends, and mark the nodes that it made."""
        running = self._open.get(get_ident())
        if not running:
            return
        call, first = running.pop()
        if number == first:
            return
        with self.lock:
            self._first, self._end = min(self._first, first) if self._end else first, max(self._end, number)
        before = {tensor.grad_fn for _, tensor in tensors_in(given, "")}
        waiting = [tensor.grad_fn for _, tensor in tensors_in(output, "")]
        seen: set[Node] = set()
        while waiting:
            node = waiting.pop()
            if node is None or node in before or node in seen or not first <= node._sequence_nr() < number:
                continue
            seen.add(node)
            if self._mark(node) is None:  # else a call within this one has made it
                _notes(node)[_KEY] = (self, call)
            waiting.extend(following for following, _ in node.next_functions)

    def call_of(self, node: Node, number: int) -> int | None:
        """Return the call that made a node on another thread; -1 where unknown, None for the forward's own thread."""
        if not self._end:
            return None
        call = self._mark(node)
        return call if call is not None or not self._first <= number < self._end else -1

    def _mark(self, node: Node) -> int | None:
        by, call = _notes(node).get(_KEY, (None, -1))
        return call if by is self else None


def _notes(node: Node) -> dict[str, tuple[Elsewhere | None, int]]:
    """Return a node's metadata dict; torch's stubs declare it as a function."""
    return cast("dict[str, tuple[Elsewhere | None, int]]", node.metadata)
