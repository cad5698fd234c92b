"""Why a `.grad` is None: the walk from the parameter through the forward to where the path to the loss ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from gradstep.engine.autograd.graph import GraphRecord, leaf_tensor
from gradstep.engine.held import Held
from gradstep.engine.observe.composites import hide_composites
from gradstep.engine.observe.events import Event, tensors_in
from gradstep.engine.observe.rerun import backward_again, forward_again
from gradstep.engine.observe.source_lines import Place, text_of
from gradstep.engine.observe.taps import op_name, users_place
from gradstep.values.errors import GradstepError

_NO_GRAD = "its result does not require grad"


@dataclass
class Use:
    """An op that what depends on the parameter went into."""

    op: str
    place: Place | None
    cut: str = ""
    """Why its result does not lead back; empty where it does."""

    def line(self) -> str:
        """Say the op with the line that it is written on."""
        if self.place is None:
            return self.op
        name = self.place.file.replace("\\", "/").rpartition("/")[2]
        return f"{self.op} at {name}:{self.place.line} `{text_of(self.place)}`"


class Walk(TorchFunctionMode):
    """Follows what depends on one tensor through a forward, and notes where it stops requiring grad."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self._kept: list[Tensor] = [start]  # kept alive, so that no id is used twice
        self._known = {id(start)}
        self.uses: list[Use] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        result = func(*args, **given)
        touched = [t for _, t in (*tensors_in(args, ""), *tensors_in(given, "")) if id(t) in self._known]
        if touched and not _asks_only(func, result):
            made = [t for _, t in tensors_in(result, "")]
            if getattr(func, "__name__", "").endswith("__setitem__") and args and isinstance(args[0], Tensor):
                made = [args[0]]
            name, frame = op_name(func), sys._getframe(1)
            self._follow(name, made, any(t.requires_grad for t in touched), frame, lambda: _cut(func, name, made))
        return result

    def composite(self, module: nn.Module, given: Any, output: Any) -> None:
        """Follow through a module that is one operation."""
        made, parts = [t for _, t in tensors_in(output, "")], (*module.parameters(), *module.buffers())
        touched = [t for t in (*(t for _, t in tensors_in(given, "")), *parts) if id(t) in self._known]
        if touched:
            required, frame = any(t.requires_grad for t in touched), sys._getframe(1)
            self._follow(type(module).__name__, made, required, frame, lambda: _off() or _NO_GRAD)

    def depends(self, tensor: Tensor) -> bool:
        """Tell whether a tensor was made from the one that is followed."""
        return id(tensor) in self._known

    def _follow(
        self, name: str, made: list[Tensor], required: bool, frame: FrameType, why_cut: Callable[[], str]
    ) -> None:
        for tensor in made:
            if id(tensor) not in self._known:
                self._known.add(id(tensor))
                self._kept.append(tensor)
        ends = required and not any(t.requires_grad for t in made)
        self.uses.append(Use(name, users_place(frame), why_cut() if ends else ""))


def _asks_only(func: Any, result: Any) -> bool:
    """Tell whether an op only asks for a fact, such as a shape: nothing flows on from it."""
    name = getattr(func, "__name__", "")
    return not (any(True for _ in tensors_in(result, "")) or name in ("item", "tolist", "numpy", "__setitem__"))


def _cut(func: Any, name: str, made: list[Tensor]) -> str:
    own = getattr(func, "__name__", "")
    if not made:
        return f"`{own}` takes the number out of torch: what is made of it has no history"
    if own == "detach" or "detach" in own:
        return "`detach` gives the same numbers without their history"
    if name.endswith("data.__get__"):
        return "`.data` gives the same numbers without their history"
    if _off():
        return _off()
    if not any(t.is_floating_point() or t.is_complex() for t in made):
        return f"its result is whole numbers ({str(made[0].dtype).removeprefix('torch.')}), which have no gradient"
    return _NO_GRAD


def _off() -> str:
    return "" if torch.is_grad_enabled() else "grad mode is off here: no_grad or inference_mode"


