"""The stop places of a forward: modules, ops, and the nodes of a backward that the forward runs itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from gradstep.engine.autograd.graph import GraphRecord
from gradstep.engine.numbers.nonfinite import FINITE, NotFinite, not_finite
from gradstep.engine.observe.compiled import compiled_modules
from gradstep.engine.observe.engine_calls import EngineCall
from gradstep.engine.observe.observer import observe
from gradstep.engine.observe.source_lines import op_name, source_of, users_place
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
from gradstep.engine.stepping.backward_places import BackwardPlaces, Reach
from gradstep.engine.stepping.stop_places import StopPlace
from gradstep.engine.tensor_trees import tensors_in


class ForwardPlaces:
    """Makes stop places of modules entered and left, of ops, and of the nodes of a backward that the forward runs.

    Args:
        paths: the dotted name of each module of the model; others are passed over.
        reach: called at each place, under `no_grad`.
        numbers: returns whether to look for NaN and inf in a tensor before an op writes it in place.
        inner: returns the places of a backward that the forward runs, given its depth.
        inner_left: called when that backward has ended.
    """

    def __init__(
        self,
        paths: Mapping[nn.Module, str],
        reach: Reach,
        numbers: Callable[[], bool],
        inner: Callable[[EngineCall, int], BackwardPlaces],
        inner_left: Callable[[], None],
    ) -> None:
        self._paths, self._reach, self._numbers = paths, reach, numbers
        self._inner, self._inner_left = inner, inner_left
        self._running: list[tuple[str, str]] = []
        self._compiled = compiled_modules(paths)
        self._was: NotFinite | None = None
        self._nodes: BackwardPlaces | None = None

    @contextmanager
    def watch(self, ops: bool) -> Iterator[None]:
        """Reach each place of a forward that the block runs; without `ops` those of modules only."""
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

    # what runs on threads of the user's own can't stop: several may reach a place at once
    def _entered(self, event: ModuleEntered) -> None:
        module, path = event.module, self._paths.get(event.module)
        if path is None:
            return
        name = type(module).__name__
        self._running.append((path, name))
        compiled = module in self._compiled
        self._reached(
            "module", "enter", name, path, _several(event.given), _keywords(event.frame), event.frame, compiled=compiled
        )

    def _left(self, event: ModuleLeft) -> None:
        module, path = event.module, self._paths.get(event.module)
        if path is None or not self._running:
            return
        if not event.raised:
            name, compiled = type(module).__name__, module in self._compiled
            given, outputs = _several(event.given), (event.output,)
            self._reached("module", "exit", name, path, given, {}, event.frame, outputs, compiled=compiled)
        self._running.pop()

    def _op_starts(self, event: OpStarts) -> None:
        writes = _writes(getattr(event.func, "__name__", ""), event.kwargs)
        self._was = _before(event.args) if writes and self._numbers() else None

    def _op_ran(self, event: OpRan) -> None:
        """Reach the place after an op that returns a tensor or writes one."""
        own = getattr(event.func, "__name__", "")
        made = event.args[0] if own == "__setitem__" else event.result
        if own != "__get__" and any(True for _ in tensors_in(made, "")):
            name, was = op_name(event.func), self._was
            self._reached("op", "exit", name, self._path, event.args, event.kwargs, event.frame, (made,), was)

    def _region_ran(self, event: RegionRan) -> None:
        if event.module is None:  # that of a module is its place as the module is left
            made = (event.result,)
            self._reached(
                "op", "exit", event.name, self._path, event.args, event.kwargs, event.frame, made, compiled=True
            )

    @property
    def _path(self) -> str:
        return self._running[-1][0] if self._running else ""

    def _graph(self, call: EngineCall) -> GraphRecord | None:
        """Return the graph of a backward that the forward runs; None where its nodes can't be stopped at."""
        if not call.seen_through:
            return None
        self._nodes = self._inner(call, len(self._running) + 2)
        given = {"grad_outputs": call.gradients, "inputs": call.inputs}
        self._reached("op", "enter", call.name, self._path, call.outputs, given, sys._getframe(1))
        return self._nodes.graph

    def _engine_left(self, event: EngineLeft) -> None:
        if not event.depth and self._nodes is not None:
            self._nodes = None
            self._inner_left()

    def _reached(
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
        place = StopPlace("forward", kind, edge, name, path, stack, depth, inputs, keywords, outputs, was=was)
        place.find_source = lambda: source_of(users_place(frame))
        place.grad_mode, place.autocast, place.compiled = torch.is_grad_enabled(), _autocast(), compiled
        # what is computed here is not an op of the phase, and makes no nodes
        with torch._C.DisableTorchFunction(), torch.no_grad():
            self._reach(place)


def _several(given: Any) -> tuple[Any, ...]:
    return given if isinstance(given, tuple) else (given,)


def _writes(name: str, keywords: Mapping[str, Any]) -> bool:
    """Return whether an op writes its first argument in place, by its name."""
    return (name.endswith("_") and not name.endswith("__")) or name == "__setitem__" or bool(keywords.get("inplace"))


def _before(args: tuple[Any, ...]) -> NotFinite:
    """Return what is not finite in an op's first argument."""
    with torch._C.DisableTorchFunction(), torch.no_grad():
        return not_finite(args[0]) if args and isinstance(args[0], Tensor) else FINITE


def _keywords(frame: FrameType | None) -> Mapping[str, Any]:
    """Return the keyword arguments of a module's call, which torch does not pass to global pre-hooks."""
    for _ in range(5):
        if frame is None:
            return {}
        if frame.f_code.co_name in ("_call_impl", "inner", "compile_wrapper"):
            found = frame.f_locals.get("kwargs")
            return found if isinstance(found, dict) else {}
        frame = frame.f_back
    return {}


def _autocast() -> str:
    """Return the dtype that autocast casts to; empty when it is off."""
    kind = next((kind for kind in ("cuda", "cpu", "mps") if torch.is_autocast_enabled(kind)), "")
    return str(torch.get_autocast_dtype(kind)).removeprefix("torch.") if kind else ""
