"""The phases of a script that runs on: they are counted, and nothing else is recorded of them."""

from __future__ import annotations

from types import FrameType
from typing import Any

from msgspec.structs import replace
from torch.optim import Optimizer

from gradstep.engine.debuggee.loop import Point
from gradstep.engine.observe.engine_calls import EngineCall, is_transformed
from gradstep.engine.observe.loop_phases import Name
from gradstep.engine.script.found import Found
from gradstep.engine.script.iterations import CallSite, Iterations
from gradstep.engine.script.losses import Loss, Losses


class Counted:
    """Counts phases, and returns the point of the last one when it is wanted.

    Args:
        found: what is trained.
        iterations: counts the updates.
        losses: the losses of the loop.
    """

    def __init__(self, found: Found, iterations: Iterations, losses: Losses) -> None:
        self._found, self._iterations, self._losses = found, iterations, losses
        self.forward_line = ""
        """The line of the first module call of the forward that runs; empty when none does."""
        self.in_step = False
        """True while an optimizer's step runs, which may have raised."""
        self.nests = True
        """False once a step has run no closure."""
        self._point = Point()
        """The point from which it counts."""
        self._last = ""
        """The phase of the point: `forward` while a backward runs. Empty before the first."""
        self._line = ""
        self._done: tuple[str, ...] = ()
        self._loss: Loss | None = None
        """The last loss; None before the first."""
        self._transformed = False
        self._backward: EngineCall | None = None
        """The backward of the last loss, once that has ended."""
        self._returned = ""
        self._calls: tuple[float, ...] = ()
        """The losses of the closure calls in the last step."""
        self._steps = self._since = 0
        """Steps that have ended, and those since the last forward."""

    def begin(self, point: Point) -> None:
        """Count from a point on."""
        self._point, self._last, self._loss, self.forward_line, self.in_step = point, "", None, "", False
        self._done, self._steps, self._since = point.done, point.steps, point.steps_since_forward

    def begins(self, name: Name, of: Any, frame: FrameType | None, site: CallSite) -> None:
        """Note a phase that begins; for the arguments see `Phase`."""
        if name == "forward":
            self._found.module(of, frame)
            self.forward_line = self.forward_line or site.line
        elif name == "backward":
            number = self._iterations.number
            self._loss = self._losses.add(self._found.held(), of, frame, site, number, later=True)
            self._transformed, self._since, self._backward = is_transformed(), 0, None
            self._last, self._line, self.forward_line = "forward", self.forward_line or site.line, ""
            self._done = done_with_loss(self._done)
        elif name == "step":
            self.in_step = True
            self._step(of, frame)

    def ended(self, name: Name, of: Any, frame: FrameType | None, site: CallSite) -> None:
        """Note the end of a phase."""
        if name == "forward":
            return
        if name == "backward":
            self._losses.ended()
            self._backward, self._returned = of, returned_by(of)
            self._iterations.updates += self._transformed
        elif name == "step":
            self.in_step = False
            self._calls = self._step(of, frame)
            self.nests = bool(self._calls)
            self._iterations.updates += 1
            self._steps += 1
            self._since += 1
        elif isinstance(of, Optimizer):
            self._found.optimizer(of, frame)
        else:
            self._found.module(of, frame)
        self._last, self._line = name, site.line
        if name not in self._done:
            self._done = (*self._done, name)

    def _step(self, optimizer: Optimizer, frame: FrameType | None) -> tuple[float, ...]:
        """Note an optimizer that begins or ends a step; return the losses since the last time."""
        self._found.optimizer(optimizer, frame)
        held = self._found.held()
        if held.optimizer is not optimizer:
            held.use_optimizer(optimizer, [])
        return tuple(self._losses.begin())

    def point(self) -> Point:
        """Return the point of the phase that was noted last; what only a record knows is empty in it."""
        old, loss, backward = self._point, self._loss, self._backward
        if not self._last:
            return replace(old, iteration=self._iterations.number)
        point = Point(
            phase=self._last,
            torch=self._line,
            done=self._done,
            iteration=self._iterations.number,
            loss=old.loss if loss is None else loss.tensor,
            value=old.value if loss is None else loss.value,
            change=old.change if loss is None else loss.change,
            used_batch=True,
            steps_since_forward=self._since,
            ran=old.ran,
            freed=old.freed,
            calls=self._calls if self._last == "step" else (),
            steps=self._steps,
            transformed=old.transformed if loss is None else self._transformed,
            counted=True,
        )
        if loss is None:
            return point
        if backward is None:
            return replace(point, ran=False, freed=False)
        return replace(point, ran=True, freed=not backward.retains, returned=self._returned)


def done_with_loss(done: tuple[str, ...]) -> tuple[str, ...]:
    """Return the phases that were run since the last forward, once another has ended."""
    return ("forward",) if "step" in done or "zero_grad" in done else with_phase(done, "forward")


def with_phase(done: tuple[str, ...], phase: str) -> tuple[str, ...]:
    """Return them with another."""
    return done if phase in done else (*done, phase)


def returned_by(call: EngineCall) -> str:
    """Return what returned the gradients of a backward; empty where they were added to `.grad`."""
    return "" if call.accumulates else "torch.func" if is_transformed() else "torch.autograd.grad"
