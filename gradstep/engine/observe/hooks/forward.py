"""Modules, operations, custom Functions and compiled regions."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch import nn, overrides
from torch.nn.modules import module as hooks_of_all
from torch.overrides import TorchFunctionMode
from torch.utils._device import DeviceContext

from gradstep.engine.observe import composites, stream
from gradstep.engine.observe.compiled import Region, function_modes, set_function_modes
from gradstep.engine.observe.hooks.installed import Hook, Replacement
from gradstep.engine.observe.subscriptions import HERE, OPS, SUBSCRIBED, emit

_number: Callable[[], int] = torch.autograd._get_sequence_nr  # type: ignore[attr-defined]
"""Returns the sequence number that the next node on this thread will have."""
_BACKWARD = torch.Tensor.backward


# -- modules -----------------------------------------------------------------------------------------------------------
def _call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """Replace `nn.Module.__call__`: of the outermost module only, so that submodules keep torch's fast path."""
    if HERE.called:
        return _CALL.own(self, *args, **kwargs)
    sweep()
    output, raised, HERE.called = None, True, True
    try:
        emit(stream.CallEntered(self, args, kwargs, sys._getframe(1)))
        output = _CALL.own(self, *args, **kwargs)
        raised = False
        return output
    finally:
        HERE.called = False
        emit(stream.CallLeft(self, output, raised))


def _enter(module: nn.Module, given: Any) -> None:
    emit(stream.ModuleEntered(module, given, sys._getframe(1)))
    if HERE.mode is not None:
        composites.HERE.enter(module)


def _leave(module: nn.Module, given: Any, output: Any) -> None:
    raised, frame = sys.exc_info()[0] is not None, sys._getframe(1)
    if HERE.mode is not None and composites.HERE.leave(module) and not raised:
        emit(stream.CompositeRan(module, given, output, frame))
    emit(stream.ModuleLeft(module, given, output, raised, frame))


# -- operations --------------------------------------------------------------------------------------------------------
class Operations(TorchFunctionMode):
    """Observes the operations that Python code calls on its thread; what an operation calls is part of it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        frame, given = sys._getframe(1), kwargs or {}
        if func is torch.Tensor.backward:
            func = _BACKWARD  # `Tensor.backward` calls by its name what the user may have put in its place
        if self is HERE.over:
            return func(*args, **given)
        if stream.OpStarts in SUBSCRIBED:
            emit(stream.OpStarts(func, args, given, frame))
        before = _number()
        result = func(*args, **given)
        changed = emit(stream.OpRan(func, args, given, result, before, _number(), frame))
        return result if changed is None else changed


def put_on_stack(mode: TorchFunctionMode) -> None:
    """Put a mode under those that the user's code has entered and will leave: leaving one pops the top of the stack.

    Only a default device stands below it, as torch demands (torch/utils/_device.py, `DeviceContext`).
    """
    modes = function_modes()
    place = 1 if modes and isinstance(modes[0], DeviceContext) else 0
    set_function_modes([*modes[:place], mode, *modes[place:]])


def take_off_stack() -> None:
    """Take our mode off the stack; where an operation runs, which holds it, at the next event after that."""
    HERE.over, HERE.mode = HERE.mode, None
    sweep()


def sweep() -> None:
    """Take a mode off the stack that is no longer needed."""
    if HERE.over is not None:
        modes = function_modes()
        if HERE.over in modes:
            set_function_modes([mode for mode in modes if mode is not HERE.over])
            HERE.over = None


def _show_warning(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
    """Show a warning at the line that called the operation: torch names its innermost caller, which is in this file."""
    frame: FrameType | None = sys._getframe(1) if filename == __file__ else None
    while frame is not None and frame.f_code.co_filename != __file__:
        frame = frame.f_back
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    if frame is not None and frame.f_code.co_filename == overrides.__file__:
        while frame is not None and frame.f_code.co_filename == overrides.__file__:
            frame = frame.f_back
        frame = None if frame is None else frame.f_back  # past the function that was called, which calls `overrides`
    if frame is not None:
        if not _is_first(str(message), category, lineno, frame):
            return
        filename, lineno, line = frame.f_code.co_filename, frame.f_lineno, None
    _WARNINGS.own(message, category, filename, lineno, file, line)


def _is_first(text: str, category: Any, lineno: int, frame: FrameType) -> bool:
    """Note a warning of this file at the line of a frame, as `warnings` does; return False where it is known there.

    See `warn_explicit` in warnings.py: what it shows only once for each line, it notes in the module's registry.
    """
    ours: dict[Any, Any] = globals().get("__warningregistry__", {})
    if (text, category, lineno) not in ours:  # it is shown always
        return True
    del ours[text, category, lineno]  # another line may call the operation next
    theirs = frame.f_globals.setdefault("__warningregistry__", {})
    if theirs.get("version") != ours.get("version"):
        theirs.clear()
        theirs["version"] = ours.get("version")
    known = (text, category, frame.f_lineno) in theirs
    theirs[text, category, frame.f_lineno] = True
    return not known


def region_begins(region: Region) -> None:
    """Emit the call of the module that a compiled region is of."""
    if region.module is not None:
        emit(stream.ModuleEntered(region.module, region.args, region.frame))


def region_ended(region: Region, failed: bool) -> None:
    """Emit the end of a compiled region."""
    module, args, frame = region.module, region.args, region.frame
    if module is not None:
        emit(stream.ModuleLeft(module, args, region.result, failed, frame))
    if not failed:
        known = (region.name, module, args, region.kwargs, region.result, region.before, _number(), frame)
        emit(stream.RegionRan(*known))


# -- custom functions --------------------------------------------------------------------------------------------------
def _apply(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Stand behind `Function.apply`, in its base class: `apply` may be bound before (`act = Act.apply`).

    See torch/autograd/function.py, `_SingleLevelFunction`. Within a vmap it takes another way.
    """
    frame, result, raised = sys._getframe(1), None, True
    emit(stream.FunctionEntered(function, args, _number(), frame))
    try:
        result = super(torch.autograd.function._SingleLevelFunction, function).apply(*args, **kwargs)
        raised = False
    finally:
        emit(stream.FunctionLeft(function, args, result, raised, frame))
    return result


_CALL = Replacement(frozenset({stream.CallEntered, stream.CallLeft}), nn.Module, "__call__", _call)
_FUNCTIONS = frozenset({stream.FunctionEntered, stream.FunctionLeft})
_WARNINGS = Replacement(OPS | _FUNCTIONS, warnings, "showwarning", _show_warning)
HOOKS: tuple[Hook | Replacement, ...] = (
    Hook(OPS | {stream.ModuleEntered}, hooks_of_all._global_forward_pre_hooks, _enter),
    Hook(
        OPS | {stream.ModuleLeft},
        hooks_of_all._global_forward_hooks,
        _leave,
        hooks_of_all._global_forward_hooks_always_called,
    ),
    Replacement(_FUNCTIONS, torch.autograd.function._SingleLevelFunction, "apply", classmethod(_apply)),
    _CALL,
    _WARNINGS,
)
