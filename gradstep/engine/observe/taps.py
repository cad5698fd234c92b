"""The taps on a phase that is stepped: each place it comes to becomes an event, on the thread of the phase.

Module hooks are torch's global ones, ops come from a `TorchFunctionMode`, nodes from hooks of the node; all are gone
when the phase ends. What flows is changed by them only where somebody has changed it by hand at a stop.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache
from threading import get_ident
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import resolve_name

from gradstep.engine.autograd.graph import GraphRecord, collector_paused, leaf_tensor
from gradstep.engine.observe.compiled import Observer, Region, compiled_modules
from gradstep.engine.observe.composites import hide_composites
from gradstep.engine.observe.engine_calls import EngineCall, tap_engine
from gradstep.engine.observe.events import FINITE, Event, NotFinite, not_finite, tensors_in
from gradstep.engine.observe.source_lines import Place, place_of, text_of
from gradstep.engine.problems import is_ours, printable
from gradstep.values.inside import SourceLine

Come = Callable[[Event], None]
Inner = Callable[[EngineCall, int], AbstractContextManager[None]]
Passes = Callable[[int, bool, str], bool]
"""Told of a node by its number, whether it has run, and the parameter whose `.grad` it adds to; True: no event is made
of that place, for it is only passed by."""


@contextmanager
def tap_forward(
    paths: Mapping[nn.Module, str],
    come: Come,
    ops: bool = True,
    numbers: Callable[[], bool] = lambda: False,
    inner: Inner = lambda *_: nullcontext(),
) -> Iterator[None]:
    """Report modules entered and left, and the ops, for as long as the block lasts.

    Args:
        paths: the dotted name of each module of the model; others are passed over.
        come: what is told.
        ops: False to report no ops.
        numbers: returns whether to note, before an op writes in place, what is not finite there.
        inner: returns what stands round a backward that the forward runs by itself, at a depth, to report its nodes.
    """
    taps = _ForwardTaps(paths, come, inner)
    with ExitStack() as stack:
        for handle in (
            register_module_forward_pre_hook(taps.enter),
            register_module_forward_hook(taps.leave, always_call=True),
        ):
            stack.callback(handle.remove)
        if ops:
            stack.enter_context(hide_composites())
            stack.enter_context(tap_engine(taps.engine))
            stack.enter_context(_Ops(taps.op, numbers))
        yield


class _ForwardTaps:
    """Knows which modules are running."""

    def __init__(self, paths: Mapping[nn.Module, str], come: Come, inner: Inner) -> None:
        self._paths, self._come, self._inner = paths, come, inner
        self._thread = get_ident()
        self._running: list[tuple[str, str]] = []
        self._compiled = compiled_modules(paths)

    @property
    def _stack(self) -> tuple[str, ...]:
        return tuple(f"{path} {name}".strip() for path, name in self._running)

    def enter(self, module: nn.Module, inputs: Any) -> None:
        path = self._paths.get(module)
        # what runs on threads of the user's own can't stop: several of them may come to a place at once
        if path is None or get_ident() != self._thread:
            return
        name = type(module).__name__
        self._running.append((path, name))
        given = inputs if isinstance(inputs, tuple) else (inputs,)
        compiled = module in self._compiled
        self._tell("module", "enter", name, path, given, _keywords(sys._getframe(1)), compiled=compiled)

    def leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        path = self._paths.get(module)
        if path is None or not self._running or get_ident() != self._thread:
            return
        if sys.exc_info()[0] is None:
            given = inputs if isinstance(inputs, tuple) else (inputs,)
            compiled = module in self._compiled
            self._tell("module", "exit", type(module).__name__, path, given, {}, (output,), compiled=compiled)
        self._running.pop()

    def op(
        self,
        name: str,
        inputs: tuple[Any, ...],
        keywords: Mapping[str, Any],
        output: Any,
        was: NotFinite | None,
        compiled: bool = False,
    ) -> None:
        path = self._running[-1][0] if self._running else ""
        self._tell("op", "exit", name, path, inputs, keywords, (output,), was, compiled)

    @contextmanager
    def engine(self, call: EngineCall) -> Iterator[None]:
        if not call.seen_through:
            yield
            return
        path = self._running[-1][0] if self._running else ""
        with self._inner(call, len(self._running) + 2):
            given = {"grad_outputs": call.gradients, "inputs": call.inputs}
            self._tell("op", "enter", call.name, path, call.outputs, given)
            yield

    def _tell(
        self,
        kind: Any,
        edge: Any,
        name: str,
        path: str,
        inputs: tuple[Any, ...],
        keywords: Mapping[str, Any],
        outputs: tuple[Any, ...] | None = None,
        was: NotFinite | None = None,
        compiled: bool = False,
    ) -> None:
        depth = len(self._running) + (kind == "op")
        frame = sys._getframe(2)
        event = Event("forward", kind, edge, name, path, self._stack, depth, inputs, keywords, outputs, was=was)
        event.find_source = lambda: source_of(users_place(frame))
        event.grad_mode, event.autocast, event.compiled = torch.is_grad_enabled(), _autocast(), compiled
        # what is looked at here must neither be seen as an op of the phase nor make nodes
        with torch._C.DisableTorchFunction(), torch.no_grad():
            self._come(event)


class _Ops(Observer):
    """Calls back after every op that gives a tensor or writes one; what a composite calls inside is part of it."""

    def __init__(self, done: Callable[..., None], numbers: Callable[[], bool]) -> None:
        super().__init__()
        self._done, self._numbers = done, numbers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given, name = kwargs or {}, getattr(func, "__name__", "")
        was = _before(args) if _writes(name, given) and self._numbers() else None
        result = func(*args, **given)
        made = args[0] if name == "__setitem__" else result
        if name != "__get__" and any(True for _ in tensors_in(made, "")):
            self._done(op_name(func), args, given, made, was)
        return result

    def region_ran(self, region: Region) -> None:
        if region.module is None:  # of a module it is told by the module's hooks
            self._done(region.name, region.args, region.kwargs, region.result, None, compiled=True)


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


def source_of(place: Place | None) -> SourceLine:
    """Return a place with its text; an empty one for none."""
    if place is None:
        return SourceLine()
    return SourceLine(printable(place.file), place.line, "", printable(text_of(place)))


def users_place(frame: FrameType | None) -> Place | None:
    """Return the innermost line of the user's that is running, below what of gradstep's own stands before it."""
    while frame is not None and is_ours(frame.f_code.co_filename):
        frame = frame.f_back
    return place_of(frame)


def _autocast() -> str:
    """Return the dtype that autocast computes in; empty when it is off."""
    kind = next((kind for kind in ("cuda", "cpu", "mps") if torch.is_autocast_enabled(kind)), "")
    return str(torch.get_autocast_dtype(kind)).removeprefix("torch.") if kind else ""


@contextmanager
def tap_backward(
    graph: GraphRecord,
    line_of: Callable[[int], SourceLine],
    types: Mapping[str, str],
    names: Mapping[Tensor, str],
    come: Come,
    passes: Passes = lambda *_: False,
    gathers: Callable[[int], bool] = lambda _: True,
) -> Iterator[None]:
    """Report every node of a graph before and after it runs, for as long as the block lasts.

    Args:
        graph: the graph that the backward runs through.
        line_of: gives the line that made node i.
        types: the class of each module, by path.
        names: the name of each parameter.
        come: what is told; called under `no_grad`.
        passes: asked before a place is reported, which costs much more than to ask.
        gathers: tells of which nodes what meets there is gathered: it is kept alive until the node has run.
    """
    taps = _BackwardTaps(graph, line_of, types, names, come, passes, gathers)
    # on a GPU the engine would call the hooks on a thread of its own
    with torch.autograd.set_multithreading_enabled(False):
        try:
            with ExitStack() as stack:
                with collector_paused():
                    for number, node in enumerate(graph.nodes):
                        stack.callback(node.register_prehook(taps.before(number)).remove)
                        stack.callback(node.register_hook(taps.after(number)).remove)
                yield
        finally:
            taps.over = True


class _BackwardTaps:
    """Gathers what meets at a node, in the order in which it arrives."""

    def __init__(
        self,
        graph: GraphRecord,
        line_of: Callable[[int], SourceLine],
        types: Mapping[str, str],
        names: Mapping[Tensor, str],
        come: Come,
        passes: Passes,
        gathers: Callable[[int], bool],
    ) -> None:
        self._graph, self._come, self._passes, self._line_of = graph, come, passes, line_of
        self._stack = cache(lambda path: module_stack(path, types))
        self._places = {node: i for i, node in enumerate(graph.nodes)}
        leaves = ((i, leaf_tensor(node)) for i, node in enumerate(graph.nodes))
        self._names = {i: names[leaf] for i, leaf in leaves if leaf is not None and leaf in names}
        self._meeting = frozenset(filter(gathers, _met(graph)))
        self._addends: dict[int, list[tuple[int, int, Tensor]]] = {}
        self.over = False
        """True after the block: a hook that an interrupt kept from being removed tells nothing any more."""
        self._by_hand: tuple[int, Mapping[str, tuple[str, str]]] = (-1, {})
        """What was changed before the node of this number: it runs right after that."""

    def before(self, number: int) -> Callable[[tuple[Tensor, ...]], tuple[Any, ...] | None]:
        def hook(arrived: tuple[Tensor, ...]) -> tuple[Any, ...] | None:
            if self.over:
                return None
            event = self._tell(number, "before", arrived, None)
            if event is None or not event.by_hand:
                return None
            self._by_hand = (number, event.by_hand)
            return event.inputs

        return hook

    def after(self, number: int) -> Callable[[tuple[Tensor, ...], tuple[Tensor, ...]], tuple[Any, ...] | None]:
        def hook(left: tuple[Tensor, ...], arrived: tuple[Tensor, ...]) -> tuple[Any, ...] | None:
            if self.over:
                return None
            event = self._tell(number, "after", arrived, left)
            self._addends.pop(number, None)
            changed = event.outputs if event is not None and event.made is not None else None
            left = left if changed is None else changed
            for edge, ((following, _), value) in enumerate(
                zip(self._graph.nodes[number].next_functions, left, strict=False)
            ):
                place = self._places.get(following) if following is not None else None
                if place in self._meeting and value is not None:
                    self._addends.setdefault(place, []).append((number, edge, value))
            return changed

        return hook

    def _tell(self, number: int, edge: Any, arrived: tuple[Any, ...], left: tuple[Any, ...] | None) -> Event | None:
        parameter = self._names.get(number, "")
        if self._passes(number, left is not None, parameter):
            return None
        node = self._graph.nodes[number]
        owner = parameter.rpartition(".")[0] if parameter else self._graph.owners[number]
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
            by_hand=self._by_hand[1] if left is not None and self._by_hand[0] == number else {},
        )
        with torch.no_grad():
            self._come(event)
        return event


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
