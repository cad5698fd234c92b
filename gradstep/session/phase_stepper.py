"""Stepping inside a phase: the phase in progress, its breakpoints, and pause."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import torch
from msgspec.structs import replace

from gradstep.engine.diagnose.backward_errors import with_cause
from gradstep.engine.expressions.evaluate import describe, evaluate, holds
from gradstep.engine.expressions.names import NothingThereError
from gradstep.engine.expressions.scope import HeldScope
from gradstep.engine.runner import Runner
from gradstep.engine.stepping.breakpoints import Breakpoints
from gradstep.engine.stepping.stepper import Stepping, Thread
from gradstep.engine.stepping.stop_condition import Kind
from gradstep.values import commands as cmd
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.expressions import Expression, expression_line
from gradstep.values.views.inside import Position

T = TypeVar("T")

LONG = 0.3
"""Seconds from which on a phase is long enough to pause."""
NOTICED = 0.1
"""Seconds that a key may wait for a rerun."""
_MANY = 10_000
"""Nodes from which on hooking a backward may take longer than the backward."""
_HOOKED = 1e-5
"""Seconds that it takes to hook a node, and to pass it."""
STEPS = (cmd.Into, cmd.Over, cmd.Out, cmd.Continue, cmd.Until)
"""The commands that step into a phase, or continue from a stop inside one."""


class PhaseStepper:
    """Steps the phases of one workload."""

    def __init__(self, runner: Runner, scope: HeldScope) -> None:
        self._runner, self._held, self._scope = runner, runner.held, scope
        self._stepping: Stepping | None = None
        self._observed = True
        self._freed_by = ""
        self._pause: cmd.Pause | None = None
        self._modules = False
        self.breakpoints = Breakpoints()
        self.pauses = False
        """True where a user can press pause: long phases are then observed, so that they can be paused."""
        self._took: dict[str, float] = {}
        """The seconds of each phase that ran uninterrupted, the last time."""
        self.waiting: Callable[[str], None] = lambda _: None
        """Called with the name of the op that a pause waits for."""
        self.notes: list[str] = []
        """The output of logpoints in the last command."""

    @property
    def inside(self) -> bool:
        """True at a stop inside a phase."""
        return self._stepping is not None

    @property
    def position(self) -> Position | None:
        """The position of the stop; None between phases."""
        return None if self._stepping is None else self._stepping.position

    @property
    def stepping(self) -> Stepping | None:
        """The phase that is being stepped."""
        return self._stepping

    def run(self, act: cmd.PhaseCommand | cmd.NextBatch) -> bool:
        """Run a phase, observed if a breakpoint could stop it; return True if it stopped inside.

        Raises:
            GradstepError: it raised, or another phase is in progress.
        """
        self.refuse_inside()
        self.notes = []
        if isinstance(act, (cmd.Forward, cmd.Backward)):
            name, began = cmd.ACT_NAMES[type(act)], time.monotonic()
            watched = self.breakpoints.inside(name, name == "forward" and self._held.point.watched.runs_backward)
            if self._pause is not None:
                return self.begin(act, "continue", ops=not self._pause.modules)
            inside = self.begin(act, "continue", ops=watched) if watched or name in self.pausable else self._run(act)
            if not inside and not watched:
                self._took[name] = time.monotonic() - began
            return inside
        return self._run(act)

    @property
    def reruns_long(self) -> bool:
        """True when running the last forward and backward again takes so long that a key must not wait for it."""
        return sum(self._took.values()) > NOTICED

    def _is_long(self, name: str) -> bool:
        """Return whether a phase took long, other than for so many nodes that hooking each would take even longer."""
        seconds = self._took.get(name, 0.0)
        nodes = len(self._held.point.watched.numbers) if name == "backward" else 0
        return seconds > LONG and (nodes < _MANY or seconds > nodes * _HOOKED)

    def _run(self, act: cmd.PhaseCommand | cmd.NextBatch) -> bool:
        try:
            self._runner.run(act)
        except GradstepError as error:
            raise self._named(error) from error
        return False

    @property
    def pausable(self) -> tuple[str, ...]:
        """The phases that are observed so that they can be paused: those that took long the last time.

        A phase that never ran is not: it would run on a second thread, and if the user's code hangs there, no signal
        interrupts it as it does on the main thread.
        """
        return tuple([name for name in ("forward", "backward") if self.pauses and self._is_long(name)])

    def begin(self, act: cmd.Forward | cmd.Backward, kind: Kind, place: int = 0, ops: bool = True) -> bool:
        """Begin to step a phase; return True if it stopped inside. For the kind `place`, it runs to that place."""
        self.refuse_inside()
        runner = self._runner
        # observed, so that a phase that is abandoned halfway can be rolled back
        self._observed, runner.observed, runner.inside = runner.observed, True, True
        self._stepping = Stepping(
            runner, act, self.breakpoints, self._holds, self._describe, ops, self.waiting, self._scope
        )
        self._modules = not ops
        self._scope.stop_place = lambda: None if self._stepping is None else self._stepping.stop_place
        return self.go(kind, place=place)

    def follow(self, act: cmd.Forward | cmd.Backward, thread: Thread, kind: Kind) -> Stepping:
        """Step a phase that somebody else runs, on `thread`; return what steps it."""
        self._stepping = stepping = Stepping(
            self._runner, act, self.breakpoints, self._holds, self._describe, True, self.waiting, self._scope, thread
        )
        self._scope.stop_place = lambda: None if self._stepping is None else self._stepping.stop_place
        stepping.will(kind)
        return stepping

    def left(self) -> None:
        """Note that the phase that was stepped has ended."""
        self._end()

    def go(self, kind: Kind, until: Expression | None = None, place: int = 0) -> bool:
        """Continue from the stop; return True if it stopped inside again, False at the end of the phase.

        Raises:
            GradstepError: it raised, and was rolled back; or no phase is in progress.
        """
        stepping = self._stepping
        if stepping is None:
            remedy = "`into` steps into the natural next phase, `into backward` into a backward."
            raise wrong("not inside a phase", "there is nothing to continue", remedy)
        inside = False
        stepping.pause_at, self._pause = 0 if self._pause is None else self._pause.place, None
        try:
            inside = stepping.go(kind, until, place)
        except GradstepError as error:
            raise self._named(error) from error
        finally:
            self.notes = stepping.notes
            if not inside:
                self._end()
        return inside

    @property
    def paused(self) -> cmd.Pause | None:
        """The command that makes a replay stop here again; None if it was not stopped by a pause."""
        stepping = self._stepping
        return cmd.Pause(stepping.place, self._modules) if stepping is not None and stepping.paused else None

    def pause(self, command: cmd.Pause) -> str:
        """Make the next run stop at a place.

        Raises:
            GradstepError: the phase in progress is already past it.
        """
        if self._stepping is not None and command.place <= self._stepping.place:
            what = f"it is at place {self._stepping.place}"
            raise wrong(
                f"this {self._stepping.phase} is past place {command.place}", what, "`undo` goes back inside it"
            )
        self._pause = command
        return ""

    def abandon(self) -> None:
        """Roll back the phase in progress."""
        if self._stepping is not None:
            try:
                self._stepping.abandon()
            finally:
                self._end()

    def back(self, stops: int) -> bool:
        """Go back by some stops inside the phase, or with 0 out of it; return True if it is still inside.

        The phase is rolled back and re-run up to that stop, as its inside can't be restored from a copy.
        """
        stepping = self._stepping
        assert stepping is not None
        act, places = stepping.act, stepping.stops[: len(stepping.stops) - stops] if stops else []
        self.abandon()
        if not places:
            return False
        if isinstance(act, cmd.Backward):  # a place is listed once for its stop, and once more for each edit there
            act = replace(act, flows=act.flows[: len(places) - len(set(places))])
        self.begin(act, "place", places[-1])
        assert self._stepping is not None
        self._stepping.stops[:] = places
        return True

    def change(self, command: cmd.Assign) -> str:
        """Edit the gradient at the stop; return its output.

        Raises:
            GradstepError: no gradient flows here, or it can't take that value; nothing has changed.
        """
        stepping = self._stepping
        if stepping is None:
            line, what = expression_line(command.target), "no backward is in progress, so no gradient flows"
            raise wrong(f"there is no {line} to set", what, "`into backward` stops before a node, `over` at the next")
        return self.here(lambda: stepping.change(command))

    def add(self, command: cmd.Break) -> str:
        """Set a breakpoint; return its line.

        Raises:
            GradstepError: it can't match anything, or its condition can't be evaluated anywhere, e.g. unknown names.
        """
        self._check(command.condition, self._holds)
        self._check(command.log, self._describe)
        return self.breakpoints.add(command, self._held)

    def ended(self, freed: bool, command: str) -> None:
        """Keep the command whose backward freed the graph of the last loss, for an error of the next one."""
        if freed and not self._freed_by:
            self._freed_by = command
        elif not self._held.point.freed:
            self._freed_by = ""

    def _named(self, error: GradstepError) -> GradstepError:
        return GradstepError(with_cause(self._held, error.problem, self._freed_by))

    def here(self, errand: Callable[[], T]) -> T:
        """Call `errand` on the thread of the phase in progress, the only one that may use torch; else right here."""
        if self._stepping is None:
            return errand()

        def without_grad() -> T:
            with torch.no_grad():  # nodes created here would shift the sequence numbers of the phase
                return errand()

        return self._stepping.ask(without_grad)

    def refuse_inside(self) -> None:
        """Raise if a phase is in progress.

        Raises:
            GradstepError: a phase is in progress, so nothing else can run.
        """
        if self._stepping is not None:
            raise wrong(
                f"a {self._stepping.phase} is in progress",
                "nothing else can run before it ends",
                "finish it with `out phase`" + ("" if self._held.script else ", or roll it back with `undo phase`"),
            )

    def at_line(self, place: str, numbers: Sequence[int]) -> str:
        """Return the line of the breakpoint that is hit among those at a source line; empty for none."""
        return self.breakpoints.at_line(place, numbers, self._holds, self._describe, self.notes)

    def after(self, phase: str, iteration: int, updates: bool, found: Sequence[str] = ()) -> str:
        """Return the line of the breakpoint that the end of a phase hits, empty for none; see `Breakpoints.after`."""
        return self.breakpoints.after(phase, iteration, updates, self._holds, self._describe, self.notes, found)

    def _end(self) -> None:
        self._stepping, self._runner.observed, self._runner.inside = None, self._observed, False

    def _holds(self, condition: Expression) -> bool:
        return holds(evaluate(condition, self._scope))

    def _check(self, expression: Expression | None, evaluated: Callable[[Expression], object]) -> None:
        """Evaluate an expression here; a name without a value yet may have one where the breakpoint is hit."""
        with suppress(NothingThereError):
            if expression is not None:
                evaluated(expression)

    def _describe(self, value: Expression) -> str:
        return describe(evaluate(value, self._scope))