def why_none(held: Held, name: str, parameter: Tensor) -> list[str]:
    """Say in lines why the `.grad` of a tensor is None, and where the path to it ends.

    Args:
        held: the workload.
        name: what the tensor is called.
        parameter: the tensor.
    """
    if parameter.grad is not None:
        return [f"{name}.grad is not None"]
    if not parameter.is_leaf:
        return [f"{name} is no leaf: torch hands its gradient on and keeps none (retain_grad() would)"]
    if not parameter.requires_grad:
        return [f"{name}.requires_grad is False: it is frozen, or it is no parameter; backward passes it by"]
    loss = held.point.loss
    if loss is None:
        return ["no loss yet: .grad is None until a backward; run forward, then backward"]
    if loss.grad_fn is None:
        return ["the loss has no graph: nothing that it depends on requires grad", *_followed(held, name, parameter)]
    graph = held.graph()
    if graph is not None and any(leaf_tensor(graph.nodes[place]) is parameter for place in graph.leaves):
        if held.point.ran and "zero_grad" in held.point.done:
            return ["a backward gave it one, and zero_grad has set it to None since"]
        if held.point.ran:
            return list(_not_passed_on(held, graph, name, parameter))
        return [f"no backward has run since: the graph of this loss leads to {name}, and backward will fill it"]
    return _followed(held, name, parameter)


def _not_passed_on(held: Held, graph: GraphRecord, name: str, parameter: Tensor) -> Iterator[str]:
    """Say which nodes on the way to a leaf passed None on; a custom Function's backward may return that."""
    by_hand = " (what flowed was changed by hand)" if held.point.flows is not None else ""
    yield f"the graph of this loss leads to {name}, and the backward passed nothing on to it{by_hand}"
    ways = {place for place in graph.leaves if leaf_tensor(graph.nodes[place]) is parameter}
    for place in reversed(range(len(graph.nodes))):  # what a node leads to comes after it
        if ways.intersection(graph.edges[place]):
            ways.add(place)
    dry: list[int] = []

    def see(event: Event) -> None:
        came = any(value is not None for value in event.inputs)
        if event.node is None or event.outputs is None or event.number not in ways or not came:
            return
        ends = zip(event.node.next_functions, event.outputs, strict=False)
        left = [value for (following, _), value in ends if following is not None]
        if any(
            target in ways and value is None for target, value in zip(graph.edges[event.number], left, strict=False)
        ):
            dry.append(event.number)

    try:
        backward_again(held, see)
    except GradstepError as error:
        yield f"it was not run again to see where: {error.problem.what}"
    for number in dry[:3]:
        owner = f" of {graph.owners[number]}" if graph.owners[number] else ""
        made = Use(f"#{number} {graph.nodes[number].name()}{owner}", held.line_of(number))
        yield f"{made.line()} gave None"


def _followed(held: Held, name: str, parameter: Tensor) -> list[str]:
    walks: list[Walk] = []

    @contextmanager
    def followed() -> Iterator[None]:
        walk = Walk(parameter)
        walks.append(walk)
        with hide_composites(walk.composite), walk:
            yield

    try:
        loss, _ = forward_again(held, followed)
    except GradstepError as error:
        return [f"the loss does not lead to {name}; the forward was not walked again: {error.problem.what}"]
    return _said(name, walks[0], walks[0].depends(loss), _module_of(held, name))


def _said(name: str, walk: Walk, reached: bool, module: str) -> list[str]:
    cuts = [use for use in walk.uses if use.cut]
    if not walk.uses:
        used = f"; {module} was not called, or did not use it" if module else ""
        return [f"this forward does not use {name}{used}"]
    if cuts:
        lines = [f"the path from {name} to the loss ends at {cuts[0].line()}", cuts[0].cut]
        more = len({use.line() for use in cuts}) - 1
        return [*lines, f"and at {more} other place{'s' * (more > 1)}"] if more else lines
    last = walk.uses[-1]
    if reached:
        return [f"the loss depends on {name}, but no path of its graph leads there; last used by {last.line()}"]
    return [f"{name} is used, but what came of it is no part of this loss", f"it goes no further than {last.line()}"]


def _module_of(held: Held, name: str) -> str:
    path = name.rpartition(".")[0]
    found: nn.Module | None = next((m for m, p in held.paths.items() if p == path), None)
    return f"{path} {type(found).__name__}".strip() if found is not None else ""
