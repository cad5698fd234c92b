"""Which phase of a training loop runs, seen by watching torch: it does not matter who calls it.

A held workload and a script that gradstep does not drive give the same phases.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Literal, NamedTuple

import torch

from gradstep.engine.observe.stream import (
    CallEntered,
    CallLeft,
    Consumer,
    EngineEntered,
    EngineLeft,
    StepEntered,
    StepLeft,
    Zeroed,
)

Name = Literal["forward", "backward", "step", "zero_grad"]


class Phase(NamedTuple):
    """A phase begins, or has ended; of a `zero_grad` only that it has run is told."""

    name: Name
    edge: Literal["begins", "ended"]
    of: Any
    """The outermost module, the `EngineCall`, the optimizer, or who cleared."""
    within: tuple[str, ...] = ()
    """The phases that it runs in, outermost first: a closure is called inside `step`."""
    grad_mode: bool = True
    """False for a forward without a graph: evaluation, a teacher, a target network."""


class LoopPhases:
    """Tells phases. A forward is the outermost call of a module.

    One that a backward calls is a checkpoint that computes again, and no forward; a `torch.autograd.grad` adds to no
    `.grad`, and is no backward.
    """

    def __init__(self, come: Callable[[Phase], None]) -> None:
        self._come = come
        self._running: list[tuple[Any, Any, FrameType | None]] = []
        """The phases that run, what each is of, and of a step the frame that runs it; no name for `autograd.grad`."""

    def consumer(self) -> Consumer:
        """Return what is to be subscribed."""
        return {
            CallEntered: self._entered,
            CallLeft: self._left,
            EngineEntered: self._engine_entered,
            EngineLeft: lambda event: self._ended(event.call),
            StepEntered: lambda event: self._begins("step", event.optimizer, event.frame),
            StepLeft: lambda event: self._ended(event.optimizer),
            Zeroed: self._zeroed,
        }

    def _entered(self, event: CallEntered) -> None:
        self._forget_raised()
        if not self._running or self._running[-1][0] == "step":
            self._begins("forward", event.module)

    def _left(self, event: CallLeft) -> None:
        if self._running and self._running[-1][1] is event.module:
            self._ended(event.module)

    def _engine_entered(self, event: EngineEntered) -> None:
        if event.call.accumulates and not event.depth:
            self._begins("backward", event.call)
        elif not event.depth:
            self._running.append(("", event.call, None))

    def _zeroed(self, event: Zeroed) -> None:
        self._forget_raised()
        self._come(Phase("zero_grad", "ended", event.owner, self._names(), torch.is_grad_enabled()))

    def _begins(self, name: Name, of: Any, frame: FrameType | None = None) -> None:
        self._forget_raised()
        self._come(Phase(name, "begins", of, self._names(), torch.is_grad_enabled()))
        self._running.append((name, of, frame))

    def _ended(self, of: Any) -> None:
        if any(each is of for _, each, _ in self._running):
            while True:
                name, last, _ = self._running.pop()
                if last is of:
                    break
            if name:
                self._come(Phase(name, "ended", of, self._names(), torch.is_grad_enabled()))

    def _names(self) -> tuple[str, ...]:
        return tuple(name for name, _, _ in self._running if name)

    def _forget_raised(self) -> None:
        """Let go of steps that have raised: torch tells nobody of it, but the frame that ran one is gone."""
        while self._running and self._running[-1][2] is not None and not _runs(self._running[-1][2]):
            self._running.pop()


def _runs(frame: FrameType) -> bool:
    now: FrameType | None = sys._getframe(1)
    while now is not None and now is not frame:
        now = now.f_back
    return now is not None
