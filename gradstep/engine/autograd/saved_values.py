"""What a node saved in the forward: tensors and settings, read without running unpack hooks."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node

State = Literal["alive", "freed", "written", "hooked"]
Setting = bool | int | float | str | list[int] | tuple[int, ...] | None

PACKED = object()
"""A value that has an unpack hook."""
_RAW = "_raw_saved_"
IN_PLACE_ERROR = "modified by an inplace operation"
VERSIONS = re.compile(r"is at version (\d+); expected version (\d+)")
"""Matches the version now and the version when it was saved, in torch's error for a saved tensor that was modified in
place (torch/csrc/autograd/saved_variable.cpp)."""


@dataclass(frozen=True)
class SavedValue:
    """One tensor that a node saved."""

    name: str
    """As torch names it, e.g. `mat1`; with an index in a list, e.g. `indices[0]`."""
    state: State
    """written: modified in place since; hooked: packed, and reading it would run the unpack hook."""
    tensor: Tensor | None = None
    """The tensor itself, with its present contents; None when it can't be read."""
    version_then: int | None = None
    """Its version counter when it was saved; None when unknown."""
    version_now: int | None = None


def saved_values(node: Node) -> tuple[SavedValue, ...]:
    """Return the tensors that a node saved, in the order of their names, without those that are None."""
    return tuple(value for name in saved_names(type(node)) for value in _of_name(node, name))


def read(node: Node, name: str) -> Any:
    """Return what a node saved under one of its `saved_names`: a tensor, a list of them, None, or `PACKED`.

    Raises:
        RuntimeError: torch refuses: it was freed, or modified in place.
    """
    raws = _raws(node, name)
    if _any_packed(raws):
        return PACKED
    # a custom Function uses another name, and even the raw values raise once freed
    return getattr(node, f"saved_{name}" if is_function(node) else f"_saved_{name}") if raws else ()


@cache  # `dir` is too slow to call for every node
def saved_names(kind: Hashable) -> tuple[str, ...]:
    """Return the names of the tensors that a kind of node saves."""
    return tuple(name.removeprefix(_RAW) for name in dir(kind) if name.startswith(_RAW))


def settings(node: Node) -> dict[str, Setting]:
    """Return what a node saved besides tensors, by name: `dim`, `exponent`, the sizes of its input."""
    found: dict[str, Setting] = {}
    for name in _setting_names(type(node)):
        try:
            value = getattr(node, f"_saved_{name}")
        except RuntimeError:  # freed
            continue
        if isinstance(value, (bool, int, float, str, list, tuple)) or value is None:
            found[name] = value
    return found


def is_function(node: object) -> bool:
    """Return whether a node belongs to a custom `torch.autograd.Function`, whose backward is Python."""
    return isinstance(node, BackwardCFunction)


def has_hooks(node: Node) -> bool:
    """Return whether a hook packed something that a node saved (activation checkpointing, offloading).

    Reading or running such a node runs the unpack hook: that of a checkpoint runs its forward again, after which the
    user's own backward fails.
    """
    for name in saved_names(type(node)):
        with suppress(RuntimeError):  # a freed custom Function
            if _any_packed(_raws(node, name)):
                return True
    return False


def _of_name(node: Node, name: str) -> Iterator[SavedValue]:
    shown = f"saved_{name}" if is_function(node) else name
    try:
        value = read(node, name)
    except RuntimeError as error:
        yield _refused(node, name, shown, str(error))
        return
    several = isinstance(_raw(node, name) if value is PACKED else value, (tuple, list))
    for i, tensor in enumerate(_raws(node, name) if value is PACKED else value if several else (value,)):
        place = f"{shown}[{i}]" if several else shown
        if value is PACKED:
            yield SavedValue(place, "hooked")
        elif isinstance(tensor, Tensor):
            yield SavedValue(place, "alive", tensor, tensor._version, tensor._version)


def _refused(node: Node, name: str, shown: str, error: str) -> SavedValue:
    """Return what is known of a value that torch refuses to return."""
    versions = VERSIONS.search(error)
    if versions is None:
        return SavedValue(shown, "freed")
    tensor = getattr(_raw(node, name), "data", None)
    now, then = int(versions[1]), int(versions[2])
    return SavedValue(shown, "written", tensor if isinstance(tensor, Tensor) else None, then, now)


def _raw(node: Node, name: str) -> Any:
    return getattr(node, _RAW + name)


def _raws(node: Node, name: str) -> tuple[Any, ...]:
    raw = _raw(node, name)
    return tuple(raw) if isinstance(raw, (tuple, list)) else (raw,)


def _any_packed(raws: tuple[Any, ...]) -> bool:
    return any(getattr(raw, "unpack_hook", None) is not None for raw in raws)


@cache
def _setting_names(kind: Hashable) -> tuple[str, ...]:
    if isinstance(kind, type) and issubclass(kind, BackwardCFunction):
        return ()
    saved = (name.removeprefix("_saved_") for name in dir(kind) if name.startswith("_saved_"))
    return tuple(name for name in saved if name not in saved_names(kind))
