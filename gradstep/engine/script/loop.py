"""The script's training loop: its phases and iterations as they run, what is known at each, and where it stops."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from inspect import getattr_static
from types import FrameType, FunctionType
from typing import Any

import torch
from msgspec.structs import replace
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import _disable_current_modes

from gradstep.engine.debuggee.generators import Randomness
from gradstep.engine.debuggee.loop import Point
from gradstep.engine.held import Held
from gradstep.engine.observe.engine_calls import EngineCall, is_transformed
from gradstep.engine.observe.forward import Watched, watch_forward
from gradstep.engine.observe.functions import unobserved
from gradstep.engine.observe.loop_phases import LoopPhases, Name, Phase
from gradstep.engine.observe.observer import observe
from gradstep.engine.observe.stream import (
    EngineLeft,
    GradientsClipped,
    ScalerCalled,
    SchedulerSteps,
    StepLeft,
    Zeroed,
)
from gradstep.engine.observe.subscriptions import Observation
from gradstep.engine.script.copies import CopiesBefore, weights_of
from gradstep.engine.script.counted import Counted, done_with_loss, returned_by, with_phase
from gradstep.engine.script.first_operation import FirstOperation
from gradstep.engine.script.found import Found
from gradstep.engine.script.frames import named_values, release_locals
from gradstep.engine.script.iterations import CallSites, Iterations
from gradstep.engine.script.lines import LineStops
from gradstep.engine.script.losses import Losses, value_of
from gradstep.engine.script.main_thread import MainThread
from gradstep.engine.script.stack import Stack
from gradstep.engine.script.steps import Begins, Steps, Wanted
from gradstep.engine.script.tape import Tape
from gradstep.engine.script.terms import terms_of
from gradstep.engine.script.writes import Writes
from gradstep.engine.state.saved import Copier, Saved
from gradstep.values.commands import Backward, Forward
from gradstep.values.numbers import listed

_NOTES = 20
"""Maximum number of lines that are printed at a stop."""
_CALLS = {GradientsClipped: "clip", SchedulerSteps: "scheduler", ScalerCalled: "scaler"}
_NOTED = {"skipped": (), "clipped": (), "unowned": False, "counted": False}
SHARE = 0.005
"""Share of the running time that recording phases may take while nothing but a pause can stop the script."""
_UNWATCHED = Watched()
"""Of a forward that was not recorded."""


class ScriptLoop:
    """Watches a script on its thread. All but `wanted` is written there."""

    def __init__(self, name: str, thread: MainThread, steps: Steps, copier: Copier | None = None) -> None:
        self.thread, self._steps = thread, steps
        self.found = Found(name)
        self.lines = LineStops(self._at_line)
        self.stack = Stack(thread)
        thread.resumed = self._resumed
        self.wanted = Wanted()
        self.held: Held | None = None
        """What was found, as of the last stop."""
        self.reason = ""
        """The breakpoint that was hit at the stop."""
        self.before = ""
        """The phase that the stop is in front of; empty for a stop after one."""
        self.notes: list[str] = []
        """The lines to print at the next stop."""
        self._iterations = Iterations()
        self._sites = CallSites()
        self._writes = Writes()
        self._forward: ExitStack | None = None
        """What watches the forward that runs, from its first module call to the backward."""
        self._first_operation = FirstOperation(self._operates)
        self._backward: ExitStack | None = None
        self._watched = Watched()
        self._losses = Losses()
        self._counted = Counted(self.found, self._iterations, self._losses)
        self.counts = False
        """True while phases are only counted: nothing but a pause can stop the script."""
        self._began, self._spent = time.perf_counter(), 0.0
        """When the script ran on from its last stop, and the seconds that recording phases has taken since."""
        self.in_step = False
        """True while an optimizer's step runs, which may have raised."""
        self._rates: tuple[float, ...] = ()
        """The learning rates when the step that runs began."""
        self._given: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None
        """What the first module of the forward was called with: positional arguments by name, and keyword arguments."""
        self._line = ""
        """The line that called the first module of the forward."""
        self._updates_itself = False
        """True once the script has written weights itself, and no optimizer was seen."""
        self._nests = True
        """False once a step has run no closure."""
        self._clipped: tuple[str, ...] = ()
        """The parameters whose `.grad` was written in front of the phase that runs."""
        self._copies = CopiesBefore(copier)
        self._unowned = Saved()
        """Copies from the end of the last phase, where no optimizer is known."""
        self._watching = ExitStack()
        self._books: tuple[Observation, ...] = ()
        """What the bookkeeper observes: nothing while phases are only counted."""
        self.tape: Tape | None = None
        """The last forward, where it was recorded."""
        self.began: Randomness | None = None
        """The generators before it."""
        self._handlers: dict[tuple[str, str], Callable[[Phase], None]] = {
            ("forward", "begins"): self._forward_begins,
            ("backward", "begins"): self._backward_begins,
            ("backward", "ended"): self._backward_ended,
            ("step", "begins"): self._step_begins,
            ("step", "ended"): self._step_ended,
            ("step", "skipped"): self._step_skipped,
            ("zero_grad", "begins"): self._zero_grad_begins,
            ("zero_grad", "ended"): self._zero_grad_ended,
        }
        self.told: Callable[[Phase], None] | None = None
        """Called with each phase that begins or has ended, once it is noted."""

    @property
    def iteration(self) -> int:
        """Iterations begun before this one."""
        return self._iterations.number

    @property
    def in_forward(self) -> bool:
        """True from the first module call of a forward to its backward."""
        return self._forward is not None or (self.counts and bool(self._counted.forward_line))

    def watch(self) -> None:
        """Watch what the calling frame runs on this thread from now on."""
        self.stack.caller = sys._getframe(1).f_code
        phases, books = LoopPhases(self._come).consumer(), self.found.bookkeeper
        kept, ends = books.consumer(), {EngineLeft, StepLeft, Zeroed}
        first = {kind: told for kind, told in kept.items() if kind in ends}
        last = {kind: told for kind, told in kept.items() if kind not in ends}
        # what has ended is in the ledger when the loop hears of it
        before = self._watching.enter_context(observe(first))
        self._watching.enter_context(observe(phases))
        after = self._watching.enter_context(observe(last, leaves=books.leaves))
        self._books = (before, after)
        self._watching.enter_context(observe(dict.fromkeys(_CALLS, self._called)))
        self.lines.install()

    def leave(self) -> None:
        """Watch nothing more. Call on the script's thread."""
        self.show_counted()
        self._read_losses()
        for stack in (self._forward, self._first_operation, self._backward, self._watching):
            if stack is not None:
                stack.close()
        self._forward = self._backward = None
        self.lines.places = {}
        self.lines.paused()
        self.lines.install()

    def stop_here(self, reason: str = "") -> None:
        """Stop at the line that the script's thread is at."""
        self.reason = reason
        self.show_counted()
        self._look()
        self._halt()

    def show_loss(self, loss: Tensor, frame: FrameType | None, freed: bool = False) -> None:
        """Have the views show a loss and its graph, which were computed before anything was watched."""
        if loss.grad_fn is not None:
            self.found.graph([loss.grad_fn], frame)
        held = self._now()
        ended = () if freed else ("forward",)
        known = {"phase": "".join(ended), "done": ended, "loss": loss, "value": value_of(loss), "attached": True}
        held.point, held.saved = replace(held.point, **known, ran=freed, freed=freed), Saved(known=False)

    def show_attached(self, value: float | None = None) -> None:
        """Have the views say that the script ran before anything was watched, and show the value of its last loss."""
        held = self._now()
        held.point = replace(held.point, value=value, attached=True)

    def _resumed(self) -> None:
        self.stack.number = 0
        self._began, self._spent = time.perf_counter(), 0.0
        release_locals(sys._getframe(1))
        if not self.thread.pausing:
            self.lines.paused()
        if self.thread.released:
            self.leave()
            return
        self.lines.install()
        self._watch_for_operation()

    def _watch_for_operation(self) -> None:
        """Have `into` stop at the next forward also in a loop without modules."""
        self._first_operation.close()
        if self.wanted.until == "into" and not (self._forward or self._backward or self.found.has_models):
            self._first_operation.watch()

    # -- phases --------------------------------------------------------------------------------------------------------
    def _come(self, phase: Phase) -> None:
        if self.thread.released:
            self.leave()
            return
        try:
            if torch._C._len_torch_dispatch_stack():  # the script's own modes see none of what is done here
                with _disable_current_modes():
                    self._note(phase)
            else:
                self._note(phase)
        except Exception as error:  # a fault of gradstep's own is not one of the script
            self._tell(f"gradstep could not follow a {phase.name}: {type(error).__name__}: {error}")

    def _operates(self, frame: FrameType) -> None:
        """Begin a forward with an operation, in a loop without modules."""
        if self._forward is None:
            self._come(Phase("forward", "begins", None, ("step",) * self.in_step, frame=frame))

    def _note(self, phase: Phase) -> None:
        trains, new = phase.grad_mode or phase.name != "forward", False
        if trains and phase.edge == "begins":
            site = self._sites.note(phase)
            if not phase.within:
                if not self.counts and not is_transformed():
                    self._find_writes(phase)
                new = phase.of is not None and self._iterations.begins(site)  # an operation is watched only for `into`
                if new or self.counts:
                    self._count_or_record(new)
        if not self.counts:
            began = time.perf_counter()
            self._record(phase, trains, new)
            self._spent += time.perf_counter() - began
        elif trains:
            self._count(phase)
        if self.told is not None:
            self.told(phase)

    def _count_or_record(self, new: bool) -> None:
        """Decide whether phases are only counted from here on, where a phase begins that is in no other.

        Recording begins at any such phase, for a stop; else at a new iteration, as counting does.
        """
        counts = bool(self.found.optimizers) and self.wanted.runs_on and not self._steps.armed
        if counts and new:
            spare = SHARE * (time.perf_counter() - self._began)
            counts = self._spent > spare and not self._steps.due(self.iteration) and not self.thread.pausing
        if counts and not self.counts:
            self._forget()
            self._counted.begin(self._now().point)
        elif self.counts and not counts:
            self.show_counted()
            self._nests, self._line = self._counted.nests, self._counted.forward_line
            self._forward = ExitStack() if self._line else None
        if counts != self.counts:
            self.counts = counts
            for each in self._books:
                each.pause(counts)

    def _forget(self) -> None:
        """Forget what was recorded of the phases before."""
        self._close_forward()
        self.tape = self.began = self._given = None
        self._watched, self._clipped, self._writes, self._unowned = _UNWATCHED, (), Writes(), Saved()
        self._copies.forget()
        self.found.ledger.forget()

    def _count(self, phase: Phase) -> None:
        edge, name = phase.edge, phase.name
        if name == "step":
            self.in_step = edge == "begins"
        if edge == "begins":
            self._counted.begins(phase, self._sites.last[name])
        elif edge == "ended":
            self._counted.ended(phase, self._sites.last[name])
        else:
            self.show_counted()
            self._step_skipped(phase)
            self._counted.begin(self._now().point)

    def show_counted(self) -> None:
        """Have the views show the phase that was counted last."""
        if self.counts:
            held = self._now()
            held.point, held.saved = self._counted.point(), Saved(known=False)

    @property
    def point(self) -> Point:
        """The point of the last phase, also while the script runs."""
        return self._counted.point() if self.counts or self.held is None else self.held.point

    def _record(self, phase: Phase, trains: bool, new: bool) -> None:
        if phase.edge == "begins" and not phase.within and trains:
            self._begin(phase, new)
        elif phase.edge == "begins" and trains and self.wanted.until == "first" and phase.name != "zero_grad":
            self._note_parts(phase)
            self._stop(before=phase.name)
        handle = self._handlers.get((phase.name, phase.edge))
        if handle is not None and trains:
            handle(phase)
        elif phase.edge == "begins" and not trains and not phase.within:
            self._before(phase, "evaluation")

    def _called(self, event: Any) -> None:
        """Note a call that is not a phase."""
        if not self.thread.released and self._steps.due(self.iteration):
            begins = Begins(_CALLS[type(event)], event, written=self._writes.touched())
            self._steps.before(self.found.held(), begins)

    def _before(self, phase: Phase, name: str = "") -> None:
        if not self._steps.due(self.iteration):
            return
        written = () if phase.within or name else self._clipped
        known = (phase.of, phase.args, phase.kwargs, phase.grad_mode, written, phase.within)
        self._steps.before(self.found.held(), Begins(name or phase.name, *known))

    def _begin(self, phase: Phase, new: bool) -> None:
        """Begin another iteration with this phase, where it does; stop before it, if that is wanted."""
        if new:
            self._close_forward()  # of an evaluation: no backward has come of it
        first = self.wanted.until == "first" and phase.name in ("forward", "backward")
        if not first and not (new and self.wanted.until == "iteration"):
            return
        if phase.name == "backward" and self._forward is None:  # a loop without modules: what it calls first is this
            self.wanted = Wanted("phase")
        else:
            self._note_parts(phase)
            self._stop(before=phase.name)

    def _note_parts(self, phase: Phase) -> None:
        if isinstance(phase.of, nn.Module):
            self.found.module(phase.of, phase.frame)
        elif isinstance(phase.of, Optimizer):
            self.found.optimizer(phase.of, phase.frame)

    def _forward_begins(self, phase: Phase) -> None:
        self._note_parts(phase)
        self._before(phase)
        if self._forward is not None:
            return
        self._forward = stack = self._first_operation.taken_over()
        self._line = self._sites.last["forward"].line
        self.tape = None
        into = self.wanted.until == "into"
        inside = into or self._steps.inside("forward") or self.thread.pausing
        self._watched = _UNWATCHED
        if phase.grad_mode and self._steps.due(self.iteration):
            stack.enter_context(self._steps.watching(self._now()))
        if self.wanted.looks or inside:
            held = self._now()
            self._copy(phase)
            self._read_losses()
            lines = held.recording.lines or inside
            self._watched = stack.enter_context(watch_forward(held.paths, held.model, held.recording.zeros, lines))
            self.tape, self.began = Tape(), held.keeper.capture()
            if phase.of is not None:
                self.tape.begin(phase.of, phase.args, phase.kwargs)
                self._given = _named(phase.of, phase.args), phase.kwargs
            stack.enter_context(observe(self.tape.consumer()))
            if inside:
                stepping = self._steps.stepping(held, Forward(), into)
                if phase.of is None:
                    stepping.will("place", place=1)
                stack.enter_context(stepping.forward(self._watched))

    def _close_forward(self) -> None:
        if self._forward is not None:
            self._forward.close()
            self._forward = None
            self._steps.left()

    def _backward_begins(self, phase: Phase) -> None:
        call: EngineCall = phase.of
        called = self._forward is not None
        forward = called or not self._losses.computed_before(call)
        self._close_forward()
        self._use_loss(phase)
        if forward and self.wanted.looks:
            self._find_terms(phase.frame)
            self._show_batch()
        if forward and self.tape is not None:
            self.tape.finish(self._now().point.loss)
        if forward:
            self._copies.end(self._now(), "forward")
            if not called:  # no module: the weights are as they were
                self._now().saved = Saved()
            self._end_of("forward")
        self._first_operation.close()
        into = self.wanted.until == "into"
        self._before(phase)
        self._copy(phase)
        if (into or self._steps.inside("backward")) and self._now().graph() is not None:
            self._backward = stack = ExitStack()
            stack.enter_context(self._steps.stepping(self._now(), Backward(), into).backward())

    def _find_terms(self, frame: FrameType | None) -> None:
        held, tape = self._now(), self.tape
        made = (lambda _: None) if tape is None else tape.made
        terms = terms_of(held.point.loss, named_values(frame), made)
        held.point = replace(held.point, terms=terms)

    def _show_batch(self) -> None:
        """Show the inputs of the forward and the target of its loss in the Batch view."""
        if self.tape is None or self._given is None:
            return
        (args, kwargs), target, held = self._given, self.tape.target(), self._now()
        inputs = next(iter(args.values())) if len(args) == 1 and not kwargs else {**args, **kwargs}
        batch = (inputs, target) if target is not None else inputs
        held.batches.batch, held.batches.taken = batch, held.batches.taken + 1
        held.point = replace(held.point, batch=batch)
        self._given = None

    def _use_loss(self, phase: Phase) -> None:
        held, site = self._now(), self._sites.last["backward"]
        later = self._runs_on and not phase.within and not self._steps.due(self.iteration)
        loss = self._losses.add(held, phase, site, self.iteration, later)
        old = held.point
        held.point = Point(
            phase="forward",
            torch=self._line or site.line,
            done=done_with_loss(old.done),
            iteration=self.iteration,
            loss=loss.tensor,
            value=loss.value,
            change=loss.change,
            used_batch=True,
            watched=self._watched,
            steps=old.steps,
            transformed=is_transformed(),
        )
        self._line = ""

    def _backward_ended(self, phase: Phase) -> None:
        if self._backward is not None:
            self._backward.close()
            self._backward = None
            self._steps.left()
            self._watch_for_operation()
        self._losses.ended()
        written = self.found.bookkeeper.written
        freed, returned = not phase.of.retains, returned_by(phase.of)
        self._show("backward", ran=True, freed=freed, written=written, returned=returned)
        self._copies.end(self._now(), "backward")
        last = is_transformed() or self._updates_unseen(phase)
        self._iterations.updates += last
        self._mark("backward")
        self._end_of("backward", last)

    def _updates_unseen(self, phase: Phase) -> bool:
        """Return whether a backward counts as the update of an iteration: nothing else was seen to make one."""
        return not (self.found.optimizers or self._updates_itself or self.found.names_optimizer(phase.frame))

    def _step_begins(self, phase: Phase) -> None:
        self.in_step = True
        self.found.optimizer(phase.of, phase.frame)
        held = self._now()
        held.use_optimizer(phase.of, [])
        self._rates = held.rates()
        self._losses.begin()
        self._before(phase)
        self._copy(phase)

    def _step_ended(self, phase: Phase) -> None:
        self.in_step = False
        found = vars(phase.of).get("found_inf")  # of a fused optimizer, whose kernel skips the step itself
        if isinstance(found, Tensor) and self.wanted.looks and found.item():
            self._step_skipped(phase)
            return
        self._iterations.updates += 1
        held, books = self._now(), self.found.bookkeeper
        held.use_optimizer(phase.of, [])
        since = held.point.steps_since_forward + bool(books.used)
        calls = tuple(self._losses.begin())
        self._nests = bool(calls)
        changed = {"written": books.used, "again": books.again, "calls": calls, "rates_before": self._rates}
        changed["clipped"] = self._clipped
        self._show("step", steps_since_forward=since, steps=held.point.steps + 1, **changed)
        self._copies.end(self._now(), "step")
        self._mark("step")
        self._end_of("step")

    def _step_skipped(self, phase: Phase) -> None:
        """Note a step that a `GradScaler` skipped, and the gradients that are not finite."""
        self._iterations.updates += 1
        self._sites.note(phase)
        self.found.optimizer(phase.of, phase.frame)
        held = self._now()
        held.use_optimizer(phase.of, [])
        bad = [name for each, name in held.names.items() if each.grad is not None and not all_finite(each.grad)]
        self._tell(f"GradScaler skipped this step: inf or NaN in the gradient of {listed(bad)}")
        known = {"written": (), "skipped": tuple(bad), "rates_before": held.rates()}
        self._show("step", steps=held.point.steps + 1, **known)
        held.saved = Saved()
        self._mark("step")
        self._end_of("step")

    def _zero_grad_begins(self, phase: Phase) -> None:
        self._before(phase)
        if self.held is not None:
            self._copy(phase)

    def _zero_grad_ended(self, phase: Phase) -> None:
        self._note_parts(phase)
        if self.held is None:  # nothing has run yet: most loops begin with it
            return
        self._show("zero_grad")
        self._copies.end(self._now(), "zero_grad")
        self._mark("zero_grad")
        self._end_of("zero_grad")

    # -- what the script writes itself ---------------------------------------------------------------------------------
    def _mark(self, ended: Name) -> None:
        """Note the weights at the end of a phase; their contents too while no optimizer is known."""
        held = self._now()
        if is_transformed():
            return
        if self.found.optimizers:
            if ended == "step" or not self._runs_on:
                self._writes.mark(held.names)
        else:
            self._unowned = self._copies.take(held, "step")
            self._writes.mark(held.names, weights_of(self._unowned))

    def _find_writes(self, phase: Phase) -> None:
        """Find what the script wrote itself since the last phase; without an optimizer, a write is a step."""
        replaced = self._find_in_graph(phase) if phase.name == "backward" else ()
        written = self._writes.found()
        self._clipped = written.grads
        for name in (*written.to_none, *written.to_zeros):
            self.found.ledger.cleared(name, name in written.to_none)
        names = (*written.weights, *replaced)
        if not names:
            return
        if self.found.optimizers:
            self._tell(f"written outside of optimizer.step: {listed(names)}")
            return
        self._iterations.updates += 1
        self._updates_itself = True
        held = self._now()
        point = held.point
        since, steps = point.steps_since_forward + 1, point.steps + 1
        text = f"the script updates {listed(names)} itself"
        self._show("step", torch=text, written=names, steps_since_forward=since, steps=steps, unowned=True)
        held.saved = self._unowned
        self._end_of("step")

    # -- stops ---------------------------------------------------------------------------------------------------------
    @property
    def _runs_on(self) -> bool:
        """True while nothing can stop it but a pause: what only the next stop would show is not looked for."""
        return not (self.wanted.looks or self._steps.armed or self.thread.pausing)

    def _end_of(self, name: Name, last: bool = False) -> None:
        """Stop at the end of a phase where that is wanted; a step is the last of its iteration."""
        wanted, held = self.wanted, self._now()
        self.reason = self._steps.after(held, name, self.iteration, last or name == "step")
        if self.reason or self.thread.pausing or (wanted.until == "phase" and self._meets(wanted, name)):
            self._stop()

    def _meets(self, wanted: Wanted, name: Name) -> bool:
        if (wanted.names and name not in wanted.names) or self.iteration < wanted.iteration:
            return False
        return wanted.condition is None or self._steps.holds(self._now(), wanted.condition)

    def _stop(self, before: str = "") -> None:
        self.before = before
        self._look()
        self._halt()

    def _halt(self) -> None:
        if self.thread.pausing and not self.reason:
            self.reason = "pause"
        self.lines.paused()
        self.show_counted()
        held = self.held
        if held is not None and held.point.iteration != self.iteration:  # the stop is in front of an iteration's first
            held.point = replace(held.point, iteration=self.iteration)
        self._read_losses()
        self.thread.halt("phase")
        self.reason = ""

    def _at_line(self, frame: FrameType, numbers: tuple[int, ...]) -> None:
        """Stop at a line, if one of its breakpoints is hit or a pause was asked for."""
        if not self.thread.released:
            file = frame.f_code.co_filename
            self.show_counted()
            self.reason = self._steps.at_line(self._now(), f"{os.path.basename(file)}:{frame.f_lineno}", numbers)
            if self.reason or self.thread.pausing:
                self._halt()

    def _kept(self, phase: Name) -> bool:
        """Return whether the end of a phase is looked at, so that what it changes has to be known."""
        wanted = self.wanted
        if not wanted.looks or is_transformed():  # there a copy would be one of its tensors
            return False
        if wanted.until == "phase" and wanted.names and phase not in wanted.names:
            return phase == "step" and self._nests  # the user steps through its closure
        return True

    def _find_in_graph(self, phase: Phase) -> tuple[str, ...]:
        wanted = self.wanted.looks or self.held is None or not self.found.owns_parameters
        if not wanted:
            return ()
        return self.found.graph([each.grad_fn for each in phase.of.outputs if isinstance(each, Tensor)], phase.frame)

    def _copy(self, phase: Phase) -> None:
        if not phase.within:  # what raised has not ended
            self._copies.forget()
        if self._kept(phase.name):
            self._copies.begin(self._now(), phase.name)

    @property
    def losses(self) -> list[tuple[int, float | None]]:
        """Iteration and loss of each backward; None for one that is not a real scalar."""
        losses, unvalued = () if self.held is None else self.held.losses, self._losses.unvalued
        return [(number, None if place in unvalued else loss) for place, (number, loss) in enumerate(losses)]

    def _read_losses(self) -> None:
        last = self._losses.read(self._now()) if self._losses.unread else None
        if last is not None and self.held is not None:
            self.held.point = replace(self.held.point, value=last.value, change=last.change)

    def _look(self) -> None:
        """Update what a stop shows."""
        self.found.schedulers(sys._getframe(1))
        if self.held is not None and self.held.point.phase == "forward" and not self.held.point.terms:
            self._find_terms(sys._getframe(1))
        self._now(checks=True)

    def _now(self, checks: bool = False) -> Held:
        self.held = self.found.held(checks)
        return self.held

    def _tell(self, text: str) -> None:
        """Print a line at the next stop; a line that repeats is printed once."""
        if text not in self.notes and len(self.notes) < _NOTES:
            self.notes.append(text)

    def _show(self, name: Name, **changed: Any) -> None:
        held = self._now()
        done = with_phase(held.point.done, name)
        known = {**_NOTED, "torch": changed.get("torch") or self._sites.last[name].line, **changed}
        held.point = replace(held.point, phase=name, done=done, iteration=self.iteration, **known)


def all_finite(tensor: Tensor) -> bool:
    """Return whether no element is inf or NaN."""
    with unobserved():
        return bool(tensor.coalesce().values().isfinite().all() if tensor.is_sparse else tensor.isfinite().all())


def _named(module: nn.Module, args: tuple[Any, ...]) -> dict[str, Any]:
    """Return the positional arguments of a forward by the names of its parameters."""
    forward = getattr_static(type(module), "forward")  # that of a scripted module is not a function
    names = forward.__code__.co_varnames[1 : forward.__code__.co_argcount] if type(forward) is FunctionType else ()
    return {names[i] if i < len(names) else f"input{i}": each for i, each in enumerate(args)}
