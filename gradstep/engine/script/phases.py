"""The phases of a script that are recorded: what each of them does to what the views show."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from msgspec.structs import replace
from torch import Tensor, nn
from torch.optim import Optimizer

from gradstep.engine.debuggee.loop import Point
from gradstep.engine.observe.engine_calls import EngineCall, is_transformed
from gradstep.engine.observe.functions import unobserved
from gradstep.engine.observe.loop_phases import Name, Phase
from gradstep.engine.observe.stream import GradientsClipped, ScalerCalled, SchedulerSteps
from gradstep.engine.script.copies import CopiesBefore
from gradstep.engine.script.counted import Counted, done_with_loss, returned_by, with_phase
from gradstep.engine.script.forward import ScriptForward
from gradstep.engine.script.found import Found
from gradstep.engine.script.iterations import CallSites, Iterations
from gradstep.engine.script.loop_client import Begins, LoopClient, Wanted
from gradstep.engine.script.losses import Losses
from gradstep.engine.script.stops import ScriptStops
from gradstep.engine.script.writes import ScriptWrites
from gradstep.engine.state.saved import Saved
from gradstep.values.commands import Backward
from gradstep.values.numbers import listed

CALLS = {GradientsClipped: "clip", SchedulerSteps: "scheduler", ScalerCalled: "scaler"}
"""The calls that are not phases and that the checks hear of."""
_NOTED = {"skipped": (), "clipped": (), "unowned": False, "counted": False}


class ScriptPhases:
    """Records the phases of a script, and stops at them.

    Args:
        found: what is trained.
        iterations: counts the iterations.
        sites: where each phase was called.
        losses: the losses.
        client: has the breakpoints and the checks.
        stops: stops the script.
        forward: the forward that runs.
        copies: of what the phases that run may write.
    """

    def __init__(
        self,
        found: Found,
        iterations: Iterations,
        sites: CallSites,
        losses: Losses,
        client: LoopClient,
        stops: ScriptStops,
        forward: ScriptForward,
        copies: CopiesBefore,
    ) -> None:
        self._found, self._iterations, self._sites, self._losses = found, iterations, sites, losses
        self._client, self._stops, self._forward = client, stops, forward
        self._backward: ExitStack | None = None
        """What steps the backward that runs."""
        self.in_step = False
        """True while an optimizer's step runs, which may have raised."""
        self._rates: tuple[float, ...] = ()
        """The learning rates when the step that runs began."""
        self._nests = True
        """False once a step has run no closure."""
        self._copies = copies
        self.writes = ScriptWrites(found, iterations, stops, copies, self._show)
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

    def record(self, phase: Phase, new: bool) -> None:
        """Record a phase, and stop where that is wanted.

        Args:
            phase: the phase.
            new: it begins another iteration.
        """
        stops, begins = self._stops, phase.edge == "begins"
        if not phase.grad_mode and phase.name == "forward":
            if begins and not phase.within:
                self._before(phase, "evaluation")
            return
        if begins and not phase.within:
            self._begin(phase, new)
        elif begins and stops.wanted.until == "first" and phase.name != "zero_grad":
            self._note_parts(phase)
            stops.stop(before=phase.name)
        handle = self._handlers.get((phase.name, phase.edge))
        if handle is not None:
            handle(phase)

    def called(self, event: Any) -> None:
        """Have the checks hear of a call that is not a phase."""
        if self._client.due(self._iterations.number):
            begins = Begins(CALLS[type(event)], event, written=self.writes.touched())
            self._client.before(self._found.held(), begins)

    def leave(self) -> None:
        """Watch nothing more."""
        self._forward.leave()
        if self._backward is not None:
            self._backward.close()
            self._backward = None

    def forget(self) -> None:
        """Forget what was recorded: the next phases are only counted."""
        self._forward.forget()
        self.writes.forget()
        self._copies.forget()
        self._found.ledger.forget()

    def goes_on(self, counted: Counted) -> None:
        """Record from here on, after phases that were only counted."""
        self._nests = counted.nests
        self._forward.goes_on(counted.forward_line)

    def _before(self, phase: Phase, name: str = "") -> None:
        if not self._due:
            return
        written = () if phase.within or name else self.writes.clipped
        known = (phase.of, phase.args, phase.kwargs, phase.grad_mode, written, phase.within)
        self._client.before(self._found.held(), Begins(name or phase.name, *known))

    @property
    def _due(self) -> bool:
        return self._client.due(self._iterations.number)

    def _begin(self, phase: Phase, new: bool) -> None:
        """Begin another iteration with this phase, where it does; stop before it, if that is wanted."""
        if new:
            self._forward.close()  # of an evaluation: no backward has come of it
        stops = self._stops
        first = stops.wanted.until == "first" and phase.name in ("forward", "backward")
        if not first and not (new and stops.wanted.until == "iteration"):
            return
        if phase.name == "backward" and not self._forward.runs:  # a loop without modules: what it calls first is this
            stops.wanted = Wanted("phase")
        else:
            self._note_parts(phase)
            stops.stop(before=phase.name)

    def _note_parts(self, phase: Phase) -> None:
        if isinstance(phase.of, nn.Module):
            self._found.module(phase.of, phase.frame)
        elif isinstance(phase.of, Optimizer):
            self._found.optimizer(phase.of, phase.frame)

    def _forward_begins(self, phase: Phase) -> None:
        self._note_parts(phase)
        self._before(phase)
        if not self._forward.runs:
            line = self._sites.last["forward"].line
            self._forward.begin(phase, line, phase.grad_mode and self._due, lambda: self._copy(phase))

    def watch_for_operation(self) -> None:
        """Have `into` stop at the next forward also in a loop without modules."""
        self._forward.watch_for_operation(self._backward is None and not self._found.has_models)

    def _backward_begins(self, phase: Phase) -> None:
        call: EngineCall = phase.of
        stops, forward = self._stops, self._forward
        called = forward.runs
        ends = called or not self._losses.computed_before(call)
        forward.close()
        self._use_loss(phase)
        if ends and not stops.wanted.runs_on:
            forward.show_terms(phase.frame)
            forward.show_batch()
        if ends and forward.tape is not None:
            forward.tape.finish(stops.now().point.loss)
        if ends:
            self._copies.end(stops.now(), "forward")
            if not called:  # no module: the weights are as they were
                stops.now().saved = Saved()
            stops.end_of("forward")
        forward.watch_for_operation(False)
        into = stops.wanted.until == "into"
        self._before(phase)
        self._copy(phase)
        if (into or self._client.inside("backward")) and stops.now().graph() is not None:
            self._backward = stack = ExitStack()
            stack.enter_context(self._client.stepping(stops.now(), Backward(), into).backward())

    def _use_loss(self, phase: Phase) -> None:
        held, site, number = self._stops.now(), self._sites.last["backward"], self._iterations.number
        later = self._stops.runs_on and not phase.within and not self._due
        loss = self._losses.add(held, phase.of, phase.frame, site, number, later)
        old, forward = held.point, self._forward
        held.point = Point(
            phase="forward",
            torch=forward.line or site.line,
            done=done_with_loss(old.done),
            iteration=number,
            loss=loss.tensor,
            value=loss.value,
            change=loss.change,
            used_batch=True,
            watched=forward.watched,
            steps=old.steps,
            transformed=is_transformed(),
        )
        forward.line = ""

    def _backward_ended(self, phase: Phase) -> None:
        if self._backward is not None:
            self._backward.close()
            self._backward = None
            self._client.left()
            self.watch_for_operation()
        self._losses.ended()
        written = self._found.bookkeeper.written
        freed, returned = not phase.of.retains, returned_by(phase.of)
        self._show("backward", ran=True, freed=freed, written=written, returned=returned)
        self._copies.end(self._stops.now(), "backward")
        last = is_transformed() or self._updates_unseen(phase)
        self._iterations.updates += last
        self.writes.mark("backward")
        self._stops.end_of("backward", last)

    def _updates_unseen(self, phase: Phase) -> bool:
        """Return whether a backward counts as the update of an iteration: nothing else was seen to make one."""
        return not (self._found.optimizers or self.writes.updates or self._found.names_optimizer(phase.frame))

    def _step_begins(self, phase: Phase) -> None:
        self.in_step = True
        self._found.optimizer(phase.of, phase.frame)
        held = self._stops.now()
        held.use_optimizer(phase.of, [])
        self._rates = held.rates()
        self._losses.begin()
        self._before(phase)
        self._copy(phase)

    def _step_ended(self, phase: Phase) -> None:
        self.in_step = False
        found = vars(phase.of).get("found_inf")  # of a fused optimizer, whose kernel skips the step itself
        if isinstance(found, Tensor) and not self._stops.wanted.runs_on and found.item():
            self._step_skipped(phase)
            return
        self._iterations.updates += 1
        held, books = self._stops.now(), self._found.bookkeeper
        held.use_optimizer(phase.of, [])
        since = held.point.steps_since_forward + bool(books.used)
        calls = tuple(self._losses.begin())
        self._nests = bool(calls)
        changed = {"written": books.used, "again": books.again, "calls": calls, "rates_before": self._rates}
        changed["clipped"] = self.writes.clipped
        self._show("step", steps_since_forward=since, steps=held.point.steps + 1, **changed)
        self._ended("step")

    def _step_skipped(self, phase: Phase) -> None:
        """Note a step that a `GradScaler` skipped, and the gradients that are not finite."""
        self._iterations.updates += 1
        self._sites.note("step", phase.frame)
        self._found.optimizer(phase.of, phase.frame)
        held = self._stops.now()
        held.use_optimizer(phase.of, [])
        bad = [name for each, name in held.names.items() if each.grad is not None and not all_finite(each.grad)]
        self._stops.tell(f"GradScaler skipped this step: inf or NaN in the gradient of {listed(bad)}")
        known = {"written": (), "skipped": tuple(bad), "rates_before": held.rates()}
        self._show("step", steps=held.point.steps + 1, **known)
        held.saved = Saved()
        self.writes.mark("step")
        self._stops.end_of("step")

    def _zero_grad_begins(self, phase: Phase) -> None:
        self._before(phase)
        if self._stops.held is not None:
            self._copy(phase)

    def _zero_grad_ended(self, phase: Phase) -> None:
        self._note_parts(phase)
        if self._stops.held is not None:  # before that nothing has run: most loops begin with it
            self._show("zero_grad")
            self._ended("zero_grad")

    def _copy(self, phase: Phase) -> None:
        if not phase.within:  # what raised has not ended
            self._copies.forget()
        if self._stops.shows(phase.name, self._nests):
            self._copies.begin(self._stops.now(), phase.name)

    def _show(self, name: Name, **changed: Any) -> None:
        held = self._stops.now()
        done = with_phase(held.point.done, name)
        known = {**_NOTED, "torch": changed.get("torch") or self._sites.last[name].line, **changed}
        held.point = replace(held.point, phase=name, done=done, iteration=self._iterations.number, **known)

    def _ended(self, name: Name) -> None:
        self._copies.end(self._stops.now(), name)
        self.writes.mark(name)
        self._stops.end_of(name)


def all_finite(tensor: Tensor) -> bool:
    """Return whether no element is inf or NaN."""
    with unobserved():
        return bool(tensor.coalesce().values().isfinite().all() if tensor.is_sparse else tensor.isfinite().all())
