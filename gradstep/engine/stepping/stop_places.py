"""Stop places: the points inside a phase at which it can stop, and what is passed there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from torch import Tensor
from torch.autograd.graph import Node

from gradstep.engine.numbers.nonfinite import NotFinite
from gradstep.values.commands import Edge
from gradstep.values.views.inside import SourceLine


@dataclass
class StopPlace:
    """A module entered or left, an op that ran, or a node before or after it runs. Not kept beyond the stop."""

    phase: Literal["forward", "backward"]
    kind: Literal["module", "op", "node"]
    edge: Edge
    name: str
    """The class of a module, the name of an op, `node.name()`."""
    path: str = ""
    """The module, or the module that owns the op or node; empty for the root and outside the model."""
    stack: tuple[str, ...] = ()
    """The modules that are running, outermost first, as `path Class`."""
    depth: int = 0
    """The nesting depth: modules from 1, an op one deeper than its module, a node 1."""
    inputs: tuple[Any, ...] = ()
    """The arguments of a module or op; for a node v, the gradients that arrive."""
    keywords: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[Any, ...] | None = None
    """What a module or op returned; for a node the gradients that it passes on, one per edge. None before."""
    number: int = -1
    node: Node | None = None
    parameter: str = ""
    """The parameter whose `.grad` a leaf adds to."""
    grad_mode: bool = True
    autocast: str = ""
    """The dtype that autocast casts to; empty when it is off."""
    compiled: bool = False
    """True where a compiled region runs or ran: one operation, without stop places inside."""
    find_source: Callable[[], SourceLine] = SourceLine
    """Finds `source` when it is first read."""
    addends: tuple[tuple[int, int, Tensor], ...] = ()
    """Where gradients meet, in order of arrival: the number of the node, the edge, and the addend."""
    edited: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """The gradient edits made here: `node.in` or `node.out[1]`, what it was and what it is, in words."""
    made: tuple[Any, ...] | None = None
    """What the node computed, where what it passes on was edited."""
    call: str = ""
    """For a node in a forward, the call that runs it: `torch.autograd.grad`."""
    was: NotFinite | None = None
    """What was not finite in the tensor that an op wrote in place; None where no breakpoint needs it."""

    @property
    def edits(self) -> tuple[str, ...]:
        """The gradient edits made here, in words."""
        return tuple(f"{name} was edited: {after}, it was {before}" for name, (before, after) in self.edited.items())

    @cached_property
    def source(self) -> SourceLine:
        """The source line that is running, or that made the node."""
        return self.find_source()


def passed_at(place: StopPlace) -> dict[str, object]:
    """Return the fields that expressions have for the node, module or op of a place."""
    known: dict[str, object] = {"name": place.name, "edge": place.edge, "in": _one(place.inputs)}
    known["out"] = None if place.outputs is None else _one(place.outputs)
    if place.kind == "node":
        known |= {"number": place.number, "module": place.path, "parameter": place.parameter}
        known["addends"] = [value for _, _, value in place.addends]
    else:
        known["module" if place.kind == "op" else "path"] = place.path
    return known


def _one(passed: tuple[object, ...]) -> object:
    """Return one value by itself, several as a list."""
    return passed[0] if len(passed) == 1 else list(passed)
