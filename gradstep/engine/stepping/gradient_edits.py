"""Gradient edits: before a node runs, the gradient that arrives; after it, the gradients that it passes on.

It goes the way of a node's hook (`Node.register_prehook`, `Node.register_hook`): what the hook returns takes the
place of what flowed. Nothing is written in place, for one tensor may feed several nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from gradstep.engine.expressions.describe import describe
from gradstep.engine.expressions.evaluate import evaluate, split_selection
from gradstep.engine.expressions.functions import as_tensor, kind_of, shape_text
from gradstep.engine.expressions.indexing import Item
from gradstep.engine.expressions.names import Scope
from gradstep.engine.numbers.nonfinite import is_opaque, numbers_of
from gradstep.engine.numbers.norms import norm_of
from gradstep.engine.numbers.readable import dtype_name
from gradstep.engine.stepping.backward_places import Passes, Reach
from gradstep.engine.stepping.stop_places import StopPlace, passed_at
from gradstep.values import expressions as x
from gradstep.values import numbers
from gradstep.values.commands import Assign, Flow
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.expressions import Expression, expression_line

_LISTED = 8
"""Elements that are listed one by one; of more, the norm is shown."""


_FLEETING = ("iteration", "lr", "input", "target", "batch", "prediction")
"""Names whose values may differ when a backward is run again."""


class Flows:
    """The gradient edits of one backward, to be made again at the same places.

    Args:
        flows: the edits, each with the number of its place, in the order in which they were made.
        scope: resolves the names in them.
    """

    def __init__(self, flows: Sequence[Flow], scope: Scope) -> None:
        self.flows, self.scope = tuple(flows), scope
        self.places = frozenset(flow.place for flow in flows)

    def make(self, place: int, stop_place: StopPlace) -> None:
        """Make the edits of a place.

        Raises:
            GradstepError: an edit is not possible.
        """
        for flow in self.flows:
            if flow.place == place:
                put(stop_place, flow.change, self.scope)

    @contextmanager
    def around(self, see: Reach, passes: Passes) -> Iterator[tuple[Reach, Passes]]:
        """Yield replacements for `see` and `passes` that make the edits at their places.

        Raises:
            GradstepError: at the end, when the backward did not reach all places.
        """
        counting = _Counting(self, see, passes)
        yield counting.reach, counting.passes
        if self.places and counting.place < max(self.places):
            what = f"it has {counting.place} stop places, and a gradient was edited at place {max(self.places)}"
            raise wrong("this backward differs from the one that was edited", what)

    def refuse_elsewhere(self) -> None:
        """Refuse edits that could give other values when they are made again later.

        Raises:
            GradstepError: an edit uses more than the gradients at its node, weights and `let` values.
        """
        for flow in self.flows:
            for name in _names(flow.change):
                first = name.partition(".")[0]
                if first != "node" and (first in _FLEETING or ".grad" in name or ".state" in name):
                    what = f"a gradient was edited with the value of {name}: {expression_line(flow.change.value)}"
                    raise wrong("this backward is not run again", what, "step into it while it runs: `into backward`")


class _Counting:
    """Counts the places that a backward reaches, and makes the edits."""

    def __init__(self, flows: Flows, see: Reach, passes: Passes) -> None:
        self._flows, self._see, self._passes = flows, see, passes
        self.place = 0
        self._passed = False

    def passes(self, place: int, ran: bool, parameter: str, arrived: tuple[Any, ...]) -> bool:
        self.place += 1
        self._passed = self._passes(place, ran, parameter, arrived)
        return self._passed and self.place not in self._flows.places

    def reach(self, stop_place: StopPlace) -> None:
        self._flows.make(self.place, stop_place)
        if not self._passed:
            self._see(stop_place)


class _At:
    """Resolves names at a place: `node` is the node there."""

    def __init__(self, scope: Scope, stop_place: StopPlace) -> None:
        self._scope, self._stop_place = scope, stop_place

    @property
    def inside(self) -> str:
        return self._stop_place.phase

    def find(self, name: str) -> object:
        return passed_at(self._stop_place) if name == "node" else self._scope.find(name)

    def names(self) -> Sequence[str]:
        return (*self._scope.names(), "node")

    def state_of(self, tensor: Tensor) -> Mapping[str, object]:
        return self._scope.state_of(tensor)


class _EditTarget(NamedTuple):
    """What is edited."""

    side: Literal["in", "out"]
    at: int
    """The index among the gradients."""
    path: str
    items: tuple[Item, ...]
    whole: Tensor


def put(stop_place: StopPlace, change: Assign, scope: Scope) -> str:
    """Edit a gradient at a place; return what to print.

    Raises:
        GradstepError: the edit is not possible, and nothing is changed.
    """
    line, here = expression_line(change.target), _At(scope, stop_place)
    place = _place_of(stop_place, change.target, here)
    try:
        with torch.no_grad():
            made = _made(place, evaluate(change.value, here), line)
    except GradstepError:
        raise
    except Exception as error:  # torch raises nearly every kind
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise wrong(f"`set {line} = {expression_line(change.value)}` cannot be done", what) from error
    was = _words(place.whole, place.items)
    _note(stop_place, place, made)
    if place.side == "in":
        stop_place.inputs = _with(stop_place.inputs, place.at, made)
    else:
        assert stop_place.outputs is not None
        stop_place.made = stop_place.outputs if stop_place.made is None else stop_place.made
        stop_place.outputs = _with(stop_place.outputs, place.at, made)
    return f"{line} is {_words(made, place.items)}, it was {was}"


def _place_of(stop_place: StopPlace, target: Expression, scope: Scope) -> _EditTarget:
    line = expression_line(target)
    base = target.base if isinstance(target, x.Index) else target
    if isinstance(base, x.Index) and isinstance(target, x.Index):  # node.out[1][0, 3] is node.out[1, 0, 3]
        return _place_of(stop_place, x.Index(base.base, (*base.items, *target.items)), scope)
    parts = base.name.split(".") if isinstance(base, x.Name) else []
    if stop_place.phase != "backward" or parts[:1] != ["node"]:
        what = f"this is a stop in a {stop_place.phase}; only gradients can be edited"
        raise wrong(f"{line} can't be edited", what, "at a node of a backward: `set node.in = 0 * node.in`")
    side: Literal["in", "out"] = "out" if parts[1:2] == ["out"] else "in"
    values = stop_place.inputs if side == "in" else stop_place.outputs
    if parts[1:2] not in (["in"], ["out"]):
        what = "at a node, the gradients that arrive (node.in) and leave (node.out) can be edited"
        raise wrong(f"{line} can't be edited", what, "", line)
    if side == "in" and stop_place.edge == "after":
        what = f"#{stop_place.number} has run, and has used what arrived"
        raise wrong(f"{line} can no longer be edited", what, "`undo` goes back before it ran; here, set node.out")
    if values is None:
        what = f"#{stop_place.number} has not run: its outputs appear once it has"
        raise wrong(f"{line} can't be edited yet", what, "`into` goes there; here, set node.in")
    if not values:
        name = stop_place.parameter or "a leaf"
        what = f"nothing leaves it: what arrived was added to the .grad of {name}"
        raise wrong(f"{line} can't be edited", what, "`undo` goes back before it; there, set node.in")
    if len(values) > 1 and len(parts) < 3 and not isinstance(target, x.Index):
        names = f"node.{side}[0] to node.{side}[{len(values) - 1}]"
        raise wrong(f"node.{side} is {len(values)} gradients", "each is changed by itself", f"they are {names}", line)
    path, items, whole = split_selection(target, scope)
    if whole is None:
        what = "torch does not accept a gradient where there was none"
        raise wrong(f"no gradient flows in {line}", what, "", line)
    if is_opaque(whole):
        raise wrong(f"{line} can't be edited", "its numbers can't be read where they stand", "", line)
    return _EditTarget(side, int(path.split(".")[2]) if path.count(".") > 1 else 0, path, items, whole)


def _made(place: _EditTarget, value: object, line: str) -> Tensor | None:
    """Return the edited gradient: as torch requires of a hook, of the same shape, dtype, layout and device."""
    whole, items = place.whole, place.items
    if value is None and not items:
        return None  # torch takes it from a hook: no gradient flows on
    if isinstance(value, bool) or not isinstance(value, (Tensor, int, float, list)):
        raise wrong("this can't be assigned", f"it is {kind_of(value)}", "", line)
    if isinstance(value, Tensor) and value.is_complex() and not whole.is_complex():
        raise wrong("this can't be assigned", f"it is {dtype_name(value)}, and {line} is {dtype_name(whole)}")
    number_ = not isinstance(value, (Tensor, list)) or (isinstance(value, Tensor) and value.dim() == 0)
    if whole.layout is not torch.strided and (items or number_):
        remedy = f"change all of it: `set {place.path} = 0 * {place.path}`"
        raise wrong("this can't be assigned", f"{line} is sparse: its elements can't be written one by one", remedy)
    if items or number_:
        made = whole.detach().clone()
        made[items or ...] = as_tensor(value, whole).detach().to(whole.dtype)
        return made
    given = as_tensor(value, whole).detach()
    if given.shape != whole.shape:
        what = f"it has shape {shape_text(given)}, and what flows has {shape_text(whole)}"
        raise wrong("another shape can't flow there", what, "", line)
    if (given.dtype, given.layout, given.device) != (whole.dtype, whole.layout, whole.device):
        kinds = [f"{dtype_name(each)}, {each.layout}, {each.device}".replace("torch.", "") for each in (given, whole)]
        remedy = f"`set {place.path}[...] = ` converts it" if given.layout is whole.layout else ""
        raise wrong("another kind of tensor can't flow there", f"it is {kinds[0]}; what flows is {kinds[1]}", remedy)
    # a copy: it may be a weight, or be kept by a `let`, and the engine makes `.grad` of what arrives
    return given.clone()


def _note(stop_place: StopPlace, place: _EditTarget, made: Tensor | None) -> None:
    name = f"node.{place.side}" + (f"[{place.at}]" if place.path.count(".") > 1 else "")
    before, _ = stop_place.edited.get(name, (f"norm {_norm(place.whole)}", ""))
    after = "none, so nothing flows on" if made is None else f"norm {_norm(made)}"
    stop_place.edited = {**stop_place.edited, name: (before, after)}


def _norm(tensor: Tensor) -> str:
    stored = tensor.detach().coalesce() if tensor.layout is torch.sparse_coo else tensor.detach()
    norm = norm_of(numbers_of(stored))
    return "not known" if norm is None else numbers.norm(norm)


def _words(tensor: Tensor | None, items: tuple[Item, ...]) -> str:
    if tensor is None:
        return "none"
    part = tensor.detach()[items] if items else tensor.detach()
    listed = part.numel() <= _LISTED and part.layout is torch.strided
    return describe(part) if listed else f"norm {_norm(part)}"


def _with(values: tuple[Any, ...], at: int, made: Tensor | None) -> tuple[Any, ...]:
    return (*values[:at], made, *values[at + 1 :])


def _names(change: Assign) -> Iterator[str]:
    """Yield every name in what is written and where."""
    stack: list[Any] = [change.target, change.value]
    while stack:
        part = stack.pop()
        if isinstance(part, x.Name):
            yield f"{part.quoted}{part.name}"
        elif isinstance(part, x.Attribute):
            yield f"{expression_line(part.base)}.{part.name}"
            stack.append(part.base)
        elif isinstance(part, (tuple, list)):
            stack.extend(part)
        elif hasattr(part, "__struct_fields__"):
            stack.extend(getattr(part, field) for field in part.__struct_fields__)
