"""The script's training loop as it runs: each of its phases is recorded for a stop, or only counted."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from threading import current_thread, get_ident
from types import FrameType
from typing import Any

import torch
from msgspec.structs import replace
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from gradstep.engine.debuggee.generators import Randomness
from gradstep.engine.debuggee.loop import Point
from gradstep.engine.held import Held
from gradstep.engine.observe.engine_calls import is_transformed
from gradstep.engine.observe.loop_phases import NONE, Edge, LoopPhases, Name, Phase
from gradstep.engine.observe.observer import observe
from gradstep.engine.observe.stream import EngineLeft, StepLeft, Zeroed
from gradstep.engine.observe.subscriptions import Observation
from gradstep.engine.script.copies import CopiesBefore
from gradstep.engine.script.counted import Counted
from gradstep.engine.script.forward import ScriptForward
from gradstep.engine.script.found import Found
from gradstep.engine.script.frames import release_locals
from gradstep.engine.script.iterations import CallSites, Iterations
from gradstep.engine.script.loop_client import LoopClient
from gradstep.engine.script.losses import Losses, value_of
from gradstep.engine.script.main_thread import MainThread
from gradstep.engine.script.phases import CALLS, ScriptPhases
from gradstep.engine.script.stack import Stack
from gradstep.engine.script.stops import ScriptStops
from gradstep.engine.script.tape import Tape
from gradstep.engine.state.saved import Copier, Saved

SHARE = 0.005
"""Share of the running time that recording phases may take while nothing but a pause can stop the script."""

_modes: Callable[[], int] = torch._C._len_torch_dispatch_stack
"""Returns how many dispatch modes are active."""


def child_time() -> float:
    """Return the CPU seconds of all child processes of this one that have ended."""
    ran = os.times()
    return ran.children_user + ran.children_system


class ScriptLoop:
    """Watches a script on its thread.

    Args:
        name: what the script is called.
        thread: its thread.
        client: has the breakpoints and the checks.
        copier: has the copies that are recorded already.
    """

    def __init__(self, name: str, thread: MainThread, client: LoopClient, copier: Copier | None = None) -> None:
        self._thread, self._client = thread, client
        self.found = Found(name)
        self.stack = Stack(thread)
        thread.resumed = self._resumed
        self._iterations, self._sites, self._losses = iterations, sites, losses = Iterations(), CallSites(), Losses()
        self.stops = ScriptStops(thread, client, self.found, iterations, losses, self.show_counted, self._complete)
        self._forward = ScriptForward(client, self.stops, self._operates)
        self._phases = ScriptPhases(
            self.found, iterations, sites, losses, client, self.stops, self._forward, CopiesBefore(copier)
        )
        self._counted = Counted(self.found, iterations, losses)
        self.counts = False
        """True while phases are only counted: nothing but a pause can stop the script."""
        self._began, self._spent = time.perf_counter(), 0.0
        """When the script ran on from its last stop, and the seconds that recording phases has taken since."""
        self._free = False
        """True where nothing but a pause can stop it before its end."""
        self._watching = ExitStack()
        self._books: tuple[Observation, ...] = ()
        """What the bookkeeper observes: nothing while phases are only counted."""
        self._ident = 0
        self.elsewhere = ""
        """The name of another thread on which an optimizer has stepped; empty for none."""
        self.child_time = child_time()
        """That of the child processes from before the script."""
        self.told: Callable[[Name, Edge, bool, bool], None] | None = None
        """Called with each phase that begins or has ended, once it is noted: its name, edge, whether it is in no other,
        and the grad mode."""

    # -- what is known -------------------------------------------------------------------------------------------------
    @property
    def held(self) -> Held | None:
        """What was found, as of the last stop."""
        return self.stops.held

    @property
    def iteration(self) -> int:
        """Iterations begun before this one."""
        return self._iterations.number

    @property
    def in_forward(self) -> bool:
        """True from the first module call of a forward to its backward."""
        return self._forward.runs or (self.counts and bool(self._counted.forward_line))

    @property
    def in_step(self) -> bool:
        """True while an optimizer's step runs, which may have raised."""
        return self._counted.in_step if self.counts else self._phases.in_step

    @property
    def tape(self) -> Tape | None:
        """The last forward, where it was recorded."""
        return self._forward.tape

    @property
    def began(self) -> Randomness | None:
        """The generators before it."""
        return self._forward.began

    @property
    def point(self) -> Point:
        """The point of the last phase, also while the script runs."""
        return self._counted.point() if self.counts or self.held is None else self.held.point

    @property
    def losses(self) -> list[tuple[int, float | None]]:
        """Iteration and loss of each backward; None for one that is not a real scalar."""
        losses, unvalued = () if self.held is None else self.held.losses, self._losses.unvalued
        return [(number, None if place in unvalued else loss) for place, (number, loss) in enumerate(losses)]

    # -- watching ------------------------------------------------------------------------------------------------------
    def watch(self) -> None:
        """Watch what the calling frame runs on this thread from now on."""
        self._ident = get_ident()
        self.stack.caller = self._sites.caller = sys._getframe(1).f_code
        self._go_on()
        phases, books = LoopPhases(self).consumer(), self.found.bookkeeper
        kept, ends = books.consumer(), frozenset[type]({EngineLeft, StepLeft, Zeroed})
        first = {kind: told for kind, told in kept.items() if kind in ends}
        last = {kind: told for kind, told in kept.items() if kind not in ends}
        # what has ended is in the ledger when the loop hears of it
        before = self._watching.enter_context(observe(first))
        self._watching.enter_context(observe(phases))
        after = self._watching.enter_context(observe(last, leaves=books.leaves))
        self._books = (before, after)
        self._watching.enter_context(observe(dict.fromkeys(CALLS, self._called)))
        self._watching.enter_context(observe(everywhere=[{StepLeft: self._stepped}]))
        self.stops.lines.install()

    def _stepped(self, _: StepLeft) -> None:
        if get_ident() != self._ident:
            self.elsewhere = current_thread().name

    def leave(self) -> None:
        """Watch nothing more. Call on the script's thread."""
        self.show_counted()
        self.stops.read_losses()
        self._phases.leave()
        self._watching.close()
        lines = self.stops.lines
        lines.places = {}
        lines.paused()
        lines.install()

    def _go_on(self) -> None:
        self._began, self._spent = time.perf_counter(), 0.0
        self._free = self.stops.wanted.runs_on and not self._client.armed

    def _resumed(self) -> None:
        self.stack.number = 0
        self._go_on()
        release_locals(sys._getframe(1))
        if not self._thread.pausing:
            self.stops.lines.paused()
        if self._thread.released:
            self.leave()
            return
        self.stops.lines.install()
        self._phases.watch_for_operation()

    # -- phases --------------------------------------------------------------------------------------------------------
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
        """Note a phase that begins; see `Phase`."""
        if _modes():  # the script's own modes see none of what is done here
            with _disable_current_modes():
                return self.begins(name, of, within, grad_mode, args, kwargs, frame)
        if self._thread.released:
            return self.leave()
        try:
            trains, new = grad_mode or name != "forward", False
            if trains:
                site = self._sites.note(name, frame)
                if not within:
                    if not self.counts and not is_transformed():
                        self._phases.writes.find(name, of, frame)
                    new = of is not None and self._iterations.begins(site)  # an operation is watched only for `into`
                    if new or not self._free or not self.found.optimizers:
                        self._count_or_record(new)
                if self.counts:
                    self._counted.begins(name, of, frame, site)
            if not self.counts:
                self._record(Phase(name, "begins", of, within, grad_mode, args, kwargs, frame), new)
            if self.told is not None:
                self.told(name, "begins", not within, grad_mode)
        except Exception as error:  # a fault of gradstep's own is not one of the script
            self._failed(name, error)

    def ended(
        self, name: Name, of: Any, within: tuple[str, ...], grad_mode: bool, frame: FrameType | None, edge: Edge
    ) -> None:
        """Note a phase that has ended, or a step that was skipped; see `Phase`."""
        if _modes():
            with _disable_current_modes():
                return self.ended(name, of, within, grad_mode, frame, edge)
        if self._thread.released:
            return self.leave()
        try:
            if self.counts and edge == "ended":
                if grad_mode or name != "forward":
                    self._counted.ended(name, of, frame, self._sites.last[name])
            else:
                self.show_counted()
                self._record(Phase(name, edge, of, within, grad_mode, frame=frame))
                if self.counts:
                    self._counted.begin(self.stops.now().point)
            if self.told is not None:
                self.told(name, edge, not within, grad_mode)
        except Exception as error:
            self._failed(name, error)

    def _record(self, phase: Phase, new: bool = False) -> None:
        began = time.perf_counter()
        self._phases.record(phase, new)
        self._spent += time.perf_counter() - began

    def _failed(self, name: Name, error: Exception) -> None:
        self.stops.tell(f"gradstep could not follow a {name}: {type(error).__name__}: {error}")

    def _operates(self, frame: FrameType) -> None:
        """Begin a forward with an operation, in a loop without modules."""
        if not self._forward.runs:
            self.begins("forward", None, ("step",) * self.in_step, True, (), NONE, frame)

    def _called(self, event: Any) -> None:
        if not self._thread.released:
            self._phases.called(event)

    def _count_or_record(self, new: bool) -> None:
        """Decide whether phases are only counted from here on, where a phase begins that is in no other.

        Recording begins at any such phase, for a stop; else at a new iteration, as counting does.
        """
        counts = self._free and bool(self.found.optimizers) and (new or self.counts)
        if counts and new:
            spare = SHARE * (time.perf_counter() - self._began)
            counts = self._spent > spare and not self._client.due(self.iteration) and not self._thread.pausing
        if counts == self.counts:
            return
        if counts:
            self._phases.forget()
            self._counted.begin(self.stops.now().point)
        else:
            self.show_counted()
            self._phases.goes_on(self._counted)
        self.counts = counts
        for each in self._books:
            each.pause(counts)

    # -- what a stop shows ---------------------------------------------------------------------------------------------
    def show_counted(self) -> None:
        """Have the views show the phase that was counted last."""
        if self.counts:
            held = self.stops.now()
            held.point, held.saved = self._counted.point(), Saved(known=False)

    def show_loss(self, loss: Tensor, frame: FrameType | None, freed: bool = False) -> None:
        """Have the views show a loss and its graph, which were computed before anything was watched."""
        if loss.grad_fn is not None:
            self.found.graph([loss.grad_fn], frame)
        held = self.stops.now()
        ended = () if freed else ("forward",)
        known = {"phase": "".join(ended), "done": ended, "loss": loss, "value": value_of(loss), "attached": True}
        held.point, held.saved = replace(held.point, **known, ran=freed, freed=freed), Saved(known=False)

    def show_attached(self, value: float | None = None) -> None:
        """Have the views say that the script ran before anything was watched, and show the value of its last loss."""
        held = self.stops.now()
        held.point = replace(held.point, value=value, attached=True)

    def _complete(self, frame: FrameType) -> None:
        """Find what only a stop shows: the schedulers, and the terms of the loss."""
        self.found.schedulers(frame)
        if self.held is not None and self.held.point.phase == "forward" and not self.held.point.terms:
            self._forward.show_terms(frame)
