"""The script's training loop: its phases and iterations as they run, what is known at each, and where it stops."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from types import FrameType
from typing import Any, Literal, Protocol

import torch
from msgspec.structs import replace
from torch import Tensor, nn

from gradstep.engine.autograd.graph import leaf_tensor
from gradstep.engine.debuggee.loop import Point
from gradstep.engine.held import Held
from gradstep.engine.observe.engine_calls import EngineCall
from gradstep.engine.observe.forward import Watched, watch_forward
from gradstep.engine.observe.loop_phases import LoopPhases, Name, Phase
from gradstep.engine.observe.observer import observe
from gradstep.engine.script.found import Found
from gradstep.engine.script.frames import call_site, callers, line_text
from gradstep.engine.script.lines import LineStops
from gradstep.engine.script.main_thread import MainThread
from gradstep.engine.stepping.stepper import Stepping
from gradstep.values.commands import Backward, Forward
from gradstep.values.expressions import Expression

Until = Literal["first", "phase", "iteration", "into", "continue", "end"]


@dataclass(frozen=True)
class Wanted:
    """How far the script runs."""

    until: Until = "first"
    """`first`: before the first forward; `phase`: the end of the next phase called one of `names`; `iteration`: the
    first phase of the next iteration; `into`: the first place inside the next forward or backward; `continue`: a
    breakpoint; `end`: its end."""
    names: tuple[str, ...] = ()
    """For `phase`; empty for any."""
    iteration: int = 0
    """For `phase`: not before this one."""
    condition: Expression | None = None
    """For `phase`: it has to hold."""

    @property
    def looks(self) -> bool:
        """True when what the phases record is looked at soon: not while the script runs on to a breakpoint."""
        return self.until not in ("continue", "end")


class Steps(Protocol):
    """What the loop needs of the session: breakpoints, and stepping inside a phase."""

    def inside(self, phase: str) -> bool:
        """Return whether a breakpoint may stop it inside a phase."""
        ...

    def stepping(self, held: Held, act: Forward | Backward, into: bool) -> Stepping:
        """Return what steps a phase that begins."""
        ...

    def left(self) -> None:
        """Note that the phase that was stepped has ended."""
        ...

    def at_line(self, held: Held, place: str, numbers: tuple[int, ...]) -> str:
        """Return the line of the breakpoint that is hit among those of a source line; empty for none."""
        ...

    def holds(self, held: Held, condition: Expression) -> bool:
        """Return whether a condition holds now."""
        ...

    def after(self, held: Held, phase: str, iteration: int) -> str:
        """Return the line of the breakpoint that the end of a phase hits; empty for none."""
        ...


class ScriptLoop:
    """Watches a script on its thread. All but `wanted` is written there."""

    def __init__(self, name: str, thread: MainThread, steps: Steps) -> None:
        self.thread, self._steps = thread, steps
        self.found = Found(name)
        self.lines = LineStops(self._at_line)
        thread.resumed = self._resumed
        self.wanted = Wanted()
        self.iteration = 0
        """Iterations begun before this one."""
        self.steps = 0
        """Optimizer steps that have ended."""
        self.held: Held | None = None
        """What was found, as of the last stop."""
        self.reason = ""
        """The breakpoint that was hit at the stop."""
        self.before = ""
        """The phase that the stop is in front of; empty for a stop after one."""
        self._sites: dict[tuple[object, ...], int] = {}
        """The call sites of the phases of this iteration, each with the steps that had ended then."""
        self._forward: ExitStack | None = None
        """What watches the forward that runs, from its first module call to the backward."""
        self._backward: ExitStack | None = None
        self._watched = Watched()
        self._batch: Any = None
        self._watching = ExitStack()

    def watch(self) -> None:
        """Watch what runs on this thread from now on."""
        self._watching.enter_context(observe(LoopPhases(self._come).consumer()))

    def leave(self) -> None:
        """Watch nothing more. Call on the script's thread."""
        for stack in (self._forward, self._backward, self._watching):
            if stack is not None:
                stack.close()
        self._forward = self._backward = None
        self.lines.places = {}
        self.lines.install()

    def stop_here(self, reason: str = "") -> None:
        """Stop at the line that the script's thread is at."""
        self.reason = reason
        self._now()
        self._halt()

    def _resumed(self) -> None:
        if self.thread.released:
            self.leave()
        else:
            self.lines.install()

    # -- phases --------------------------------------------------------------------------------------------------------
    def _come(self, phase: Phase) -> None:
        if self.thread.released:
            self.leave()
            return
        if phase.edge == "begins" or phase.name == "zero_grad":
            new = not phase.within and self._begins_iteration()
            if phase.edge == "begins" and self._stops_before(new):
                self._note_parts(phase)
                self._stop(before=phase.name)
            elif new and self.wanted.until == "iteration":
                self.wanted = Wanted("phase")
        handle: Callable[[Phase], None] | None = getattr(self, f"_{phase.name}_{phase.edge}", None)
        if handle is not None:
            handle(phase)

    def _begins_iteration(self) -> bool:
        site = call_site(self._frame())
        seen = self._sites.get(site)
        if seen is None or seen == self.steps:
            self._sites.setdefault(site, self.steps)
            return False
        self._sites = {site: self.steps}
        self.iteration += 1
        return True

    def _stops_before(self, new: bool) -> bool:
        return self.wanted.until == "first" or (self.wanted.until == "iteration" and new)

    def _note_parts(self, phase: Phase) -> None:
        if isinstance(phase.of, nn.Module) and phase.grad_mode:
            self.found.module(phase.of, self._frame())
        elif isinstance(phase.of, torch.optim.Optimizer):
            self.found.optimizer(phase.of)

    def _forward_begins(self, phase: Phase) -> None:
        self._note_parts(phase)
        if self._forward is not None or not phase.grad_mode:
            return
        self._forward = stack = ExitStack()
        into = self.wanted.until == "into"
        inside = into or self._steps.inside("forward") or self.thread.pausing
        self._watched = Watched()
        if self.wanted.looks or inside:
            held = self._now()
            lines = held.recording.lines or inside
            self._watched = stack.enter_context(watch_forward(held.paths, held.model, held.recording.zeros, lines))
            if inside:
                stepping = self._steps.stepping(held, Forward(), into)
                stack.enter_context(stepping.forward(self._watched))

    def _backward_begins(self, phase: Phase) -> None:
        call: EngineCall = phase.of
        if self._forward is not None:
            self._forward.close()
            self._forward = None
            self._steps.left()
        loss = next((each for each in call.outputs if isinstance(each, Tensor)), None)
        held = self._found_at(call)
        value = _value(loss)
        old = held.point
        held.point = Point(
            phase="forward",
            torch=line_text(self._caller()),
            done=_with(() if {"step", "zero_grad"} & set(old.done) else old.done, "forward"),
            iteration=self.iteration,
            loss=loss,
            value=value,
            change=None if value is None or old.value is None else value - old.value,
            used_batch=True,
            watched=self._watched,
        )
        held.losses.append((self.iteration, float("nan") if value is None else value))
        held.loss_rates.append(held.rates())
        self._end_of("forward")
        into = self.wanted.until == "into"
        if into or self._steps.inside("backward"):
            self._backward = stack = ExitStack()
            stack.enter_context(self._steps.stepping(self._now(), Backward(), into).backward())

    def _backward_ended(self, phase: Phase) -> None:
        if self._backward is not None:
            self._backward.close()
            self._backward = None
            self._steps.left()
        self._note("backward", ran=True, freed=not phase.of.retains)
        self._end_of("backward")

    def _step_begins(self, phase: Phase) -> None:
        self.found.optimizer(phase.of)

    def _step_ended(self, phase: Phase) -> None:
        self.steps += 1
        held = self._now()
        rates = held.rates()
        held.use_optimizer(phase.of, [])
        self._note("step", steps_since_forward=held.point.steps_since_forward + 1, rates_before=rates)
        self._end_of("step")

    def _zero_grad_ended(self, phase: Phase) -> None:
        self._note_parts(phase)
        if self.held is None:  # nothing has run yet: most loops begin with it
            return
        self._note("zero_grad")
        self._end_of("zero_grad")

    # -- stops ---------------------------------------------------------------------------------------------------------
    def _end_of(self, name: Name) -> None:
        wanted, held = self.wanted, self._now()
        self.reason = self._steps.after(held, name, self.iteration)
        if self.reason or self.thread.pausing or (wanted.until == "phase" and self._meets(wanted, name)):
            self._stop()

    def _meets(self, wanted: Wanted, name: Name) -> bool:
        if (wanted.names and name not in wanted.names) or self.iteration < wanted.iteration:
            return False
        return wanted.condition is None or self._steps.holds(self._now(), wanted.condition)

    def _stop(self, before: str = "") -> None:
        self.before = before
        self._now()
        self._halt()

    def _halt(self) -> None:
        if self.thread.pausing and not self.reason:
            self.reason = "pause"
        self.lines.paused()
        self.thread.halt("phase")
        self.reason = ""

    def _at_line(self, frame: FrameType, numbers: tuple[int, ...]) -> None:
        """Stop at a line, if one of its breakpoints is hit or a pause was asked for."""
        if not self.thread.released:
            file = frame.f_code.co_filename
            self.reason = self._steps.at_line(self._now(), f"{os.path.basename(file)}:{frame.f_lineno}", numbers)
            if self.reason or self.thread.pausing:
                self._halt()

    @property
    def frame(self) -> FrameType | None:
        """The innermost frame of the script: at the stop, or while something is evaluated on its thread."""
        return next(callers(self.thread.frame or sys._getframe(1)), None)

    def _found_at(self, call: EngineCall) -> Held:
        if self.wanted.looks or self.held is None:
            graph = call.whole_graph()
            leaves = [] if graph is None else [leaf_tensor(node) for node in graph.nodes]
            self.found.leaves([leaf for leaf in leaves if leaf is not None])
        return self._now()

    def _now(self) -> Held:
        self.held = self.found.held(self._frame())
        return self.held

    def _note(self, name: Name, **changed: Any) -> None:
        held = self._now()
        done = _with(held.point.done, name)
        text = line_text(self._caller())
        held.point = replace(held.point, phase=name, torch=text, done=done, iteration=self.iteration, **changed)

    @staticmethod
    def _frame() -> FrameType:
        return sys._getframe(1)

    def _caller(self) -> Any:
        return next(callers(self._frame()), None)


def _value(loss: Tensor | None) -> float | None:
    if loss is None or loss.numel() != 1 or loss.is_complex() or loss.is_meta:
        return None
    return float(loss.detach().item())


def _with(done: tuple[str, ...], phase: str) -> tuple[str, ...]:
    return done if phase in done else (*done, phase)
