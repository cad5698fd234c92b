"""What the nodes of a graph keep for backward: whether it is still there, and the memory it stands on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node

Storage: TypeAlias = "tuple[int, int]"
"""The address of a storage and its bytes."""


State: TypeAlias = Literal["", "alive", "freed", "written", "packed"]
"""Empty: nothing was saved; written: a saved tensor was written since, torch will refuse to run the node; packed: a
hook has it, as in a checkpoint, and asking for it would run the hook."""


class Kept(NamedTuple):
    """What a node keeps."""

    state: State
    storages: frozenset[Storage] = frozenset()
    """The storages of the saved tensors that are there."""


def kept_by(node: Node) -> Kept:
    """Return what a node keeps. Nothing is unpacked that has an unpack hook."""
    state: State = ""
    storages: set[Storage] = set()
    try:
        for value in _saved(node):
            if value is _PACKED:
                state = state or "packed"
                continue
            tensors = [t for t in (value if isinstance(value, (tuple, list)) else (value,)) if t is not None]
            state = "alive" if tensors else state
            storages.update(storage for tensor in tensors for storage in _storages(tensor))
    except RuntimeError as error:
        return Kept("written" if _WRITTEN in str(error) else "freed")
    return Kept(state, frozenset(storages))


def state_of(node: Node) -> State:
    """Return what became of what a node saved; quicker than `kept_by`."""
    found: State = ""
    try:
        for value in _saved(node):
            if value is _PACKED:
                found = found or "packed"
            elif value is not None and not (isinstance(value, (tuple, list)) and not value):
                found = "alive"
    except RuntimeError as error:
        return "written" if _WRITTEN in str(error) else "freed"
    return found


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
_PACKED = object()


def _saved(node: Node) -> Iterator[Any]:
    """Yield each saved tensor, list of them or None, and `_PACKED` for what has an unpack hook.

    Raises:
        RuntimeError: torch's refusal to give something that was freed, or written since.
    """
    own_kind = issubclass(type(node), BackwardCFunction)
    for name in _raw_saved(type(node)):
        raw: Any = getattr(node, name)
        several = raw if isinstance(raw, (tuple, list)) else (raw,)
        if any(getattr(each, "unpack_hook", None) is not None for each in several):
            yield _PACKED
        elif several:
            # a node of a custom Function raises at its raw ones already, and has them under another name
            yield getattr(node, name.removeprefix("_raw_" if own_kind else "_raw"))


@cache
def _raw_saved(kind: type) -> tuple[str, ...]:
    """Return the names of a kind of node's raw saved values; `dir` is too slow to ask of every node."""
    return tuple(name for name in dir(kind) if name.startswith("_raw_saved_"))


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
