"""Compiled regions: what observes a forward is taken away while one runs, for `torch.compile` traces whatever it meets.

A hook or mode that Dynamo traces breaks the region or makes it compile again, and what it reports would be that of the
trace. So a region is one operation: it runs as it runs without gradstep, and is reported when it has ended. Torch calls
`torch._dynamo.eval_frame._maybe_set_eval_frame` as a region begins and ends, so that is replaced while a forward runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import Lock, local
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import Node
from torch.nn.modules import module as hooks_of_all
from torch.overrides import TorchFunctionMode

from gradstep.engine.observe.composites import uncovered
from gradstep.engine.problems import is_ours


@dataclass
class Region:
    """One call of a compiled function."""

    frame: FrameType
    """The frame of torch's that runs it; the user's line that called it lies below."""
    function: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    before: int
    """The autograd sequence number as it began."""
    result: Any = None
    modes: list[TorchFunctionMode] = field(default_factory=list)
    """The stack of modes that it was called under."""
    uncovered: ExitStack = field(default_factory=ExitStack)
    raised: BaseException | None = None
    """What one of gradstep's hooks raised as it began: torch would not clean up after it there."""

    @property
    def module(self) -> nn.Module | None:
        """The module that was compiled; None for a function."""
        found = self.function
        while hasattr(found, "__wrapped__"):  # torch puts a frame of its own around what has none
            found = found.__wrapped__
        if getattr(found, "__name__", "") in ("_call_impl", "_wrapped_call_impl"):  # not `forward`: that has no hooks
            found = found.__self__
        return found if isinstance(found, nn.Module) else None

    def call(self, hooks: Mapping[int, Callable[..., Any]], *args: Any) -> None:
        """Call gradstep's own among some global module hooks: torch calls none of them for a compiled module."""
        for hook in filter(_is_ours, list(hooks.values())):
            try:
                hook(self.module, *args)
            except BaseException as error:
                self.raised = self.raised or error

    @property
    def name(self) -> str:
        """What is compiled, e.g. `compiled Net`."""
        module = self.module
        name = type(module).__name__ if module is not None else getattr(self.function, "__qualname__", "function")
        return f"compiled {name.removesuffix('.forward').rpartition('<locals>.')[2]}"


class Observer(TorchFunctionMode):
    """A mode that is told of each compiled region as of one operation."""

    def region_ran(self, region: Region) -> None:
        """Take note of a region that has ended, called on its thread; not of one that raised."""


def compiled_modules(modules: Iterable[nn.Module]) -> set[nn.Module]:
    """Return those modules that run as one compiled region: each that was compiled, none of those inside it."""
    dynamo: Any = sys.modules.get("torch._dynamo.eval_frame")
    if dynamo is None or dynamo._stance.stance == "force_eager":
        return set()
    several = list(modules)
    wrapped = {module._orig_mod for module in several if isinstance(module, dynamo.OptimizedModule)}
    return {module for module in several if module in wrapped or module._compiled_call_impl is not None}


def runs_once(nodes: Iterable[Node]) -> bool:
    """Return whether a backward through these nodes may run once only: one of them is a compiled region.

    To keep its graph alive, torch would compile its backward again, or refuse, where it reuses the memory of what it
    saved (torch/_functorch/_aot_autograd/runtime_wrappers.py, `_backward_impl`).
    """
    return any(node.name() == "CompiledFunctionBackward" for node in nodes)


@contextmanager
def keep_regions_whole() -> Iterator[None]:
    """Take what observes a forward away while a compiled region runs, for as long as the block lasts.

    That is every module hook and `TorchFunctionMode` of gradstep's, and what `replaced` has put into torch.
    """
    dynamo: Any = sys.modules.get("torch._dynamo.eval_frame")  # torch imports it with the first optimizer
    switch = getattr(dynamo, "_maybe_set_eval_frame", None)
    if switch is None or isinstance(getattr(switch, "__self__", None), _Regions):
        yield
        return
    with (
        replaced(hooks_of_all, "_has_any_global_hook", _others_hook),  # for gradstep's own, OptimizedModule would warn
        replaced(dynamo, "_maybe_set_eval_frame", _Regions(switch).switch, inside=True),
    ):
        yield


REPLACED: list[tuple[Any, str, Any, Any]] = []
"""What is put into torch, and taken out while a region runs: owner, name, torch's own, and the replacement."""


@contextmanager
def replaced(owner: Any, name: str, value: Any, inside: bool = False) -> Iterator[None]:
    """Replace an attribute of torch's for as long as the block lasts; within a compiled region only if told."""
    entry = (owner, name, getattr(owner, name), value)
    if not inside:
        REPLACED.append(entry)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if not inside:
            REPLACED.remove(entry)
        setattr(owner, name, entry[2])


