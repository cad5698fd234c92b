"""The session in this process: one method carries out every command, one answers every look."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Literal

import torch
from msgspec.structs import replace

from gradstep.engine import loading
from gradstep.engine.absent import why_none
from gradstep.engine.breakpoints import not_there
from gradstep.engine.evaluate import FUNCTIONS, describe, evaluate, explain_failure, holds
from gradstep.engine.held import Held
from gradstep.engine.problems import problem_of
from gradstep.engine.randomness import RandomKeeper, seed_everything
from gradstep.engine.scope import selected_tensor
from gradstep.engine.watchpoints import kept
from gradstep.session.looks import Looks
from gradstep.session.past import Past
from gradstep.session.sights import Sights
from gradstep.session.walking import STEPS
from gradstep.values import commands as cmd
from gradstep.values.commands import Command
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.expressions import Constant, Expression, expression_line, is_word, name_line
from gradstep.values.outcomes import Outcome, Problem, Stop, WatchHit
from gradstep.values.travels import HISTORY
from gradstep.values.views import Changes, LookChanges, NoView, Request, View
from gradstep.views.model import dtype_name
from gradstep.workload import Workload


class Session(Sights):
    """Steps a workload in this process, without a screen.

    Args:
        workload: what to step; None to begin with a `Load` command.
        seed: seeds torch, python and numpy now; None leaves them. The workload is built already, so this seeds what
            it draws from here on.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, `mps`; None leaves the model where its first parameter is.
        history: bytes that may be kept to go back in time with; 0 keeps only what undoes a phase that raises.
        on_progress: called with the stage that begins while a workload is loaded.

    Raises:
        GradstepError: the workload is incomplete, or the device is not there.
    """

    def __init__(
        self,
        workload: Workload | None = None,
        *,
        seed: int | None = None,
        device: str | None = None,
        history: int = HISTORY,
        on_progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.log: list[Command] = []
        self._progress = on_progress
        self._looks: Looks | None = None
        self._past: Past | None = None
        self._history = history
        self._dropped: weakref.finalize[[], Session] | None = None
        self._waiting: Callable[[str], None] | None = None
        self._interrupted: Callable[[], bool] = lambda: False
        self._done: list[Command] = []
        """What the present command has carried out so far, as it would have to be carried out again."""
        self._paused = False
        self._base = self._stop = Stop()
        if workload is not None:
            if seed is not None:
                seed_everything(seed)
            place = loading.find_device(device) if device is not None else _where(workload)
            self._take(Held(workload, place, on_progress), workload.name or "workload", seed)

    # -- for people ----------------------------------------------------------------------------------------------------
    def forward(self) -> Outcome:
        """Run the model and the loss on the current batch; say what changed."""
        return self._with_changes(cmd.Forward())

    def backward(self, retain_graph: bool = False) -> Outcome:
        """Run the backward of the last loss; say what changed."""
        return self._with_changes(cmd.Backward(retain_graph))

    def step(self) -> Outcome:
        """Run the optimizer's step; say what changed."""
        return self._with_changes(cmd.Step())

    def zero_grad(self, set_to_none: bool | None = None) -> Outcome:
        """Clear the gradients, to None or to zeros; say what changed."""
        return self._with_changes(cmd.ZeroGrad(set_to_none))

    def next_batch(self) -> Outcome:
        """Take the next batch."""
        return self._with_changes(cmd.NextBatch())

    def into(self, phase: Literal["", "forward", "backward"] = "") -> Outcome:
        """Step into a phase, without one the natural next; at a stop inside one, one level deeper."""
        return self.execute(cmd.Into(phase))

    def over(self) -> Outcome:
        """Do the next module, op or node whole."""
        return self.execute(cmd.Over())

    def out(self, phase: bool = False) -> Outcome:
        """Go on to the end of the module that is running, or with `phase` to the end of the phase."""
        return self.execute(cmd.Out(phase))

    def undo(self, count: int = 1) -> Outcome:
        """Go back by some commands, and everything is as it was to the bit; inside a phase, by some stops."""
        return self.execute(cmd.Undo(count))

    def redo(self, count: int = 1) -> Outcome:
        """Go forth again by some commands that were undone."""
        return self.execute(cmd.Redo(count))

    def goto(self, stop: int) -> Outcome:
        """Go to a stop by its number."""
        return self.execute(cmd.Goto(stop))

    def close(self) -> None:
        """Let go of the workload; it stays as it was left, and a phase that is not at its end is undone."""
        if self._looks is not None:
            self._looks.walking.abandon()
        if self._dropped is not None:
            self._dropped.detach()
        self._looks = self._past = self._dropped = None
        self._base = self._stop = Stop()

    @property
    def running(self) -> bool:
        """True while a phase runs, the only time at which an interrupt is of use."""
        return self._looks is not None and self._looks.held.running

    def observe(self, on: bool) -> None:
        """Say whether phases are looked at after, or gone on from when they raise; they are, unless told.

        Without it a phase keeps nothing from before it: a replay that ends at its first failure needs none of that.
        """
        if self._looks is not None:
            self._looks.held.observed = on
        if self._past is not None and not on:
            self._past.timeline.end()

    def forget(self) -> None:
        """Keep no history from here on: nothing will go back in time."""
        if self._past is not None:
            self._past.timeline.end()

    def can_pause(self, waiting: Callable[[str], None], interrupted: Callable[[], bool] = lambda: False) -> None:
        """Say that somebody can press pause: phases that take long are then watched, so that they can stop inside.

        Args:
            waiting: called with what a pause has to wait for.
            interrupted: tells whether the command was interrupted at a time when nothing ran that could be cut short.
        """
        self._waiting, self._interrupted = waiting, interrupted
        if self._looks is not None:
            self._looks.walking.pauses, self._looks.walking.waiting = True, waiting

    @property
    def stop(self) -> Stop:
        """Where the session stands."""
        return self._stop

    @property
    def past(self) -> Past:
        """The history of what is loaded."""
        self._need()
        assert self._past is not None
        return self._past

    # -- the one command path ------------------------------------------------------------------------------------------
    def execute(self, command: Command) -> Outcome:
        """Carry out one command. What goes wrong is in the outcome; the state is then as it was before."""
        text, problem = "", None
        hits: tuple[WatchHit, ...] = ()
        self._done, self._paused = [], False
        try:
            if isinstance(command, _ACTS):
                hits = self._act(command)
            elif isinstance(command, STEPS):
                hits = self._go(command)
            elif isinstance(command, _TRAVELS):
                text, hits = self._travel(command)
            else:
                text = self._other(command)
        except GradstepError as error:
            problem = error.problem
        except KeyboardInterrupt:
            self.log.extend(self._done)
            raise
        except Exception as error:  # a fault of gradstep's own, or of a user's object in an expression
            problem = problem_of(error, cmd.line_of(command))
        if isinstance(command, (*_ACTS, *STEPS)) and self._looks is not None:
            text = "\n".join(self._looks.walking.notes)
        instead = tuple(self._done) if problem is not None or self._paused else None
        outcome = Outcome(command, self._stop, problem, text, hits, instead=instead)
        self.log.extend(outcome.carried_out)
        return outcome

    def _act(self, act: cmd.PhaseCommand | cmd.NextBatch) -> tuple[WatchHit, ...]:
        looks, run = self._need(), act
        if isinstance(act, cmd.ZeroGrad) and act.set_to_none is None:
            run = cmd.ZeroGrad(looks.set_to_none)
        return self._came(looks, act, lambda: looks.walking.run(run))

    def _go(self, command: cmd.Into | cmd.Over | cmd.Out | cmd.Continue | cmd.Until) -> tuple[WatchHit, ...]:
        """Step into a phase, or go on from a stop inside one."""
        looks = self._need()
        walking = looks.walking
        match command:
            case cmd.Into(phase) if not walking.inside:
                return self._into(looks, phase)
            case cmd.Into():
                return self._came(looks, command, lambda: walking.go("into"))
            case cmd.Over():
                return self._came(looks, command, lambda: walking.go("over"))
            case cmd.Out(phase):
                return self._came(looks, command, lambda: walking.go("end" if phase else "out"))
            case cmd.Continue() if walking.inside:
                return self._came(looks, command, lambda: walking.go("continue"))
            case cmd.Until(condition) if walking.inside:
                return self._came(looks, command, lambda: walking.go("until", condition))
            case _:
                return self._run_on(looks, command)

    def _into(self, looks: Looks, phase: str) -> tuple[WatchHit, ...]:
        *before, natural = looks.held.natural()
        if not phase and before:
            self._act(cmd.NextBatch())
        name = phase or natural
        if name not in ("forward", "backward"):
            what = f"{name} is the natural next phase, and it has no inside: it is one call of torch"
            raise wrong(f"{name} can't be stepped into", what, "run it whole, or write `into forward`, `into backward`")
        act = cmd.Forward() if name == "forward" else cmd.Backward()
        into = cmd.Into("forward" if name == "forward" else "backward")
        return self._came(looks, into, lambda: looks.walking.begin(act, "into"))

    def _run_on(self, looks: Looks, command: cmd.Command) -> tuple[WatchHit, ...]:
        """Run natural phases until a condition holds, or a breakpoint or watchpoint is met."""
        test = command.condition if isinstance(command, cmd.Until) else None
        if test is None and not any(row.enabled for row in looks.walking.breakpoints):
            remedy = "`into` steps into a phase; `break` sets a breakpoint that `continue` then runs to"
            raise wrong(
                "there is nothing to continue to", "no phase is stopped inside, and no breakpoint is set", remedy
            )
        if test is not None:
            _holds_now(test, looks)  # a name that is wrong is said before anything runs
        try:
            while True:
                for line in looks.held.natural():
                    hits = self._act(cmd.ACTS[line])
                    if hits or self._stop.hit or looks.walking.inside:
                        return hits
                    if self._interrupted():
                        raise GradstepError(problem_of(KeyboardInterrupt(), cmd.line_of(command)))
                if test is not None and _holds_now(test, looks):
                    return ()
        except GradstepError as error:
            raise GradstepError(_after(error.problem, len(self._done))) from error

    def _travel(
        self, command: cmd.TravelCommand | cmd.EditCommand | cmd.FileCommand
    ) -> tuple[str, tuple[WatchHit, ...]]:
        """Go back or forth in time, or change what is being trained."""
        looks, past = self._need(), self._past
        assert past is not None
        if looks.walking.inside and isinstance(command, cmd.Undo):
            return "", self._came(looks, command, lambda: looks.walking.back(0 if command.phase else command.count))
        looks.walking.refuse_inside()
        text = "\n".join(filter(None, [past.carry_out(command), *past.tidy()]))
        self._stop = self._stop_now(looks.held, past.timeline.number)
        return text, looks.watches.hits(looks.scope) if looks.watches else ()

    def _came(self, looks: Looks, command: Command, go: Callable[[], bool]) -> tuple[WatchHit, ...]:
        """Note where an act or a step has come to: a stop inside a phase, or the end of one.

        Args:
            looks: what was loaded.
            command: what does the same when it is carried out by itself.
            go: carries it out; returns True at a stop inside.
        """
        assert self._past is not None
        walking, timeline, inside = looks.walking, self._past.timeline, True
        was = walking.inside
        try:
            inside = go()
        except GradstepError:
            if was and not walking.inside:  # what was stepped is undone: nobody is inside of it any more
                self._stop = self._stop_now(looks.held, timeline.number)
                self._done.append(cmd.Undo(phase=True))
            raise
        if walking.paused is not None:
            self._paused = True
            self._done.append(walking.paused)
        self._done.append(command)
        timeline.stops += inside
        self._stop = self._stop_now(looks.held, timeline.stops if inside else timeline.number)
        if inside:
            position = walking.position
            assert position is not None
            hit = position.reason if position.reason.startswith("breakpoint") else ""
            self._stop = replace(self._stop, position=position, natural=("over",), hit=hit)
            return ()
        looks.acted()
        if timeline.current is not None:
            walking.notes += self._past.tidy()
        point = looks.held.point
        walking.ended(point.phase == "backward" and point.freed, f"command {len(self.log) + 1}")
        hit = walking.after(point.phase, point.iteration)
        if hit:
            self._stop = replace(self._stop, hit=hit)
        return looks.watches.hits(looks.scope) if looks.watches else ()

    def _other(self, command: Command) -> str:
        """Carry out a command that runs no phase; return what it prints."""
        if isinstance(command, cmd.Load):
            self._load(command)
            return ""
        if isinstance(command, cmd.Say):
            return command.text
        looks = self._need()
        return looks.walking.here(lambda: self._answer(looks, command))

    def _answer(self, looks: Looks, command: Command) -> str:
        """Carry out a command where the session is stopped."""
        walking = looks.walking
        match command:
            case cmd.Break():
                return walking.add(command)
            case cmd.Delete(number):
                return walking.breakpoints.delete(number)
            case cmd.Enable(number, on):
                return walking.breakpoints.enable(number, on)
            case cmd.Ignore(number, count):
                return walking.breakpoints.ignore(number, count)
            case cmd.Pause():
                return walking.pause(command)
            case cmd.Show(what):
                looks.selection = looks.select(what)
                return ""
            case cmd.Let(name, value):
                return _let(looks, name, value)
            case cmd.Expect(condition):
                _expect(looks, condition)
                return ""
            case cmd.Print(value):
                return describe(evaluate(value, looks.scope))
            case cmd.WhyNone(what):
                return _why_none(looks, what)
            case cmd.Watch(value):
                return looks.watches.add(value, looks.scope)
            case cmd.Unwatch(number):
                return looks.watches.remove(number)
            case cmd.Set(name, value):
                return _set(looks, name, value)
            case _:
                raise wrong("this needs a screen", cmd.line_of(command), "replay draws it with --screenshot")

    # -- the one observation path --------------------------------------------------------------------------------------
    def look(self, *requests: Request, at: int = 0) -> tuple[View, ...]:
        """Return one view for each request, all of this stop; one that can't be made says why in its place.

        With `at`, the number of a past stop, they are of that one; the workload goes nowhere.
        """
        if self._looks is None or self._past is None:
            return tuple(NoView(0, "nothing is loaded yet") for _ in requests)
        if at and at != self._stop.number:
            return self._past.look(at, requests)
        looks, number = self._looks, self._stop.number
        return looks.walking.here(lambda: looks.look(number, requests))

    # -- loading -------------------------------------------------------------------------------------------------------
    def _load(self, command: cmd.Load) -> None:
        device = loading.find_device(command.device)
        keeper = RandomKeeper()
        before, doing = keeper.capture(), f"importing {command.target}"
        self._progress(doing)
        try:
            if command.seed is not None:
                seed_everything(command.seed)  # a module may draw while it is imported
            factory = loading.find_factory(command.target, command.folder)
            if command.seed is not None:
                seed_everything(command.seed)
            doing = f"loading {command.target}"
            self._progress(f"building {command.target}")
            workload = loading.build(factory, command.target)
            held = Held(workload, device, self._progress)
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            keeper.restore(before)  # what was loaded before goes on as if this had not been tried
            raise GradstepError(problem_of(error, doing, loading.FACTORY_HELP)) from error
        name = workload.name or os.path.basename(command.target)
        self._take(held, name, command.seed, command)

    def _take(self, held: Held, name: str, seed: int | None, load: cmd.Load | None = None) -> None:
        self.close()
        self._looks = Looks(held)
        # a session that nobody holds any more must not leave its hooks and a thread inside a phase
        self._dropped = weakref.finalize(self, self._looks.walking.abandon)
        self._dropped.atexit = False  # at exit that thread can't run any more, and waiting for it would never end
        first = held.parameters[0][1] if held.parameters else None
        self._base = Stop(
            workload=name,
            device=str(held.device),
            dtype="" if first is None else dtype_name(first),
            seed=seed,
            opening=held.workload.show or _opening(held),
            parameters=sum(p.numel() for _, p in held.parameters),
        )
        if self._waiting is not None:
            self.can_pause(self._waiting, self._interrupted)
        self._past = Past(self._looks, self._history, load)
        self._stop = self._stop_now(held, 1)

    def _stop_now(self, held: Held, number: int) -> Stop:
        point, base = held.point, self._base
        timeline = self._past.timeline if self._past is not None else None
        kept = timeline is not None and timeline.current is not None
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
            point.value,
            point.change,
            type(held.optimizer).__name__,
            held.rates(),
            held.batches.taken,
            base.opening,
            base.parameters,
            pausable=self._looks.walking.pausable if self._looks is not None else (),
            branch=timeline.branch if timeline is not None and kept else "",
            ahead=len(timeline.ahead()) if timeline is not None and kept else 0,
        )

    def _need(self) -> Looks:
        if self._looks is None:
            raise wrong("nothing is loaded", "there is no model to step", "begin with `load mlp seed=0`")
        return self._looks

    def _with_changes(self, command: Command) -> Outcome:
        if self._looks is not None:
            self._looks.attend()
        outcome = self.execute(command)
        view = self.look(LookChanges())[0]
        return replace(outcome, changes=view) if outcome.ok and isinstance(view, Changes) else outcome


