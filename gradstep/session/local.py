"""The session in this process: `execute` runs every command, `look` answers every request for a view."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator

import torch

from gradstep.engine.debuggee import loading
from gradstep.engine.debuggee.generators import RandomKeeper, seed_everything
from gradstep.engine.held import Held
from gradstep.engine.problems import problem_of
from gradstep.engine.runner import Runner
from gradstep.engine.yielding import Waits, never
from gradstep.session.executor import Executor
from gradstep.session.inspector import Inspector
from gradstep.session.phase_stepper import PhaseStepper
from gradstep.session.python_api import PythonApi
from gradstep.session.time_travel import TimeTravel
from gradstep.targets import A_FACTORY, OWN_LOOP
from gradstep.values import commands as cmd
from gradstep.values.commands import HISTORY, HISTORY_TIME, Command
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.findings import Finding
from gradstep.values.outcomes import Outcome, Stop, WatchHit
from gradstep.values.views import NoView, Request, View
from gradstep.workload import Workload


class Session(PythonApi):
    """Steps a workload in this process, without a screen.

    Args:
        workload: a workload, or a target to build it from: an example's name, `FILE.py:factory` or
            `pkg.module:factory`. None to begin with a `Load` command.
        seed: seeds torch, python and numpy before a target is built, by default with 0. For a workload that is
            already built it seeds only what is drawn from now on; None leaves the generators alone.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; by default `auto` for a target, and the device of the first
            parameter for a workload.
        history: maximum bytes of history, for undo and goto; 0 keeps only the copies for a rollback.
        history_offload: True to keep the history of a model on a GPU in host memory.
        history_time: maximum time that copying the history into new memory takes, as a share of the time of the
            commands themselves. Over it, checkpoints are dropped, and their stops are reached by running commands
            again. `math.inf` for no limit.
        on_progress: called with the name of each stage of loading a workload.

    Raises:
        GradstepError: the workload is incomplete or can't be built, or the device is not available.
    """

    def __init__(
        self,
        workload: Workload | str | None = None,
        *,
        seed: int | None = None,
        device: str | None = None,
        history: int = HISTORY,
        history_offload: bool = False,
        history_time: float = HISTORY_TIME,
        on_progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.log: list[Command] = []
        self._progress = on_progress
        self._executor: Executor | None = None
        self._history, self._offload, self._share = history, history_offload, history_time
        self._dropped: weakref.finalize[[PhaseStepper], Session] | None = None
        self._waiting: Callable[[str], None] | None = None
        self._interrupted: Callable[[], bool] = lambda: False
        self._waits: Waits = never
        if isinstance(workload, str):
            problem = self.execute(cmd.Load(workload, 0 if seed is None else seed, device or "auto")).problem
            if problem is not None:
                raise GradstepError(problem)
        elif workload is not None:
            if seed is not None:
                seed_everything(seed)
            place = loading.find_device(device) if device is not None else _where(workload)
            self._take(Held(workload, place, on_progress, history_offload), workload.name or "workload", seed)

    def close(self) -> None:
        """Release the workload; a phase in progress is rolled back."""
        if self._executor is not None:
            self._executor.inspector.stepper.abandon()
        if self._dropped is not None:
            self._dropped.detach()
        self._executor = self._dropped = None

    @property
    def running(self) -> bool:
        """True while a phase runs, which is the only time that an interrupt has an effect."""
        return self._inspector is not None and self._inspector.runner.running

    def observe(self, on: bool) -> None:
        """Set whether phases are observed and rolled back when they raise; True by default.

        With False, phases keep no copy of the state before them: a replay that ends at its first failure needs none.
        """
        if self._inspector is not None:
            self._inspector.runner.observed = on
            if not on:
                self.forget()

    def forget(self) -> None:
        """Drop the history and keep none from now on."""
        if self._executor is not None:
            self._executor.time_travel.timeline.end()

    def can_pause(
        self,
        waiting: Callable[[str], None],
        interrupted: Callable[[], bool] = lambda: False,
        waits: Waits = never,
    ) -> None:
        """Allow pauses: phases that took long the last time are observed from now on, so that they can be paused.

        Args:
            waiting: called with the name of the op that a pause waits for.
            interrupted: returns whether the command was interrupted while no phase ran.
            waits: returns whether a command waits for the present look to end.
        """
        self._waiting, self._interrupted, self._waits = waiting, interrupted, waits
        if self._executor is not None:
            inspector = self._executor.inspector
            inspector.stepper.pauses, inspector.stepper.waiting = True, waiting
            inspector.runner.interrupted, inspector.waits = interrupted, waits

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the checks have found, errors first."""
        return () if self._inspector is None else self._inspector.checker.rows

    @property
    def stop(self) -> Stop:
        """The present stop."""
        return Stop() if self._executor is None else self._executor.stop

    @property
    def time_travel(self) -> TimeTravel:
        """The history of the loaded workload."""
        return self._need().time_travel

    @property
    def inspector(self) -> Inspector:
        """The inspector of the loaded workload."""
        return self._need().inspector

    @property
    def _inspector(self) -> Inspector | None:
        return None if self._executor is None else self._executor.inspector

    def attend(self) -> None:
        """Record what the next phase needs for every view, as no panels request views at each stop."""
        if self._inspector is not None:
            self._inspector.attend()

    # -- the one command path ------------------------------------------------------------------------------------------
    def execute(self, command: Command) -> Outcome:
        """Run one command. An error is returned in the outcome, never raised; the state is then unchanged."""
        text, problem, executor = "", None, self._executor
        hits: tuple[WatchHit, ...] = ()
        if executor is not None:
            executor.begin()
        try:
            match command:
                case cmd.Load():
                    self._load(command)
                case cmd.Say(text):
                    pass
                case _:
                    text, hits = self._need().carry_out(command)
        except GradstepError as error:
            problem = error.problem
        except KeyboardInterrupt:
            if executor is not None:
                self.log.extend(executor.done)
            raise
        except Exception as error:  # a bug in gradstep, or an error of a user's object in an expression
            problem = problem_of(error, cmd.line_of(command))
        done, paused = ((), False) if executor is None else (tuple(executor.done), executor.paused)
        if executor is not None:
            text = executor.notes(command) or text
        several = problem is not None or paused or isinstance(command, cmd.Try)
        instead = done if several else None
        self.problem = problem
        pair = executor.pair if executor is not None and problem is None else None
        outcome = Outcome(command, self.stop, problem, text, hits, pair=pair, instead=instead)
        self.log.extend(outcome.carried_out)
        return outcome

    # -- the one observation path --------------------------------------------------------------------------------------
    def look(self, *requests: Request, at: int = 0) -> tuple[View, ...]:
        """Return one view for each request, all of this stop; a `NoView` with the reason if one can't be made.

        With `at`, they are of that past stop; the workload itself does not travel.
        """
        if self._executor is None:
            return tuple(NoView(0, "nothing is loaded yet") for _ in requests)
        inspector, number, timeline = self._executor.inspector, self.stop.number, self.time_travel.timeline
        timeline.waits = inspector.waits
        try:
            if at and at != number:
                return self.time_travel.look(at, requests)
            return inspector.stepper.here(lambda: inspector.look(number, requests))
        finally:
            timeline.waits = never

    def idle(self) -> Iterator[None]:
        """Prepare for the next commands while none is to be carried out, in pieces of a few milliseconds."""
        inspector = self._inspector
        if inspector is not None and inspector.runner.observed and not inspector.stepper.inside:
            yield from inspector.runner.transaction.prepare()

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
            held = Held(workload, device, self._progress, self._offload)
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            keeper.restore(before)  # the workload loaded before is not affected
            remedy = OWN_LOOP if isinstance(error, KeyboardInterrupt) else A_FACTORY
            raise GradstepError(problem_of(error, doing, remedy)) from error
        name = workload.name or os.path.basename(command.target)
        self._take(held, name, command.seed, command)

    def _take(self, held: Held, name: str, seed: int | None, load: cmd.Load | None = None) -> None:
        if self._executor is not None:
            _abandon(self._executor.inspector.stepper)
        self.close()
        inspector = Inspector(Runner(held))
        # a session that is garbage collected must not leave behind its hooks, or a thread inside a phase
        self._dropped = weakref.finalize(self, _abandon, inspector.stepper)
        self._dropped.atexit = False  # at exit that thread no longer runs, and waiting for it would hang
        self._executor = Executor(
            inspector, TimeTravel(inspector, self._history, load, self._progress, self._share), name, seed, self.log
        )
        if self._waiting is not None:
            self.can_pause(self._waiting, self._interrupted, self._waits)

    def _need(self) -> Executor:
        if self._executor is None:
            raise wrong("nothing is loaded", "there is no model to step", "begin with `load mlp seed=0`")
        return self._executor


def _abandon(stepper: PhaseStepper) -> None:
    """Roll back the phase in progress, but not the generators that the whole process shares: others draw from them."""
    keeper = RandomKeeper()
    present = keeper.capture()
    stepper.abandon()
    keeper.restore(present)


def _where(workload: Workload) -> torch.device:
    loading.check(workload)
    first = next(workload.model.parameters(), None)
    return torch.device("cpu") if first is None else first.device
