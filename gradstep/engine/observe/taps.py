"""The places at which a phase that is stepped can stop, made of the stream of the observer, on the thread of the phase.

What flows is changed only where somebody has changed it by hand at a stop.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import resolve_name

from gradstep.engine.autograd.graph import GraphRecord, leaf_tensor
from gradstep.engine.observe.compiled import compiled_modules
from gradstep.engine.observe.engine_calls import EngineCall
from gradstep.engine.observe.events import FINITE, Event, NotFinite, not_finite
from gradstep.engine.observe.observer import observe
from gradstep.engine.observe.source_lines import SourcePlace, place_of, text_of
from gradstep.engine.observe.stream import (
    Consumer,
    EngineLeft,
    ModuleEntered,
    ModuleLeft,
    NodeAbout,
    NodeRan,
    OpRan,
    OpStarts,
    RegionRan,
)
from gradstep.engine.problems import is_ours, printable
from gradstep.engine.tensor_trees import tensors_in
from gradstep.values.views.inside import SourceLine

Come = Callable[[Event], None]
Passes = Callable[[int, bool, str], bool]
"""Told of a node by its number, whether it has run, and the parameter whose `.grad` it adds to; True: no event is made
of that place, for it is only passed by."""


class BackwardTaps:
    """Makes events of the nodes of one graph, and gathers what meets at a node, in the order in which it arrives.

    Args:
        graph: the graph that the backward runs through.
        line_of: gives the line that made node i.
        types: the class of each module, by path.
        names: the name of each parameter.
        come: what is told; called under `no_grad`.
        passes: asked before a place is reported, which costs much more than to ask.
        gathers: tells of which nodes what meets there is gathered: it is kept alive until the node has run.
    """

    def __init__(
        self,
        graph: GraphRecord,
        line_of: Callable[[int], SourceLine],
        types: Mapping[str, str],
        names: Mapping[Tensor, str],
        come: Come,
        passes: Passes = lambda *_: False,
        gathers: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self.graph, self._come, self._passes, self._line_of = graph, come, passes, line_of
        self._stack = cache(lambda path: module_stack(path, types))
        self._places = {node: i for i, node in enumerate(graph.nodes)}
        leaves = ((i, leaf_tensor(node)) for i, node in enumerate(graph.nodes))
        self._names = {i: names[leaf] for i, leaf in leaves if leaf is not None and leaf in names}
        self._meeting = frozenset(filter(gathers, _met(graph)))
        self._addends: dict[int, list[tuple[int, int, Tensor]]] = {}
        self._edits: tuple[int, Mapping[str, tuple[str, str]]] = (-1, {})
        """What was changed before the node of this number: it runs right after that."""

    def about(self, event: NodeAbout) -> tuple[Any, ...] | None:
        """Report a node before it runs; return what takes the place of what arrived, None for nothing."""
        place = self._tell(event.number, "before", event.arrived, None)
        if place is None or not place.edits:
            return None
        self._edits = (event.number, place.edits)
        return place.inputs

    def ran(self, event: NodeRan) -> tuple[Any, ...] | None:
        """Report a node after it ran; return what takes the place of what left, None for nothing."""
        number = event.number
        place = self._tell(number, "after", event.arrived, event.left)
        self._addends.pop(number, None)
        changed = place.outputs if place is not None and place.made is not None else None
        left = event.left if changed is None else changed
        for edge, ((following, _), value) in enumerate(zip(event.node.next_functions, left, strict=False)):
            target = self._places.get(following) if following is not None else None
            if target in self._meeting and value is not None:
                self._addends.setdefault(target, []).append((number, edge, value))
        return changed

    def _tell(self, number: int, edge: Any, arrived: tuple[Any, ...], left: tuple[Any, ...] | None) -> Event | None:
        parameter = self._names.get(number, "")
        if self._passes(number, left is not None, parameter):
            return None
        node = self.graph.nodes[number]
        owner = parameter.rpartition(".")[0] if parameter else self.graph.owners[number]
        addends = tuple(self._addends.get(number, ()))
        event = Event(
            "backward",
            "node",
            edge,
            node.name(),
            owner or "",
            () if owner is None else self._stack(owner),
            1,
            arrived,
            {},
            left,
            number,
            node,
            parameter,
            find_source=lambda: self._line_of(number),
            addends=addends,
            edits=self._edits[1] if left is not None and self._edits[0] == number else {},
        )
        with torch.no_grad():
            self._come(event)
        return event


@contextmanager
def tap_backward(taps: BackwardTaps) -> Iterator[None]:
    """Report every node of a graph before and after it runs, for as long as the block lasts."""
    with observe({NodeAbout: taps.about, NodeRan: taps.ran}, graph=lambda _: taps.graph):
        yield


class ForwardTaps:
    """Makes events of the modules entered and left, the ops, and the nodes of a backward that the forward runs itself.

    Args:
        paths: the dotted name of each module of the model; others are passed over.
        come: what is told.
        numbers: returns whether to note, before an op writes in place, what is not finite there.
        inner: returns the taps of a backward that the forward runs by itself, at a depth.
        inner_left: called when that has ended.
    """

    def __init__(
        self,
        paths: Mapping[nn.Module, str],
        come: Come,
        numbers: Callable[[], bool],
        inner: Callable[[EngineCall, int], BackwardTaps],
        inner_left: Callable[[], None],
    ) -> None:
        self._paths, self._come, self._numbers, self._inner, self._inner_left = paths, come, numbers, inner, inner_left
        self._running: list[tuple[str, str]] = []
        self._compiled = compiled_modules(paths)
        self._was: NotFinite | None = None
        self._nodes: BackwardTaps | None = None

    @contextmanager
    def watch(self, ops: bool) -> Iterator[None]:
        """Report, for as long as the block lasts; without `ops` modules only."""
        told: Consumer = {ModuleEntered: self._entered, ModuleLeft: self._left}
        if ops:
            told = {
                **told,
                OpStarts: self._op_starts,
                OpRan: self._op_ran,
                RegionRan: self._region_ran,
                EngineLeft: self._engine_left,
                NodeAbout: lambda event: self._nodes.about(event) if self._nodes is not None else None,
                NodeRan: lambda event: self._nodes.ran(event) if self._nodes is not None else None,
            }
        with observe(told, graph=self._graph):
            yield

    # what runs on threads of the user's own can't stop: several of them may come to a place at once
    def _entered(self, event: ModuleEntered) -> None:
        module, path = event.module, self._paths.get(event.module)
        if path is None:
            return
        name = type(module).__name__
        self._running.append((path, name))
        compiled = module in self._compiled
        self._tell(
            "module", "enter", name, path, _several(event.given), _keywords(event.frame), event.frame, compiled=compiled
        )

    def _left(self, event: ModuleLeft) -> None:
        module, path = event.module, self._paths.get(event.module)
        if path is None or not self._running:
            return
        if not event.raised:
            name, compiled = type(module).__name__, module in self._compiled
            given, outputs = _several(event.given), (event.output,)
            self._tell("module", "exit", name, path, given, {}, event.frame, outputs, compiled=compiled)
        self._running.pop()

    def _op_starts(self, event: OpStarts) -> None:
        writes = _writes(getattr(event.func, "__name__", ""), event.kwargs)
        self._was = _before(event.args) if writes and self._numbers() else None

    def _op_ran(self, event: OpRan) -> None:
        """Report an op that gives a tensor or writes one."""
        own = getattr(event.func, "__name__", "")
        made = event.args[0] if own == "__setitem__" else event.result
        if own != "__get__" and any(True for _ in tensors_in(made, "")):
            name, was = op_name(event.func), self._was
            self._tell("op", "exit", name, self._path, event.args, event.kwargs, event.frame, (made,), was)

    def _region_ran(self, event: RegionRan) -> None:
        if event.module is None:  # of a module it is told as the module is left
            made = (event.result,)
            self._tell("op", "exit", event.name, self._path, event.args, event.kwargs, event.frame, made, compiled=True)

    @property
    def _path(self) -> str:
        return self._running[-1][0] if self._running else ""

    def _graph(self, call: EngineCall) -> GraphRecord | None:
        """Return the graph of a backward that the forward runs by itself, to be told of its nodes."""
        if not call.seen_through:
            return None
        self._nodes = self._inner(call, len(self._running) + 2)
        given = {"grad_outputs": call.gradients, "inputs": call.inputs}
        self._tell("op", "enter", call.name, self._path, call.outputs, given, sys._getframe(1))
        return self._nodes.graph

    def _engine_left(self, event: EngineLeft) -> None:
        if not event.depth and self._nodes is not None:
            self._nodes = None
            self._inner_left()

    def _tell(
        self,
        kind: Any,
        edge: Any,
        name: str,
        path: str,
        inputs: tuple[Any, ...],
        keywords: Mapping[str, Any],
        frame: FrameType,
        outputs: tuple[Any, ...] | None = None,
        was: NotFinite | None = None,
        compiled: bool = False,
    ) -> None:
        depth, stack = len(self._running) + (kind == "op"), tuple(f"{p} {n}".strip() for p, n in self._running)
        event = Event("forward", kind, edge, name, path, stack, depth, inputs, keywords, outputs, was=was)
        event.find_source = lambda: source_of(users_place(frame))
        event.grad_mode, event.autocast, event.compiled = torch.is_grad_enabled(), _autocast(), compiled
        # what is looked at here must neither be seen as an op of the phase nor make nodes
        with torch._C.DisableTorchFunction(), torch.no_grad():
            self._come(event)


def _several(given: Any) -> tuple[Any, ...]:
    return given if isinstance(given, tuple) else (given,)


def _writes(name: str, keywords: Mapping[str, Any]) -> bool:
    """Return whether an op writes its first argument in place, by its name."""
    return (name.endswith("_") and not name.endswith("__")) or name == "__setitem__" or bool(keywords.get("inplace"))


def _before(args: tuple[Any, ...]) -> NotFinite:
    """Return what an op's first argument holds that is not finite, before the op writes it."""
    with torch._C.DisableTorchFunction(), torch.no_grad():
        return not_finite(args[0]) if args and isinstance(args[0], Tensor) else FINITE