class _Regions:
    """Knows which regions run. Several threads may be in one each; module hooks are there for all threads."""

    def __init__(self, switch: Callable[[Any], Any]) -> None:
        self._switch = switch
        self._thread = local()
        self._lock, self._running = Lock(), 0
        self._put_back = ExitStack()

    def switch(self, callback: Any) -> Any:
        """Stand in for torch's: called with Dynamo's callback as a region begins, with the one before as it ends.

        After torch's own has switched to a callback nothing may be called any more: Dynamo would trace it.
        """
        frame = sys._getframe(1)
        running: list[Region] = self._thread.__dict__.setdefault("running", [])
        place = next((i for i, region in enumerate(running) if region.frame is frame), None)
        if place is None and callback is not None:
            self._begin(running, frame)
        elif place is not None:
            ended = running[place]
            del running[place:]
            if not place:  # the outermost; what runs within a region is part of it
                before = self._switch(callback)
                self._end(ended)
                return before
        return self._switch(callback)

    def _begin(self, running: list[Region], frame: FrameType) -> None:
        known = frame.f_locals
        number = torch.autograd._get_sequence_nr()  # type: ignore[attr-defined]
        region = Region(frame, known.get("fn"), known.get("args", ()), known.get("kwargs", {}), number)
        running.append(region)
        if len(running) > 1:
            return
        if region.module is not None:
            region.call(hooks_of_all._global_forward_pre_hooks, region.args)
        region.modes = _modes()
        _set_modes([mode for mode in region.modes if not _is_our_mode(mode)])
        region.uncovered.enter_context(uncovered())
        with self._lock:
            self._running += 1
            if self._running == 1:
                self._put_back.enter_context(_nothing_of_ours())

    def _end(self, region: Region) -> None:
        with self._lock:
            self._running -= 1
            if self._running == 0:
                self._put_back.close()
        region.uncovered.close()
        _set_modes(region.modes)
        known = region.frame.f_locals
        failed = "result" not in known if "result" in region.frame.f_code.co_varnames else sys.exc_info()[0] is not None
        region.result = known.get("result")
        if region.module is not None:
            always = hooks_of_all._global_forward_hooks_always_called
            hooks = hooks_of_all._global_forward_hooks
            region.call({k: hook for k, hook in hooks.items() if not failed or k in always}, region.args, region.result)
        for mode in region.modes:
            if isinstance(mode, Observer) and not failed:
                mode.region_ran(region)
        if region.raised is not None and not failed:
            raise region.raised


@contextmanager
def _nothing_of_ours() -> Iterator[None]:
    """Take gradstep's module hooks, and what it has replaced in torch, away."""
    tables: tuple[dict[int, Any], ...] = (
        hooks_of_all._global_forward_pre_hooks,
        hooks_of_all._global_forward_hooks,
        hooks_of_all._global_forward_hooks_always_called,
    )
    numbers = {k for table in tables[:2] for k, hook in table.items() if _is_ours(hook)}
    taken = [{k: table.pop(k) for k in list(table) if k in numbers} for table in tables]
    for owner, name, own, _ in REPLACED:
        setattr(owner, name, own)
    try:
        yield
    finally:
        for table, hooks in zip(tables, taken, strict=True):
            table.update(hooks)
        for owner, name, _, value in REPLACED:
            setattr(owner, name, value)


def _modes() -> list[TorchFunctionMode]:
    return [torch._C._get_function_stack_at(i) for i in range(torch._C._len_torch_function_stack())]


def _set_modes(modes: list[TorchFunctionMode]) -> None:
    for _ in range(torch._C._len_torch_function_stack()):
        torch._C._pop_torch_function_stack()
    for mode in modes:
        torch._C._push_on_torch_function_stack(mode)


def _is_our_mode(mode: TorchFunctionMode) -> bool:
    return type(mode).__module__.startswith("gradstep.")


def _is_ours(hook: Any) -> bool:
    code = getattr(hook, "__code__", None)
    return code is not None and is_ours(code.co_filename)


def _others_hook() -> bool:
    """Return whether there is a global module hook that is not gradstep's, as torch's `_has_any_global_hook`."""
    tables = (
        hooks_of_all._global_backward_pre_hooks,
        hooks_of_all._global_backward_hooks,
        hooks_of_all._global_forward_pre_hooks,
        hooks_of_all._global_forward_hooks,
    )
    return any(not _is_ours(hook) for table in tables for hook in table.values())
