"""Run the commands of one loaded workload, one after another, and return the stop that each ends at."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

from msgspec.structs import replace

from gradstep.engine.diagnose.outside import Outside
from gradstep.engine.expressions.evaluate import evaluate, holds
from gradstep.engine.expressions.names import NothingThereError
from gradstep.engine.history.points import TimelinePoint
from gradstep.engine.history.timeline import Timeline
from gradstep.engine.numbers.readable import dtype_name
from gradstep.engine.observe.engine_calls import EngineCall
from gradstep.engine.problems import problem_of
from gradstep.session.answers import answer
from gradstep.session.inspector import Inspector
from gradstep.session.phase_stepper import STEPS
from gradstep.session.time_travel import TimeTravel
from gradstep.session.what_if import again_from, branch_name, changes_line, otherwise
from gradstep.values import commands as cmd
from gradstep.values.commands import Command
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.expressions import Expression
from gradstep.values.outcomes import Problem, Stop, WatchHit

_ACTS = (cmd.Forward, cmd.Backward, cmd.Step, cmd.ZeroGrad, cmd.NextBatch)
_TRAVELS: TypeAlias = cmd.TravelCommand | cmd.EditCommand | cmd.FileCommand

_LATE = "{}: a buffer registered during training; undo does not restore it. Register it when the model is built"


class Executor:
    """Runs the commands of one loaded workload.

    Args:
        inspector: the inspector of the workload.
        time_travel: its history.
        name: the name of the workload.
        seed: the seed that it was built with, if any.
        log: the commands that the session has run so far.
    """

    def __init__(
        self, inspector: Inspector, time_travel: TimeTravel, name: str, seed: int | None, log: list[Command]
    ) -> None:
        self.inspector, self.time_travel, self._log = inspector, time_travel, log
        self.done: list[Command] = []
        """The commands to which the present one has expanded so far, as a replay has to run them."""
        self.pair: tuple[str, str] | None = None
        """The two points or branches for Compare to show after the present command."""
        self.paused = False
        """True when a pause stopped the present command."""
        held = inspector.held
        self._outside = Outside(held)
        first = held.parameters[0][1] if held.parameters else None
        self._base = Stop(
            workload=name,
            device=str(held.device),
            dtype="" if first is None else dtype_name(first),
            seed=seed,
            opening=held.opening(),
            parameters=sum(p.numel() for _, p in held.parameters),
        )
        self.stop = self._stop_now(1)

    def begin(self) -> None:
        """Begin a command: nothing of it has run yet."""
        self.done, self.pair, self.paused = [], None, False

    def carry_out(self, command: Command) -> tuple[str, tuple[WatchHit, ...]]:
        """Run a command; return its output (`notes`, for phases and steps) and the watchpoints it hit.

        Raises:
            GradstepError: it failed; the state is unchanged.
        """
        if isinstance(command, _ACTS):
            return "", self._act(command)
        if isinstance(command, STEPS):
            return "", self._go(command)
        if isinstance(command, cmd.Try):
            return self._try(command)
        if isinstance(command, _TRAVELS):
            return self._travel(command)
        return self.inspector.stepper.here(lambda: answer(self.inspector, command)), ()

    def notes(self, command: Command) -> str:
        """Return what logpoints printed during a phase or a step, failed or not; empty for other commands."""
        return "\n".join(self.inspector.stepper.notes) if isinstance(command, (*_ACTS, *STEPS)) else ""

    def _act(self, act: cmd.PhaseCommand | cmd.NextBatch) -> tuple[WatchHit, ...]:
        inspector, run = self.inspector, act
        if isinstance(act, cmd.ZeroGrad) and act.set_to_none is None:
            run = cmd.ZeroGrad(inspector.set_to_none)
        self._check_before(act)
        with self._watching(act):
            return self._arrive(act, lambda: inspector.stepper.run(run))

    def _watching(self, act: Command) -> AbstractContextManager[object]:
        """Return what the checks observe a forward with; it may run on a thread of its own."""
        inspector = self.inspector
        if not isinstance(act, cmd.Forward) or not inspector.runner.observed:
            return nullcontext()
        moment = inspector.checker.moment("forward", inspector.held, inspector.held.point.iteration)
        return inspector.checker.watching(moment, everywhere=True)

    def _check_before(self, act: Command) -> None:
        """Have the checks look at a phase that begins."""
        name, inspector = cmd.ACT_NAMES.get(type(act), ""), self.inspector
        if name in cmd.PHASES and inspector.runner.observed:
            held = inspector.held
            of: object = {"forward": held.model, "backward": None}.get(name, held.optimizer)
            if name == "backward":
                of = EngineCall("torch.autograd.backward", (held.point.loss,), (None,), (), accumulates=True)
            args = (held.batches.batch,) if name == "forward" else ()
            inspector.checker.begins(inspector.checker.moment(name, held, held.point.iteration, of=of, args=args))

    def _go(self, command: cmd.Into | cmd.Over | cmd.Out | cmd.Continue | cmd.Until) -> tuple[WatchHit, ...]:
        """Step into a phase, or continue from a stop inside one."""
        stepper = self.inspector.stepper
        match command:
            case cmd.Into(phase) if not stepper.inside:
                return self._into(phase)
            case cmd.Into():
                return self._arrive(command, lambda: stepper.go("into"))
            case cmd.Over():
                return self._arrive(command, lambda: stepper.go("over"))
            case cmd.Out(phase):
                return self._arrive(command, lambda: stepper.go("end" if phase else "out"))
            case cmd.Continue() if stepper.inside:
                return self._arrive(command, lambda: stepper.go("continue"))
            case cmd.Until(condition) if stepper.inside:
                return self._arrive(command, lambda: stepper.go("until", condition))
            case _:
                return self._run_until(command)

    def _into(self, phase: str) -> tuple[WatchHit, ...]:
        inspector = self.inspector
        *before, natural = inspector.held.natural()
        if not phase and before:
            self._act(cmd.NextBatch())
        name = phase or natural
        if name not in ("forward", "backward"):
            what = f"{name} is the next phase, and it is a single torch call with nothing to step into"
            raise wrong(f"{name} can't be stepped into", what, "run it whole, or write `into forward`, `into backward`")
        act = cmd.Forward() if name == "forward" else cmd.Backward()
        into = cmd.Into("forward" if name == "forward" else "backward")
        self._check_before(act)
        return self._arrive(into, lambda: inspector.stepper.begin(act, "into"))

    def _run_until(self, command: Command) -> tuple[WatchHit, ...]:
        """Run the natural next phases until a condition holds, or a breakpoint or watchpoint is hit."""
        inspector = self.inspector
        test = command.condition if isinstance(command, cmd.Until) else None
        if test is None and not any(row.enabled for row in inspector.stepper.breakpoints):
            remedy = "`into` steps into a phase; `break` sets a breakpoint for `continue` to run to"
            raise wrong("there is nothing to continue to", "no phase is in progress, and no breakpoint is set", remedy)
        if test is not None:
            _holds_now(test, inspector)  # a wrong name is reported before anything runs
        try:
            while True:
                for line in inspector.held.natural():
                    hits = self._act(cmd.ACTS[line])
                    if hits or self.stop.hit or inspector.stepper.inside:
                        return hits
                    if self.inspector.runner.interrupted():
                        raise GradstepError(problem_of(KeyboardInterrupt(), cmd.line_of(command)))
                if test is not None and _holds_now(test, inspector):
                    return ()
        except GradstepError as error:
            raise GradstepError(_after(error.problem, len(self.done))) from error

    def _travel(
        self, command: cmd.TravelCommand | cmd.EditCommand | cmd.FileCommand
    ) -> tuple[str, tuple[WatchHit, ...]]:
        """Travel in time, edit what is trained, or write a file."""
        inspector, time_travel = self.inspector, self.time_travel
        if isinstance(command, cmd.Assign) and inspector.scope.is_place(command.target):
            return self._change(command), ()
        if inspector.stepper.inside:
            if isinstance(command, cmd.Undo):
                back = 0 if command.phase else command.count
                return "", self._arrive(command, lambda: inspector.stepper.back(back))
            if not cmd.syntax_of(command).inside:
                inspector.stepper.refuse_inside()
            return inspector.stepper.here(lambda: time_travel.carry_out(command)), ()
        text = "\n".join(filter(None, [time_travel.carry_out(command), *time_travel.tidy()]))
        self.stop = self._stop_now(time_travel.timeline.number)
        return text, inspector.watches.hits(inspector.scope) if inspector.watches else ()

    def _try(self, command: cmd.Try) -> tuple[str, tuple[WatchHit, ...]]:
        """Run the same commands again with something changed, on a new branch.

        Raises:
            GradstepError: a change can't be made, and the session is where it was; or a later command failed, and the
                session stays where it failed.
        """
        timeline = self.time_travel.timeline
        if self.inspector.stepper.inside:
            self.inspector.stepper.refuse_inside()
        again = again_from(timeline, command.start)
        changes, rest = otherwise(command.changes, again.commands)
        here, changed = timeline.here(), changes_line(command.changes)
        name, start = branch_name(changed, timeline.branches), again.start.number
        self._begin_trial([*([] if again.start is here else [cmd.Goto(start)]), cmd.Branch(name), *changes])
        hits: list[WatchHit] = []
        try:
            for each in rest:
                hits += self._again(each)
                if self.stop.hit or self.inspector.stepper.inside:
                    self.paused = True
                    return f"On branch {name}, after {changed}: stopped before all commands were re-run.", tuple(hits)
                if self.inspector.runner.interrupted():
                    raise GradstepError(problem_of(KeyboardInterrupt(), cmd.line_of(command)))
        except GradstepError as error:
            raise GradstepError(_after(error.problem, len(self.done))) from error
        if not rest:
            return f"On branch {name}, after {changed}: there were no commands after stop {start} to re-run.", ()
        self.pair = (again.end, name)
        return f"On branch {name}, after {changed}: re-ran the commands after stop {start}.", tuple(hits)

    def _begin_trial(self, commands: list[cmd.TravelCommand | cmd.EditCommand]) -> None:
        """Run the first commands of a trial; if one fails, return to where the session was."""
        timeline = self.time_travel.timeline
        here, branch, branches = timeline.here(), timeline.branch, dict(timeline.branches)
        try:
            for each in commands:
                self._travel(each)
                self.done.append(each)
        except GradstepError:
            made, timeline.branches, timeline.branch = timeline.branches.keys() - branches, branches, branch
            for point in timeline.points.values():
                point.branch = branch if point.branch in made else point.branch
            self._travel(cmd.Goto(here.number))
            timeline.branch, self.done = branch, []
            self.stop = self._stop_now(timeline.number)
            raise

    def _again(self, command: cmd.PointCommand) -> tuple[WatchHit, ...]:
        """Re-run the command that led to a point."""
        if isinstance(command, cmd.EditCommand):
            self.done.append(command)
            return self._travel(command)[1]
        inspector = self.inspector
        if isinstance(command, cmd.Backward) and command.flows:
            return self._arrive(command, lambda: bool(inspector.runner.carry_out(command, inspector.scope)))
        return self._act(command)

    def _change(self, command: cmd.Assign) -> str:
        """Edit the gradient at a stop inside a backward; this makes another stop at the same place."""
        text, timeline = self.inspector.stepper.change(command), self.time_travel.timeline
        timeline.stops += 1
        self.stop = replace(self.stop, number=timeline.stops, hit="")
        return text

    def _arrive(self, command: Command, go: Callable[[], bool]) -> tuple[WatchHit, ...]:
        """Run a phase or a step, and record where it has stopped: inside a phase, or at the end of one.

        Args:
            command: the command that a replay runs for it.
            go: runs it; returns True at a stop inside a phase.
        """
        inspector, timeline, inside = self.inspector, self.time_travel.timeline, True
        stepper = inspector.stepper
        was = stepper.inside
        try:
            inside = go()
        except GradstepError:
            if was and not stepper.inside:  # the phase was rolled back
                self.stop = self._stop_now(timeline.number)
                self.done.append(cmd.Undo(phase=True))
            raise
        if stepper.paused is not None:
            self.paused = True
            self.done.append(stepper.paused)
        self.done.append(command)
        timeline.stops += inside
        self.stop = self._stop_now(timeline.stops if inside else timeline.number)
        if inside:
            position = stepper.position
            assert position is not None
            hit = position.reason if position.reason.startswith("breakpoint") else ""
            self.stop = replace(self.stop, position=position, natural=("over",), hit=hit)
            return ()
        inspector.acted()
        if timeline.current is not None:
            stepper.notes += self.time_travel.tidy()
        stepper.notes += [_LATE.format(name) for name in inspector.held.late_buffers()]
        stepper.notes += self._outside.after(timeline.current, self._forks(timeline))
        point, checker = inspector.held.point, inspector.checker
        if point.phase in cmd.PHASES and inspector.runner.observed:
            checker.ended(checker.moment(point.phase, inspector.held, point.iteration - (point.phase == "step")))
            self.stop = replace(self.stop, findings=len(checker.findings))
        stepper.ended(point.phase == "backward" and point.freed, f"command {len(self._log) + 1}")
        hit = stepper.after(point.phase, point.iteration, point.phase == "step", checker.new)
        if hit:
            self.stop = replace(self.stop, hit=hit)
        return inspector.watches.hits(inspector.scope) if inspector.watches else ()

    @staticmethod
    def _forks(timeline: Timeline) -> Collection[TimelinePoint]:
        """Return the points to compare the present one with: none, unless a branch begins here."""
        here = timeline.current
        begins = here is not None and here.parent is not None and here.branch != here.parent.branch
        return timeline.points.values() if begins else ()

    def _stop_now(self, number: int) -> Stop:
        held, base, timeline = self.inspector.held, self._base, self.time_travel.timeline
        point, kept = held.point, timeline.current is not None
        loss, change = point.last_loss
        return Stop(
            number,
            base.workload,
            base.device,
            base.dtype,
            base.seed,
            point.phase,
            point.torch,
            point.done,
            held.natural(),
            point.iteration,
            loss,
            change,
            type(held.optimizer).__name__,
            held.rates(),
            held.batches.taken,
            base.opening,
            base.parameters,
            pausable=self.inspector.stepper.pausable,
            branch=timeline.branch if kept else "",
            ahead=timeline.ahead if kept else 0,
        )


def _holds_now(condition: Expression, inspector: Inspector) -> bool:
    """Return whether a condition holds; False if a name in it has no value now, such as a `.grad` that is none."""
    try:
        return holds(evaluate(condition, inspector.scope))
    except NothingThereError:
        return False


def _after(problem: Problem, count: int) -> Problem:
    """Return the problem of a command that had run others before it failed."""
    if not count:
        return problem
    ran = "1 command had run before that, and is kept"
    if count > 1:
        ran = f"{count} commands had run before that, and are kept"
    return replace(problem, what=f"{problem.what}\n{ran}")