def op_name(func: Any) -> str:
    """Return what an op is called in a script: `torch.relu`, `F.linear`, `torch.Tensor.add`."""
    name = resolve_name(func) or ".".join(filter(None, (_module_of(func), getattr(func, "__name__", "op"))))
    return str(name).replace("torch.nn.functional.", "F.").replace("torch._C._nn.", "F.")


def _module_of(func: Any) -> str:
    """Return the module of torch's that a function is from; empty for others."""
    module = str(getattr(func, "__module__", None) or "")
    return module if module.startswith("torch.") else ""


def _keywords(frame: FrameType | None) -> Mapping[str, Any]:
    """Return the keyword arguments of a module's call, which its global pre-hooks are not told."""
    for _ in range(5):
        if frame is None:
            return {}
        if frame.f_code.co_name in ("_call_impl", "inner", "compile_wrapper"):
            found = frame.f_locals.get("kwargs")
            return found if isinstance(found, dict) else {}
        frame = frame.f_back
    return {}


def source_of(place: SourcePlace | None) -> SourceLine:
    """Return a place with its text; an empty one for none."""
    if place is None:
        return SourceLine()
    return SourceLine(printable(place.file), place.line, "", printable(text_of(place)))


def users_place(frame: FrameType | None) -> SourcePlace | None:
    """Return the innermost line of the user's that is running, below what of gradstep's own stands before it."""
    while frame is not None and is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    return place_of(frame)


def _autocast() -> str:
    """Return the dtype that autocast computes in; empty when it is off."""
    kind = next((kind for kind in ("cuda", "cpu", "mps") if torch.is_autocast_enabled(kind)), "")
    return str(torch.get_autocast_dtype(kind)).removeprefix("torch.") if kind else ""


def _met(graph: GraphRecord) -> frozenset[int]:
    """Return the places of the nodes that several edges lead to."""
    once: set[int] = set()
    more: set[int] = set()
    for edges in graph.edges:
        for place in edges:
            (more if place in once else once).add(place)
    return frozenset(more)


def module_stack(path: str, types: Mapping[str, str]) -> tuple[str, ...]:
    """Return a module and all it lies in, outermost first, as `path Class`."""
    parts = path.split(".") if path else []
    paths = ["", *(".".join(parts[: i + 1]) for i in range(len(parts)))]
    return tuple(f"{p} {types[p]}".strip() for p in paths if p in types)
