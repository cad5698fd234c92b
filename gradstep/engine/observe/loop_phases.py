"""Which phase of a training loop runs, seen by watching torch: it does not matter who calls it.

A held workload and a script that gradstep does not drive give the same phases.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import FrameType, MappingProxyType
from typing import Any, Literal

import torch
from msgspec import Struct
from torch import Tensor
from torch.utils.checkpoint import CheckpointFunction

from gradstep.engine.observe.engine_calls import EngineCall, is_transformed
from gradstep.engine.observe.stream import (
    CallEntered,
    CallLeft,
    Consumer,
    EngineEntered,
    EngineLeft,
    StepEntered,
    StepLeft,
    StepSkipped,
    Zeroed,
    ZeroEntered,
)

Name = Literal["forward", "backward", "step", "zero_grad"]


_NONE: Mapping[str, Any] = MappingProxyType({})


class Phase(Struct, frozen=True, eq=False):
    """A phase begins, has ended, or is a step that was skipped."""

    name: Name
    edge: Literal["begins", "ended", "skipped"]
    of: Any
    """The outermost module, the `EngineCall`, the optimizer, or who cleared; None for a forward without modules."""
    within: tuple[str, ...] = ()
    """The phases that it runs in, outermost first: a closure is called inside `step`."""
    grad_mode: bool = True
    """False for a forward without a graph: evaluation, a teacher, a target network."""
    args: tuple[Any, ...] = ()
    """Of a forward that begins, the arguments of the module."""
    kwargs: Mapping[str, Any] = _NONE
    frame: FrameType | None = None
    """The frame that called it, or one of torch's that it called."""


class LoopPhases:
    """Tells phases. A forward is the outermost call of a module.

    One that a backward calls is a checkpoint that computes again, and not a forward. A `torch.autograd.grad` is a
    backward where it differentiates parameters for an update, see `EngineCall.trains`.
    """

    def __init__(self, come: Callable[[Phase], None]) -> None:
        self._come = come
        self._running: list[tuple[Any, Any, FrameType | None]] = []
        """The phases that run, what each is of, and the frame that called it. A `grad` has no name."""
        self._modules = False
        """True once a module was called."""
        self._called_with: list[Tensor] = []
        """The parameters of the module that was called last, where `torch.func` calls it with others than its own."""

    def consumer(self) -> Consumer:
        """Return what is to be subscribed."""
        return {
            CallEntered: self._entered,
            CallLeft: self._left,
            EngineEntered: self._engine_entered,
            EngineLeft: self._ended,
            StepEntered: lambda event: self._begins("step", *event),
            StepLeft: self._ended,
            StepSkipped: self._skipped,
            ZeroEntered: lambda event: self._begins("zero_grad", *event),
            Zeroed: self._ended,
        }

    def _entered(self, event: CallEntered) -> None:
        module, args, kwargs, frame = event
        self._modules = True
        if is_transformed():
            self._called_with = list(module.parameters())
        if self._running:
            self._forget_raised()
        if not self._running or self._running[-1][0] == "step":
            self._begins("forward", module, frame, args, kwargs)

    def _left(self, event: CallLeft) -> None:
        if self._running and self._running[-1][1] is event.module:
            self._ended(event)

    def _engine_entered(self, event: EngineEntered) -> None:
        if not event.depth and self._trains(event.call):
            self._begins("backward", event.call, event.frame)
        elif not event.depth:
            self._running.append(("", event.call, None))

    def _trains(self, call: EngineCall) -> bool:
        """Return whether a call is a backward: one of `torch.func` too, and in a loop without modules one of leaves."""
        if is_transformed():
            return not self._modules or any(one is each for one in call.inputs for each in self._called_with)
        return call.trains or (not self._modules and not call.creates and all(map(_is_leaf, call.inputs)))

    def _skipped(self, event: StepSkipped) -> None:
        frame = sys._getframe(1)
        self._come(Phase("step", "skipped", event.optimizer, self._names(), torch.is_grad_enabled(), frame=frame))

    def _begins(
        self,
        name: Name,
        of: Any,
        frame: FrameType | None,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] = _NONE,
    ) -> None:
        within = self._names() if self._running else ()
        trains = torch.is_grad_enabled() or _checkpointed(name)
        self._come(Phase(name, "begins", of, within, trains, args, kwargs, frame))
        self._running.append((name, of, frame))

    def _ended(self, event: CallLeft | EngineLeft | StepLeft | Zeroed) -> None:
        of, running = event[0], self._running
        for place in range(len(running) - 1, -1, -1):
            name, each, frame = running[place]
            if each is of:
                del running[place:]
                if name:
                    within = self._names() if running else ()
                    self._come(Phase(name, "ended", of, within, torch.is_grad_enabled(), (), _NONE, frame))
                return

    def _names(self) -> tuple[str, ...]:
        self._forget_raised()
        return tuple([name for name, _, _ in self._running if name])

    def _forget_raised(self) -> None:
        """Let go of steps that have raised: torch tells nobody of it, but the frame that ran one is gone."""
        running = self._running
        while running and running[-1][0] in ("step", "zero_grad") and not _runs(running[-1][2]):
            running.pop()


def _is_leaf(of: Any) -> bool:
    return isinstance(of, Tensor) and of.is_leaf


def _checkpointed(name: Name) -> bool:
    """Return whether a forward without grad is that of a reentrant checkpoint, which the backward runs again."""
    frame: FrameType | None = sys._getframe(1) if name == "forward" else None
    while frame is not None and frame.f_code is not CheckpointFunction.forward.__code__:
        frame = frame.f_back
    return frame is not None


def _runs(frame: FrameType | None) -> bool:
    now: FrameType | None = sys._getframe(1)
    while now is not None and now is not frame:
        now = now.f_back
    return now is not None
