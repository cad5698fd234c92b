"""What a script's loop asks while it runs: breakpoints, stepping inside a phase, and the checks."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch

from gradstep.checks.check import Moment
from gradstep.checks.checker import Checker
from gradstep.engine.expressions.evaluate import evaluate, holds
from gradstep.engine.held import Held
from gradstep.engine.runner import Runner
from gradstep.engine.script.frames import call_site, named_values
from gradstep.engine.script.holding import Trained, held_workload
from gradstep.engine.script.loop import ScriptLoop
from gradstep.engine.script.loop_client import Begins
from gradstep.engine.script.main_thread import MainThread
from gradstep.engine.stepping.breakpoints import Breakpoints
from gradstep.engine.stepping.stepper import Stepping
from gradstep.session.inspector import Inspector
from gradstep.values import commands as cmd
from gradstep.values.commands import PHASES
from gradstep.values.errors import GradstepError
from gradstep.values.expressions import Expression


class ScriptWatch:
    """Answers the loop on the script's thread; the session reads at a stop what it has.

    Args:
        thread: the script's.
    """

    def __init__(self, thread: MainThread) -> None:
        self._thread = thread
        self.loop: ScriptLoop | None = None
        """The loop that asks; None before a script runs."""
        self.breakpoints = Breakpoints()
        self.checker = Checker(script=True)
        self.inspector: Inspector | None = None
        """Of what was found so far; None before anything was."""
        self._begun = Begins("", None)
        """The phase that began last."""

    def inspector_of(self, held: Held) -> Inspector:
        """Return the inspector of what was found; another one once more was found."""
        old = self.inspector
        if old is not None and old.held is held:
            return old
        self.inspector = made = Inspector(Runner(held))
        if old is not None:
            made.stepper.notes = old.stepper.notes
        made.checker = self.checker
        made.stepper.breakpoints, made.stepper.pauses = self.breakpoints, True
        loop = self.loop
        assert loop is not None
        made.copies = lambda: held_workload(self.trained(held), "")[0]
        made.stack, made.line = loop.stack, lambda: loop.stack.source
        made.scope.variables = lambda: loop.stack.variables
        if old is not None:
            made.scope.lets, made.selection, made.watches = old.scope.lets, old.selection, old.watches
        return made

    def trained(self, held: Held) -> Trained:
        """Return what a copy is made of."""
        loop = self.loop
        assert loop is not None
        values = [value for _, value in named_values(self._thread.frame)]
        return Trained(held, loop.tape, loop.began, loop.found.optimizers, values, loop.in_step)

    # -- what the loop asks, on the script's thread --------------------------------------------------------------------
    def due(self, iteration: int) -> bool:
        """Return whether the checks look at an iteration."""
        return self.checker.due(iteration)

    @property
    def armed(self) -> bool:
        """True while a breakpoint is enabled."""
        return self.breakpoints.armed

    def inside(self, phase: str) -> bool:
        """Return whether a breakpoint may stop it inside a phase."""
        return self.breakpoints.inside(phase)

    def stepping(self, held: Held, act: cmd.Forward | cmd.Backward, into: bool) -> Stepping:
        """Return what steps a phase that begins."""
        return self.inspector_of(held).stepper.follow(act, self._thread, "into" if into else "continue")

    def at_line(self, held: Held, place: str, numbers: tuple[int, ...]) -> str:
        """Return the line of the breakpoint that is hit among those of a source line; empty for none."""
        return self.inspector_of(held).stepper.at_line(place, numbers)

    def left(self) -> None:
        """Note that the phase that was stepped has ended."""
        if self.inspector is not None:
            self.inspector.stepper.left()

    def holds(self, held: Held, condition: Expression) -> bool:
        """Return whether a condition holds; False where a name in it has no value yet."""
        try:
            return holds(evaluate(condition, self.inspector_of(held).scope))
        except GradstepError:
            return False

    def before(self, held: Held, begins: Begins) -> None:
        """Have the checks look at what begins."""
        if begins.name in PHASES:
            self._begun = begins
        self.checker.begins(self._moment(held, begins))

    def watching(self, held: Held) -> AbstractContextManager[object]:
        """Return what the checks observe a forward with."""
        return self.checker.watching(self._moment(held, Begins("forward", None)))

    def over(self) -> None:
        """Have the checks look at a script that has run to its end."""
        loop = self.loop
        if loop is not None and loop.held is not None and not loop.stops.reason:
            loop.show_counted()
            self.before(loop.held, Begins("end", None))

    def _moment(self, held: Held, begins: Begins) -> Moment:
        loop = self.loop
        assert loop is not None
        return self.checker.moment(
            begins.name,
            held,
            loop.iteration,
            find_line=lambda: loop.stack.source,
            find_site=lambda: call_site(loop.stack.frame),
            find_variables=lambda: named_values(loop.stack.frame),
            of=begins.of,
            args=begins.args,
            kwargs=begins.kwargs,
            grad_mode=begins.grad_mode,
            written=begins.written,
            within=begins.within,
        )

    def after(self, held: Held, phase: str, iteration: int, updates: bool) -> str:
        """Return the line of the breakpoint that the end of a phase hits, empty for none; the last phase `updates`."""
        if self.checker.due(iteration):
            begun = self._begun if self._begun.name == phase else Begins(phase, None)
            self.checker.ended(self._moment(held, begun))
        if not self.breakpoints.armed:
            return ""
        with torch.no_grad():
            return self.inspector_of(held).stepper.after(phase, iteration, updates, self.checker.new)
