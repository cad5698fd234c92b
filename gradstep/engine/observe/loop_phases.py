"""Which phase of a training loop runs, seen by watching torch: it does not matter who calls it.

A held workload and a script that gradstep does not drive give the same phases.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import FrameType, MappingProxyType
from typing import Any, Literal, Protocol

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
Edge = Literal["begins", "ended", "skipped"]


NONE: Mapping[str, Any] = MappingProxyType({})
"""Of a phase without keyword arguments."""


class Phase(Struct, frozen=True, eq=False):
    """A phase begins, has ended, or is a step that was skipped."""

    name: Name
    edge: Edge
    of: Any
    """The outermost module, the `EngineCall`, the optimizer, or who cleared; None for a forward without modules."""
    within: tuple[str, ...] = ()
    """The phases that it runs in, outermost first: a closure is called inside `step`."""
    grad_mode: bool = True
    """False for a forward without a graph: evaluation, a teacher, a target network."""
    args: tuple[Any, ...] = ()
    """Of a forward that begins, the arguments of the module."""
    kwargs: Mapping[str, Any] = NONE
    frame: FrameType | None = None
    """The frame that called it, or one of torch's that it called."""


class Follower(Protocol):
    """What follows the phases of a loop; the arguments are the fields of a `Phase`."""

    def begins(
        self,
        name: Name,
        of: Any,
        within: tuple[str, ...],
        grad_mode: bool,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        frame: FrameType | None,
    ) -> None:
        """Note a phase that begins."""
        ...

    def ended(
        self, name: Name, of: Any, within: tuple[str, ...], grad_mode: bool, frame: FrameType | None, edge: Edge
    ) -> None:
        """Note a phase that has ended, or a step that was skipped."""
        ...


class LoopPhases:
    """Tells phases. A forward is the outermost call of a module.

    One that a backward calls is a checkpoint that computes again, and not a forward. A `torch.autograd.grad` is a
    backward where it differentiates parameters for an update, see `EngineCall.trains`.

    Args:
        follower: is told of each phase.
    """

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
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
            EngineLeft: lambda event: self._ended(event.call),
            StepEntered: lambda event: self._begins("step", event.optimizer, event.frame),
            StepLeft: lambda event: self._ended(event.optimizer),
            StepSkipped: self._skipped,
            ZeroEntered: lambda event: self._begins("zero_grad", event.owner, event.frame),
            Zeroed: lambda event: self._ended(event.owner),
        }

    def _entered(self, event: CallEntered) -> None:
        module, self._modules = event.module, True
        if is_transformed():
            self._called_with = list(module.parameters())
        if self._running:
            self._forget_raised()
        if not self._running or self._running[-1][0] == "step":
            self._begins("forward", module, event.frame, event.args, event.kwargs)

    def _left(self, event: CallLeft) -> None:
        if self._running and self._running[-1][1] is event.module:
            self._ended(event.module)

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
        self._follower.ended("step", event.optimizer, self._names(), torch.is_grad_enabled(), frame, "skipped")

    def _begins(
        self,
        name: Name,
        of: Any,
        frame: FrameType | None,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] = NONE,
    ) -> None:
        within = self._names() if self._running else ()
        trains = torch.is_grad_enabled() or _checkpointed(name)
        self._follower.begins(name, of, within, trains, args, kwargs, frame)
        self._running.append((name, of, frame))

    def _ended(self, of: Any) -> None:
        running = self._running
        if not running or running[-1][1] is not of:
            if all(each is not of for _, each, _ in running):
                return
            while running[-1][1] is not of:  # what has raised has not ended
                running.pop()
        name, _, frame = running.pop()
        if name:
            within = self._names() if running else ()
            self._follower.ended(name, of, within, torch.is_grad_enabled(), frame, "ended")

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