_ACTS = (cmd.Forward, cmd.Backward, cmd.Step, cmd.ZeroGrad, cmd.NextBatch)
_TRAVELS = (*cmd.TRAVELS, *cmd.EDITS, *cmd.FILES)


def _where(workload: Workload) -> torch.device:
    loading.check(workload)
    first = next(workload.model.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def _opening(held: Held) -> str:
    """Return what to show first when the workload does not say: the last weight of two or more dimensions."""
    names = [name for name, p in held.parameters if p.dim() > 1] or [name for name, _ in held.parameters]
    return name_line(names[-1]) if names else ""


def _holds_now(condition: Expression, looks: Looks) -> bool:
    """Tell whether a condition holds; one over what has no value now, such as a `.grad` that is none, does not."""
    try:
        return holds(evaluate(condition, looks.scope))
    except GradstepError as error:
        if not_there(error):
            return False
        raise


def _after(problem: Problem, count: int) -> Problem:
    """Return the problem of a command that carried others out before it came to it."""
    if not count:
        return problem
    ran = "1 command was carried out before that, and stands"
    if count > 1:
        ran = f"{count} commands were carried out before that, and stand"
    return replace(problem, what=f"{problem.what}\n{ran}")


def _let(looks: Looks, name: str, expression: Expression) -> str:
    if not is_word(name):
        raise wrong("this can't be a name", name, "use one word of letters, digits and _", name)
    if name in looks.scope.names() or name in FUNCTIONS:
        raise wrong("the name is taken", name, "`let` never overwrites: choose another name", name)
    value = looks.scope.lets[name] = kept(evaluate(expression, looks.scope))
    return f"{name} = {describe(value)}"


def _why_none(looks: Looks, what: Expression) -> str:
    looks.walking.refuse_inside()
    path = looks.select(what).path.removesuffix(".grad")
    tensor = selected_tensor(looks.scope, path)
    if tensor is None:
        raise wrong(f"`{path}` is none", "there is no tensor yet whose .grad could be asked after", subject=path)
    return "\n".join(why_none(looks.held, path, tensor))


def _expect(looks: Looks, condition: Expression) -> None:
    if holds(evaluate(condition, looks.scope)):
        return
    expected, actual, difference = explain_failure(condition, looks.scope)
    raise GradstepError(
        Problem(
            kind="expectation",
            title="the expectation does not hold",
            what=expression_line(condition),
            expected=expected,
            actual=actual,
            difference=difference,
        )
    )


def _set(looks: Looks, name: str, value: Expression) -> str:
    if name != "set_to_none":
        raise wrong("there is no such setting", name, "the settings are: set_to_none", name)
    if not isinstance(value, Constant) or value.value == "none":
        raise wrong("set_to_none is true or false", expression_line(value), "write `set set_to_none = false`", name)
    looks.set_to_none = value.value == "true"
    return f"zero_grad now sets .grad to {'None' if looks.set_to_none else 'zeros'}"
