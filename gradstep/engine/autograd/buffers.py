"""The saved tensors of nodes: whether they are alive, and their storages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch.autograd.graph import Node

from gradstep.engine.autograd.saved_values import IN_PLACE_ERROR, PACKED, read, saved_names

Storage: TypeAlias = "tuple[int, int]"
"""The address of a storage, and its size in bytes."""

State: TypeAlias = Literal["", "alive", "freed", "written", "packed"]
"""Empty: nothing was saved. Written: a saved tensor was modified in place, and torch will refuse to run the node.
Packed: by a hook, as of a checkpoint; reading it would run the unpack hook."""

_NEAR = 64
"""Nodes that are asked whether a backward has freed them."""


class SavedMemory(NamedTuple):
    """What a node has saved."""

    state: State
    storages: frozenset[Storage] = frozenset()
    """The storages of the saved tensors that are alive."""


def saved_memory(node: Node) -> SavedMemory:
    """Return what a node has saved; no unpack hook runs."""
    state, tensors = _read(node)
    return SavedMemory(state, storages_of(tensors))


def state_of(node: Node) -> State:
    """Return the state of a node's saved tensors; faster than `saved_memory`."""
    return _read(node)[0]


def is_freed(node: Node) -> bool | None:
    """Return whether backward has freed a node's saved tensors; None when it has none, or a hook packed them."""
    state = state_of(node)
    return None if state in {"", "packed"} else state == "freed"


def has_live_graph(loss: torch.Tensor) -> bool:
    """Return whether a scalar has a graph that no backward has freed, in what is near its root."""
    nodes, near = [loss.grad_fn] if loss.numel() == 1 and loss.grad_fn is not None else [], 0
    while near < len(nodes) < _NEAR:
        nodes += [node for node, _ in nodes[near].next_functions if node is not None]
        near += 1
    return bool(nodes) and not any(map(is_freed, nodes))


def is_written(node: Node) -> bool:
    """Return whether a saved tensor was modified in place, so that torch will refuse to run the node."""
    return state_of(node) == "written"


def storages_of(tensors: Iterable[torch.Tensor]) -> frozenset[Storage]:
    """Return the storages of some tensors."""
    return frozenset(storage for tensor in tensors for storage in _storages(tensor))


def _read(node: Node) -> tuple[State, list[torch.Tensor]]:
    state: State = ""
    tensors: list[torch.Tensor] = []
    try:
        for name in saved_names(type(node)):
            value = read(node, name)
            if value is PACKED:
                state = state or "packed"
                continue
            found = [t for t in (value if isinstance(value, (tuple, list)) else (value,)) if t is not None]
            state = "alive" if found else state
            tensors += found
    except RuntimeError as error:
        return "written" if IN_PLACE_ERROR in str(error) else "freed", []
    return state, tensors


def _storages(tensor: object) -> Iterator[Storage]:
    if not isinstance(tensor, torch.Tensor):
        return
    if tensor.layout is torch.sparse_coo:
        yield from _storages(tensor._indices())
        yield from _storages(tensor._values())
        return
    try:
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
    except (RuntimeError, NotImplementedError):  # a layout or a subclass without a single storage
        return
    if address and size:
        yield address, size
