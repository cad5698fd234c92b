"""The places inside a phase at which it can stop: modules entered and left, ops that ran, nodes before and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import Node

from gradstep.values.commands import Edge
from gradstep.values.views.inside import SourceLine


class NotFinite(NamedTuple):
    """What a value holds that is not finite."""

    nan: bool = False
    inf: str = ""
    """`-inf` where all its infinities are negative, else `inf`; empty for none."""

    def has(self, kind: Literal["nan", "inf"]) -> bool:
        """Return whether it holds a NaN, or an infinity."""
        return self.nan if kind == "nan" else bool(self.inf)

    def word(self, kind: Literal["nan", "inf"]) -> str:
        """Return what it holds of a kind, in a word."""
        return "nan" if kind == "nan" else self.inf


FINITE = NotFinite()


@dataclass
class Event:
    """The phase has come to a place. It holds what is passed there, and only for as long as it is there."""

    phase: Literal["forward", "backward"]
    kind: Literal["module", "op", "node"]
    edge: Edge
    name: str
    """The class of a module, the name of an op, `node.name()`."""
    path: str = ""
    """The module, or the one that owns the op or node; empty for the root and outside of the model."""
    stack: tuple[str, ...] = ()
    """The modules that are running, outermost first, as `path Class`."""
    depth: int = 0
    """How deep it is nested: modules from 1, an op one deeper than the module that runs it, a node 1."""
    inputs: tuple[Any, ...] = ()
    """Arguments of a module or op; for a node v, what arrives."""
    keywords: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[Any, ...] | None = None
    """What a module or op returned; for a node what leaves, one for each edge. None before."""
    number: int = -1
    node: Node | None = None
    parameter: str = ""
    """The parameter whose `.grad` a leaf adds to."""
    grad_mode: bool = True
    autocast: str = ""
    """The dtype that autocast computes in; empty when it is off."""
    compiled: bool = False
    """True where what runs, or ran, is a compiled region: one operation, in which nothing can be stopped at."""
    find_source: Callable[[], SourceLine] = SourceLine
    """Finds the line that is running, or that made the node, when somebody asks."""
    addends: tuple[tuple[int, int, Tensor], ...] = ()
    """For a node that several lead to: number of each, the edge it came by, and what it added, in order of arrival."""
    edits: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """What was changed by hand at the node, `node.in` or `node.out[1]`: what it was and what it is, in words."""
    made: tuple[Any, ...] | None = None
    """What a node made of v, where what leaves was changed by hand."""
    call: str = ""
    """Of a node in a forward, the call of torch.autograd that runs it: `torch.autograd.grad`."""
    was: NotFinite | None = None
    """Of an op that writes its first argument in place, what that held before; noted only while it is watched for."""

    @property
    def changes(self) -> tuple[str, ...]:
        """What was changed by hand at the node, in words."""
        return tuple(
            f"{name} was changed by hand: {after}, it was {before}" for name, (before, after) in self.edits.items()
        )

    @cached_property
    def source(self) -> SourceLine:
        """The line of the user's code that is running, or that made the node."""
        return self.find_source()


def passed_at(event: Event) -> dict[str, object]:
    """Return what is known of the node, module or op of a place, by the names that expressions have for it."""
    known: dict[str, object] = {"name": event.name, "edge": event.edge, "in": _one(event.inputs)}
    known["out"] = None if event.outputs is None else _one(event.outputs)
    if event.kind == "node":
        known |= {"number": event.number, "module": event.path, "parameter": event.parameter}
        known["addends"] = [value for _, _, value in event.addends]
    else:
        known["module" if event.kind == "op" else "path"] = event.path
    return known


def _one(passed: tuple[object, ...]) -> object:
    """Return what is passed: by itself where it is one thing, else all of them."""
    return passed[0] if len(passed) == 1 else list(passed)


def unwrapped(tensor: Tensor) -> Tensor:
    """Return what a vmap runs over, which knows whether it requires grad; any other tensor as it is."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor


def numbers_of(tensor: Tensor) -> Tensor:
    """Return all numbers of a tensor in a plain one: what a sparse or nested one stores, what a vmap runs over."""
    tensor = unwrapped(tensor)
    if tensor.layout is torch.sparse_coo:
        return tensor.detach()._values()
    return tensor.detach().values() if tensor.is_nested or tensor.layout is not torch.strided else tensor


def not_finite(tensor: Tensor) -> NotFinite:
    """Return what a tensor holds that is not finite."""
    if tensor.is_meta or not (tensor.is_floating_point() or tensor.is_complex()):
        return FINITE
    numbers = numbers_of(tensor)
    if numbers.isfinite().all():
        return FINITE
    infinite, inf = numbers.isinf(), ""
    if infinite.any():
        inf = "inf" if numbers.is_complex() or (numbers[infinite] > 0).any() else "-inf"
    return NotFinite(bool(numbers.isnan().any()), inf)


def is_opaque(tensor: Tensor) -> bool:
    """Return whether the numbers of a tensor can't be read where they stand: it is nested, or a vmap runs over it."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor) and not functorch.is_batchedtensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor.is_nested or functorch.is_batchedtensor(tensor)
