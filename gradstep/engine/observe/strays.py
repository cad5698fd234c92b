"""Finds the stray leaves of the graph of a loss, before a backward runs through it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import Node

from gradstep.engine.autograd.graph import leaf_tensor
from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.debuggee.strays import stray_of
from gradstep.engine.tensor_trees import batch_tensors

_DEEP = 4
"""The depth of containers in which a tensor is searched for."""


def find_strays(held: Debuggee, root: Node | None) -> None:
    """Note the stray leaves of the graph of a loss, before a backward runs through it.

    A leaf that a forward creates is not stray: it goes with its graph. A leaf without a name counts as created until a
    second graph has it.
    """
    new = [leaf for leaf in leaves_of(root) if leaf not in held.names and id(leaf) not in held.strays]
    if not new:
        return
    attributes = {id(tensor): path for path, tensor in held.attributes.capture().tensors()}
    batch = {id(tensor): name for name, tensor in batch_tensors(held.point.batch)}
    for leaf in new:
        name = attributes.get(id(leaf)) or batch.get(id(leaf)) or _name_in_code(held, leaf)
        if not name and leaf not in held.passing_leaves and not isinstance(leaf, nn.Parameter):
            held.passing_leaves[leaf] = True
            continue
        name = name or f"a leaf of shape {tuple(leaf.shape)}"
        while any(name == stray.name for stray in held.strays.values()):
            name += "'"
        held.strays[id(leaf)] = stray_of(name, leaf)


def leaves_of(root: Node | None) -> Iterator[Tensor]:
    """Yield the tensors whose `.grad` a backward adds to; quicker than a record of the graph."""
    waiting = [] if root is None else [root]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        following = node.next_functions
        for each, _ in following:
            if each is not None and each not in seen:
                seen.add(each)
                waiting.append(each)
        leaf = None if following else leaf_tensor(node)
        if leaf is not None:
            yield leaf


def _name_in_code(held: Debuggee, tensor: Tensor) -> str:
    """Return the name of a tensor in the code of the loss or a forward; empty where it has none."""
    workload = held.workload
    for code in (workload.compute_loss, workload.loss, type(workload.model).forward):
        for name, value in _referred(code):
            found = _name_within(value, tensor, name, _DEEP)
            if found:
                return found
    return ""


def _referred(code: object) -> Iterator[tuple[str, Any]]:
    """Yield what a function refers to by name: its closure, its object, and globals."""
    while isinstance(code, functools.partial):
        code = code.func
    owner = getattr(code, "__self__", None)
    if owner is not None and not isinstance(owner, nn.Module):
        yield from vars(owner).items() if hasattr(owner, "__dict__") else ()
    function: Any = getattr(code, "__func__", code)
    inner = getattr(function, "__code__", None)
    if inner is None:
        return
    for name, cell in zip(inner.co_freevars, getattr(function, "__closure__", None) or (), strict=False):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not filled yet
            continue
    known = getattr(function, "__globals__", {})
    yield from ((name, known[name]) for name in inner.co_names if name in known)


def _name_within(value: object, tensor: Tensor, name: str, deep: int) -> str:
    if value is tensor:
        return name
    if isinstance(value, nn.Module):
        return next((f"{name}.{each}" for each, p in value.named_parameters() if p is tensor), "")
    pairs: Iterator[tuple[str, Any]] = iter(())
    if isinstance(value, (list, tuple)):
        pairs = ((f"{name}[{i}]", each) for i, each in enumerate(value))
    elif isinstance(value, dict):
        pairs = ((f"{name}[{key!r}]", each) for key, each in value.items())
    return next((found for each, inner in pairs if deep and (found := _name_within(inner, tensor, each, deep - 1))), "")
