"""What a training loop calls after a backward: optimizers, scalers, schedulers, clipping, `zero_grad`."""

from __future__ import annotations

import sys
from functools import wraps
from typing import Any

from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.utils import clip_grad
from torch.optim import Optimizer, lr_scheduler
from torch.optim import optimizer as optimizers

from gradstep.engine.observe import stream
from gradstep.engine.observe.hooks.forward import sweep
from gradstep.engine.observe.hooks.installed import Hook, Replacement
from gradstep.engine.observe.subscriptions import emit


def _step_begins(optimizer: Optimizer, *_: Any) -> None:
    sweep()
    emit(stream.StepEntered(optimizer, sys._getframe(1)))


def _step_ended(optimizer: Optimizer, *_: Any) -> None:
    emit(stream.StepLeft(optimizer))


def _maybe_opt_step(self: GradScaler, optimizer: Optimizer, state: Any, *args: Any, **kwargs: Any) -> Any:
    """Stand in the place of what asks whether a gradient is inf or NaN, and calls `step` where none is."""
    made = _SCALER.own(self, optimizer, state, *args, **kwargs)
    if any(found.item() for found in state["found_inf_per_device"].values()):
        emit(stream.StepSkipped(optimizer))
    return made


def _optimizer_zero_grad(self: Optimizer, set_to_none: bool = True) -> None:
    sweep()
    emit(stream.ZeroEntered(self, sys._getframe()))
    _OPTIMIZER_ZERO_GRAD.own(self, set_to_none)
    emit(stream.Zeroed(self, set_to_none))


def _module_zero_grad(self: nn.Module, set_to_none: bool = True) -> None:
    sweep()
    emit(stream.ZeroEntered(self, sys._getframe()))
    _MODULE_ZERO_GRAD.own(self, set_to_none)
    emit(stream.Zeroed(self, set_to_none))


_CLIPS = frozenset({"_clip_grads_with_norm_", "clip_grad_value_"})


def _group_to_clip(tensors: Any, *args: Any) -> Any:
    """Stand in the place of what groups the gradients before they are clipped, however clipping was imported."""
    if sys._getframe(1).f_code.co_name in _CLIPS:
        emit(stream.GradientsClipped(tuple(tensors[0])))
    return _CLIPPING.own(tensors, *args)


def _norm_to_clip(tensors: Any, *args: Any, **kwargs: Any) -> Any:
    """Replace what computes the norm of the gradients, which is also called without any."""
    if not tensors and sys._getframe(1).f_code.co_name == "clip_grad_norm_":
        emit(stream.GradientsClipped(()))
    return _NORM.own(tensors, *args, **kwargs)


def _scheduler_step(of: type) -> Replacement:
    """Return the replacement of `step` of a scheduler's class."""

    @wraps(vars(of)["step"])
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not getattr(self, "_is_initial", False):  # not the call of its constructor
            emit(stream.SchedulerSteps(self))
        return made.own(self, *args, **kwargs)

    made = Replacement(frozenset({stream.SchedulerSteps}), of, "step", step)
    return made


def _scaler_call(name: Any) -> Replacement:
    """Return the replacement of a method of a `GradScaler`."""

    @wraps(vars(GradScaler)[name])
    def call(self: GradScaler, *args: Any, **kwargs: Any) -> Any:
        if not self.is_enabled():
            return made.own(self, *args, **kwargs)
        if name != "scale":
            emit(stream.ScalerCalled(self, name, args[0] if args else None))
            return made.own(self, *args, **kwargs)
        result = made.own(self, *args, **kwargs)
        emit(stream.ScalerCalled(self, name, result))
        return result

    made = Replacement(frozenset({stream.ScalerCalled}), GradScaler, name, call)
    return made


_SCALER = Replacement(frozenset({stream.StepSkipped}), GradScaler, "_maybe_opt_step", _maybe_opt_step)
_ZEROED: frozenset[type] = frozenset({stream.ZeroEntered, stream.Zeroed})
_CLIPPING = Replacement(
    frozenset({stream.GradientsClipped}), clip_grad, "_group_tensors_by_device_and_dtype", _group_to_clip
)
_NORM = Replacement(frozenset({stream.GradientsClipped}), clip_grad, "_get_total_norm", _norm_to_clip)
_OPTIMIZER_ZERO_GRAD = Replacement(_ZEROED, Optimizer, "zero_grad", _optimizer_zero_grad)
_MODULE_ZERO_GRAD = Replacement(_ZEROED, nn.Module, "zero_grad", _module_zero_grad)
HOOKS: tuple[Hook | Replacement, ...] = (
    Hook(frozenset({stream.StepEntered}), optimizers._global_optimizer_pre_hooks, _step_begins),
    Hook(frozenset({stream.StepLeft}), optimizers._global_optimizer_post_hooks, _step_ended),
    _SCALER,
    *map(_scaler_call, ("scale", "unscale_", "step", "update")),
    *[
        _scheduler_step(each)
        for each in vars(lr_scheduler).values()
        if isinstance(each, type) and issubclass(each, lr_scheduler.LRScheduler) and "step" in vars(each)
    ],
    _CLIPPING,
    _NORM,
    _OPTIMIZER_ZERO_GRAD,
    _MODULE_ZERO_GRAD,
)
