"""What the nodes of a graph keep for backward: whether it is still there, and the memory it stands on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch.autograd.graph import Node

from gradstep.engine.autograd.saved_values import PACKED, read, saved_names

Storage: TypeAlias = "tuple[int, int]"
"""The address of a storage and its bytes."""


State: TypeAlias = Literal["", "alive", "freed", "written", "packed"]
"""Empty: nothing was saved; written: a saved tensor was written since, torch will refuse to run the node; packed: a
hook has it, as in a checkpoint, and asking for it would run the hook."""


class SavedMemory(NamedTuple):
    """What a node keeps."""

    state: State
    storages: frozenset[Storage] = frozenset()
    """The storages of the saved tensors that are there."""


def saved_memory(node: Node) -> SavedMemory:
    """Return what a node keeps. Nothing is unpacked that has an unpack hook."""
    state, tensors = _read(node)
    return SavedMemory(state, storages_of(tensors))


def state_of(node: Node) -> State:
    """Return what became of what a node saved; quicker than `saved_memory`."""
    return _read(node)[0]


def is_freed(node: Node) -> bool | None:
    """Return whether backward has freed what a node saved; None where it saved nothing.

    What a checkpoint saved is passed over: reading it would run its unpack hook.
    """
    state = state_of(node)
    return None if state in {"", "packed"} else state == "freed"


def is_written(node: Node) -> bool:
    """Return whether something a node saved was written since, so that torch will refuse to run it."""
    return state_of(node) == "written"


def storages_of(tensors: Iterable[torch.Tensor]) -> frozenset[Storage]:
    """Return the storages that tensors stand on."""
    return frozenset(storage for tensor in tensors for storage in _storages(tensor))


_WRITTEN = "modified by an inplace operation"


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
        return "written" if _WRITTEN in str(error) else "freed", []
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
    except (RuntimeError, NotImplementedError):  # a layout or a subclass without one storage
        return
    if address and size:
        yield address, size
