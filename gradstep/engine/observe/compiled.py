"""Compiled regions: hooks and modes are removed while one runs, for `torch.compile` would trace them.

A hook or mode that Dynamo traces breaks the region or makes it compile again, and what it reports would be that of the
trace. So a region is one operation: it runs as it runs without gradstep, and is reported when it has ended. Torch calls
`torch._dynamo.eval_frame._maybe_set_eval_frame` as a region begins and ends, so that is replaced while a forward runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from threading import local
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import Node
from torch.nn.modules import module as hooks_of_all
from torch.overrides import TorchFunctionMode

from gradstep.engine.observe import composites
from gradstep.engine.problems import is_ours


@dataclass
class Region:
    """One call of a compiled function."""

    frame: FrameType
    """Torch's frame that runs it, above the user's frame that called it."""
    function: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    before: int
    """The autograd sequence number as it began."""
    result: Any = None
    modes: list[TorchFunctionMode] = field(default_factory=list)
    """The torch-function modes that were active when it was called."""
    uncovered: AbstractContextManager[object] = field(default_factory=nullcontext)
    raised: BaseException | None = None
    """What a consumer raised as it began or ended, to be raised later: torch would not clean up at that point."""

    @property
    def module(self) -> nn.Module | None:
        """The module that was compiled; None for a function."""
        found = self.function
        while hasattr(found, "__wrapped__"):  # a wrapper of torch's
            found = found.__wrapped__
        if getattr(found, "__name__", "") in ("_call_impl", "_wrapped_call_impl"):  # not `forward`: that has no hooks
            found = found.__self__
        return found if isinstance(found, nn.Module) else None

    @property
    def name(self) -> str:
        """The name in messages, e.g. `compiled Net`."""
        module = self.module
        name = type(module).__name__ if module is not None else getattr(self.function, "__qualname__", "function")
        return f"compiled {name.removesuffix('.forward').rpartition('<locals>.')[2]}"

    def call(self, function: Callable[..., None], *args: Any) -> None:
        """Call a function with this region, and keep what it raises."""
        try:
            function(self, *args)
        except BaseException as error:
            self.raised = self.raised or error


def compiled_modules(modules: Iterable[nn.Module]) -> set[nn.Module]:
    """Return the modules that were compiled; not those inside them."""
    dynamo: Any = sys.modules.get("torch._dynamo.eval_frame")
    if dynamo is None or dynamo._stance.stance == "force_eager":
        return set()
    several = list(modules)
    wrapped = {module._orig_mod for module in several if isinstance(module, dynamo.OptimizedModule)}
    return {module for module in several if module in wrapped or module._compiled_call_impl is not None}


def runs_once(nodes: Iterable[Node]) -> bool:
    """Return whether a backward through these nodes can run only once: one of them is a compiled region.

    To keep its graph alive, torch would compile its backward again, or refuse, where it reuses the memory of what it
    saved (torch/_functorch/_aot_autograd/runtime_wrappers.py, `_backward_impl`).
    """
    return any(node.name() == "CompiledFunctionBackward" for node in nodes)


class Regions:
    """The regions that run: at most one on each thread. Module hooks are global to all threads.

    Args:
        begins: called with each region that begins, on its thread.
        ended: called with each region that has ended, and whether it failed.
        lift: removes all other hooks while `running`, and installs them again.
    """

    def __init__(
        self, begins: Callable[[Region], None], ended: Callable[[Region, bool], None], lift: Callable[[], None]
    ) -> None:
        self._begins, self._ended, self._lift = begins, ended, lift
        self._own: list[tuple[Any, str, Any, Any]] = []
        """What is replaced: owner, name, torch's own, and the replacement."""
        self._thread = local()
        self._regions: set[int] = set()
        """The ids of the regions that run."""

    @property
    def running(self) -> bool:
        """True while one runs, on whatever thread."""
        return bool(self._regions)

    def put(self, there: bool) -> None:
        """Begin to watch for regions, or end it. An interrupt may come at any line: the next call does the rest."""
        dynamo: Any = sys.modules.get("torch._dynamo.eval_frame")  # torch imports it with the first optimizer
        if there and hasattr(dynamo, "_maybe_set_eval_frame"):
            self._own = self._own or [
                (dynamo, "_maybe_set_eval_frame", dynamo._maybe_set_eval_frame, self._switch),
                # for a global hook of gradstep's own, OptimizedModule would warn
                (hooks_of_all, "_has_any_global_hook", hooks_of_all._has_any_global_hook, _others_hook),
            ]
            for owner, name, _, ours in self._own:
                setattr(owner, name, ours)
        elif not there and not self.running:
            for owner, name, own, _ in self._own:
                setattr(owner, name, own)
            self._own = []

    def _switch(self, callback: Any) -> Any:
        """Stand in for torch's: called with Dynamo's callback as a region begins, with the one before as it ends.

        After torch's own has switched to a callback nothing may be called any more: Dynamo would trace it.
        """
        switch = self._own[0][2]
        if callback is None and not self._regions:  # as around each function that Dynamo is told to leave alone
            return switch(callback)
        frame = sys._getframe(1)
        running: list[Region] = self._thread.__dict__.setdefault("running", [])
        place = next((i for i, region in enumerate(running) if region.frame is frame), None)
        if place is None and callback is not None:
            self._begin(running, frame)
        elif place is not None:
            ended = running[place]
            del running[place:]
            if not place:  # the outermost; what runs within a region is part of it
                before = switch(callback)
                self._end(ended)
                return before
        return switch(callback)

    def _begin(self, running: list[Region], frame: FrameType) -> None:
        known = frame.f_locals
        number = torch.autograd._get_sequence_nr()  # type: ignore[attr-defined]
        region = Region(frame, known.get("fn"), known.get("args", ()), known.get("kwargs", {}), number)
        running.append(region)
        if len(running) > 1:
            return
        region.call(self._begins)
        region.modes = function_modes()
        set_function_modes([mode for mode in region.modes if not _is_our_mode(mode)])
        region.uncovered = composites.HERE.uncovered()
        region.uncovered.__enter__()
        self._regions.add(id(region))
        self._lift()

    def _end(self, region: Region) -> None:
        self._regions.discard(id(region))
        self._lift()
        region.uncovered.__exit__(None, None, None)
        set_function_modes(region.modes)
        known = region.frame.f_locals
        failed = "result" not in known if "result" in region.frame.f_code.co_varnames else sys.exc_info()[0] is not None
        region.result = known.get("result")
        region.call(self._ended, failed)
        if region.raised is not None and not failed:
            raise region.raised


def function_modes() -> list[TorchFunctionMode]:
    """Return the function modes of this thread, bottom first."""
    return [torch._C._get_function_stack_at(i) for i in range(torch._C._len_torch_function_stack())]


def set_function_modes(modes: list[TorchFunctionMode]) -> None:
    """Make these the function modes of this thread, bottom first."""
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
