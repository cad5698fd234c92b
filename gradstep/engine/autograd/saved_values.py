"""What a node keeps from the forward: its saved tensors and settings, read without running anyone's unpack hook."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node

State = Literal["alive", "freed", "written", "hooked"]
Setting = bool | int | float | str | list[int] | tuple[int, ...] | None

_RAW = "_raw_saved_"
_VERSIONS = re.compile(r"is at version (\d+); expected version (\d+)")
"""As torch refuses a tensor that was written (torch/csrc/autograd/saved_variable.cpp)."""


@dataclass(frozen=True)
class SavedValue:
    """One tensor that a node keeps."""

    name: str
    """As torch names it, e.g. `mat1`; with its place where there are several, e.g. `indices[0]`."""
    state: State
    """written: changed in place since; hooked: it is packed, and to look at it would run the unpack hook."""
    tensor: Tensor | None = None
    """The tensor itself; None unless it can be read. A written one is as it is now."""
    version_then: int | None = None
    """torch's count of in-place writes when it was saved; None where that is not known."""
    version_now: int | None = None


def saved_values(node: Node) -> tuple[SavedValue, ...]:
    """Return the tensors that a node keeps, in the order of their names; an optional one that is None is left out."""
    if is_function(node):
        return tuple(_of_function(node))
    return tuple(value for name in _raw_names(type(node)) for value in _of_name(node, name))


def settings(node: Node) -> dict[str, Setting]:
    """Return what a node keeps that is no tensor, by name: `dim`, `exponent`, the sizes of its input."""
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
    """Return whether a node is of a `torch.autograd.Function`, whose backward is Python."""
    return isinstance(node, BackwardCFunction)


def has_hooks(node: Node) -> bool:
    """Return whether a node keeps something packed by a hook (activation checkpointing, offloading).

    Reading or running such a node runs the unpack hook: a checkpoint's runs its forward again, and breaks the user's
    backward when it is one.
    """
    return any(getattr(raw, "unpack_hook", None) is not None for raw in _raws(node))


def _of_name(node: Node, name: str) -> Iterator[SavedValue]:
    try:
        raw = getattr(node, _RAW + name)
        several = isinstance(raw, (tuple, list))
        raws = tuple(raw) if several else (raw,)
        if any(getattr(each, "unpack_hook", None) is not None for each in raws):
            for i in range(len(raws)):
                yield SavedValue(f"{name}[{i}]" if several else name, "hooked")
            return
        value = getattr(node, f"_saved_{name}")
    except RuntimeError as error:
        yield _refused(name, str(error), getattr(node, _RAW + name, None))
        return
    for i, tensor in enumerate(value if several else (value,)):
        if isinstance(tensor, Tensor):
            yield SavedValue(f"{name}[{i}]" if several else name, "alive", tensor, tensor._version, tensor._version)


def _of_function(node: Any) -> Iterator[SavedValue]:
    """Yield what `ctx.save_for_backward` of a custom Function kept."""
    try:
        if has_hooks(node):
            yield from (SavedValue(f"saved_tensors[{i}]", "hooked") for i in range(len(node._raw_saved_tensors)))
            return
        kept = node.saved_tensors
    except RuntimeError as error:
        yield _refused("saved_tensors", str(error), None)
        return
    for i, tensor in enumerate(kept):
        if isinstance(tensor, Tensor):
            yield SavedValue(f"saved_tensors[{i}]", "alive", tensor, tensor._version, tensor._version)


def _refused(name: str, error: str, raw: Any) -> SavedValue:
    """Return what is left to say of a value that torch does not give."""
    versions = _VERSIONS.search(error)
    if versions is None:
        return SavedValue(name, "freed")
    tensor = getattr(raw, "data", None)
    now, then = int(versions[1]), int(versions[2])
    return SavedValue(name, "written", tensor if isinstance(tensor, Tensor) else None, then, now)


def _raws(node: Node) -> Iterator[Any]:
    for name in _raw_names(type(node)):
        try:
            raw = getattr(node, _RAW + name)
        except RuntimeError:  # a freed custom Function
            continue
        yield from raw if isinstance(raw, (tuple, list)) else (raw,)


@cache
def _raw_names(kind: Hashable) -> tuple[str, ...]:
    return tuple(name.removeprefix(_RAW) for name in dir(kind) if name.startswith(_RAW))


@cache
def _setting_names(kind: Hashable) -> tuple[str, ...]:
    if isinstance(kind, type) and issubclass(kind, BackwardCFunction):
        return ()
    saved = (name.removeprefix("_saved_") for name in dir(kind) if name.startswith("_saved_"))
    return tuple(name for name in saved if name not in _raw_names(kind))
