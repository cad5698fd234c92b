"""The grad_fn graph of a loss: its nodes in execution order, their edges, and the module each belongs to."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node


@dataclass
class Owners:
    """Which module was running when each node was made, by the autograd sequence number.

    From `numbers[i]` on, up to `numbers[i + 1]`, nodes belong to `paths[i]`; the innermost module wins. The numbers
    rise, because the counter of the thread does.
    """

    numbers: list[int] = field(default_factory=list)
    paths: list[str | None] = field(default_factory=list)

    def at(self, number: int) -> str | None:
        """Return the module path that owns the node of a sequence number; None outside of the model."""
        place = bisect_right(self.numbers, number) - 1
        return self.paths[place] if place >= 0 else None


@dataclass
class GraphRecord:
    """The graph of one loss, walked once. `edges[i]` are the places of the nodes that node i's outputs flow to."""

    nodes: list[Node]
    edges: list[tuple[int, ...]]
    owners: list[str | None]
    ran: bool = False


def record(root: Node, owners: Owners) -> GraphRecord:
    """Walk the graph below `root` and return it in the order in which backward will run it."""
    edges: dict[Node, list[Node]] = {}
    waits: dict[Node, int] = {root: 0}
    todo = [root]
    while todo:
        node = todo.pop()
        edges[node] = [following for following, _ in node.next_functions if following is not None]
        for following in edges[node]:
            if following not in waits:
                waits[following] = 0
                todo.append(following)
            waits[following] += 1
    order = _execution_order(root, edges, waits)
    place = {node: i for i, node in enumerate(order)}
    numbers = [_number(node) for node in order]
    return GraphRecord(
        order,
        [tuple(place[n] for n in edges[node]) for node in order],
        [None if _is_leaf(node) else owners.at(number) for node, number in zip(order, numbers, strict=True)],
    )


def leaf_tensor(node: Node) -> torch.Tensor | None:
    """Return the tensor whose `.grad` an AccumulateGrad node adds to; None for every other node."""
    variable = getattr(node, "variable", None) if _is_leaf(node) else None
    return variable if isinstance(variable, torch.Tensor) else None


def is_freed(node: Node) -> bool | None:
    """Tell whether backward has freed what a node saved; None where it saved nothing, so that there is nothing to free.

    What a checkpoint saved is passed over: reading it would run its unpack hook.
    """
    error = _reading(node)
    return None if error is None else bool(error) and _WRITTEN not in error


def is_written(node: Node) -> bool:
    """Tell whether something a node saved was written since, so that torch will refuse to run it."""
    return _WRITTEN in (_reading(node) or "")


_WRITTEN = "modified by an inplace operation"


def _reading(node: Node) -> str | None:
    """Return torch's refusal to give what a node saved, the empty text when it gives it, None when it saved nothing."""
    found = None
    for name in _raw_saved(type(node)):
        try:
            raw: Any = getattr(node, name)
            several = raw if isinstance(raw, (tuple, list)) else (raw,)
            if any(getattr(each, "unpack_hook", None) is not None for each in several):
                continue
            # a node of a custom Function raises at its raw ones already, and has them under another name
            own = name.removeprefix("_raw_" if issubclass(type(node), BackwardCFunction) else "_raw")
            if several and getattr(node, own) is not None:
                found = ""
        except RuntimeError as error:
            return str(error)
    return found


@cache
def _raw_saved(kind: type) -> tuple[str, ...]:
    """Return the names of a kind of node's raw saved values; `dir` is too slow to ask of every node."""
    return tuple(name for name in dir(kind) if name.startswith("_raw_saved_"))


def _is_leaf(node: Node) -> bool:
    return node.name() == "torch::autograd::AccumulateGrad" or node.name() == "AccumulateGrad"


def _number(node: Node) -> int:
    return int(node._sequence_nr())


def _execution_order(root: Node, edges: dict[Node, list[Node]], waits: dict[Node, int]) -> list[Node]:
    """Return the order of the CPU engine: of the nodes that are ready, the one made last runs first.

    The engine keeps them in a `std::priority_queue` by sequence number (torch/csrc/autograd/engine.cpp,
    CompareNodeTaskTime); leaves have the highest number, 2**64 - 1. Equal numbers come out as that heap gives them.
    """
    waits = dict(waits)
    ready = _Heap()
    ready.push(_number(root), root)
    order: list[Node] = []
    while ready:
        node = ready.pop()
        order.append(node)
        for following in edges[node]:
            waits[following] -= 1
            if not waits[following]:
                ready.push(_number(following), following)
    return order


class _Heap:
    """A max-heap that breaks ties as libstdc++'s push_heap and pop_heap do (bits/stl_heap.h)."""

    def __init__(self) -> None:
        self._items: list[tuple[int, Node]] = []

    def __bool__(self) -> bool:
        return bool(self._items)

    def push(self, number: int, node: Node) -> None:
        self._items.append((number, node))
        self._rise(len(self._items) - 1, 0, (number, node))

    def pop(self) -> Node:
        items = self._items
        top, last = items[0], items.pop()
        if items:
            hole = 0
            while (child := 2 * hole + 2) < len(items):
                if items[child][0] < items[child - 1][0]:
                    child -= 1
                items[hole], hole = items[child], child
            if child == len(items):
                items[hole], hole = items[child - 1], child - 1
            self._rise(hole, 0, last)
        return top[1]

    def _rise(self, hole: int, top: int, item: tuple[int, Node]) -> None:
        items = self._items
        while hole > top and items[(hole - 1) // 2][0] < item[0]:
            items[hole], hole = items[(hole - 1) // 2], (hole - 1) // 2
        items[hole] = item
