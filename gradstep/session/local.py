"""The session in this process: one method carries out every command, one answers every look."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable

import torch

from gradstep.engine.debuggee import loading
from gradstep.engine.held import Held
from gradstep.engine.problems import problem_of
from gradstep.engine.randomness import RandomKeeper, seed_everything
from gradstep.engine.runner import Runner
from gradstep.session.acting import Acting
from gradstep.session.course import Course
from gradstep.session.looks import Looks
from gradstep.session.past import Past
from gradstep.targets import A_FACTORY, OWN_LOOP
from gradstep.values import commands as cmd
from gradstep.values.commands import Command
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.outcomes import Outcome, Stop, WatchHit
from gradstep.values.travels import HISTORY
from gradstep.values.views import NoView, Request, View
from gradstep.workload import Workload


class Session(Acting):
    """Steps a workload in this process, without a screen.

    Args:
        workload: what to step; or what `load` builds it from: an example's name, `FILE.py:factory` or
            `pkg.module:factory`. None to begin with a `Load` command.
        seed: seeds torch, python and numpy now; None leaves them. A workload that is built already is seeded for what
            it draws from here on; one that is named is seeded with 0 unless told.
        device: `auto`, `cpu`, `cuda`, `cuda:N`, `mps`; None leaves the model where its first parameter is, and is
            `auto` for a workload that is named.
        history: bytes that may be kept to go back in time with; 0 keeps only what undoes a phase that raises.
        history_offload: True to keep that of a model on a GPU in host memory.
        on_progress: called with the stage that begins while a workload is loaded.

    Raises:
        GradstepError: the workload is incomplete, can't be built, or the device is not there.
    """

    def __init__(
        self,
        workload: Workload | str | None = None,
        *,
        seed: int | None = None,
        device: str | None = None,
        history: int = HISTORY,
        history_offload: bool = False,
        on_progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.log: list[Command] = []
        self._progress = on_progress
        self._course: Course | None = None
        self._history, self._offload = history, history_offload
        self._dropped: weakref.finalize[[], Session] | None = None
        self._waiting: Callable[[str], None] | None = None
        self._interrupted: Callable[[], bool] = lambda: False
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
        """Let go of the workload; it stays as it was left, and a phase that is not at its end is undone."""
        if self._course is not None:
            self._course.looks.walking.abandon()
        if self._dropped is not None:
            self._dropped.detach()
        self._course = self._dropped = None

    @property
    def running(self) -> bool:
        """True while a phase runs, the only time at which an interrupt is of use."""
        return self._looks is not None and self._looks.runner.running

    def observe(self, on: bool) -> None:
        """Say whether phases are looked at after, or gone on from when they raise; they are, unless told.

        Without it a phase keeps nothing from before it: a replay that ends at its first failure needs none of that.
        """
        if self._looks is not None:
            self._looks.runner.observed = on
            if not on:
                self.forget()

    def forget(self) -> None:
        """Keep no history from here on: nothing will go back in time."""
        if self._course is not None:
            self._course.past.timeline.end()

    def can_pause(self, waiting: Callable[[str], None], interrupted: Callable[[], bool] = lambda: False) -> None:
        """Say that somebody can press pause: phases that take long are then watched, so that they can stop inside.

        Args:
            waiting: called with what a pause has to wait for.
            interrupted: tells whether the command was interrupted at a time when nothing ran that could be cut short.
        """
        self._waiting, self._interrupted = waiting, interrupted
        if self._course is not None:
            walking, self._course.interrupted = self._course.looks.walking, interrupted
            walking.pauses, walking.waiting = True, waiting

    @property
    def stop(self) -> Stop:
        """Where the session stands."""
        return Stop() if self._course is None else self._course.stop

    @property
    def past(self) -> Past:
        """The history of what is loaded."""
        return self._need().past

    @property
    def _looks(self) -> Looks | None:
        return None if self._course is None else self._course.looks

    def attend(self) -> None:
        """Have the next act recorded for what a person may ask for after it, though no panel asks at every stop."""
        if self._looks is not None:
            self._looks.attend()

    # -- the one command path ------------------------------------------------------------------------------------------
    def execute(self, command: Command) -> Outcome:
        """Carry out one command. What goes wrong is in the outcome; the state is then as it was before."""
        text, problem, course = "", None, self._course
        hits: tuple[WatchHit, ...] = ()
        if course is not None:
            course.begin()
        try:
            match command:
                case cmd.Load():
                    self._load(command)
                case cmd.Say(said):
                    text = said
                case _:
                    text, hits = self._need().carry_out(command)
        except GradstepError as error:
            problem = error.problem
        except KeyboardInterrupt:
            if course is not None:
                self.log.extend(course.done)
            raise
        except Exception as error:  # a fault of gradstep's own, or of a user's object in an expression
            problem = problem_of(error, cmd.line_of(command))
        done, paused = ((), False) if course is None else (tuple(course.done), course.paused)
        if course is not None:
            text = course.notes(command) or text
        several = problem is not None or paused or isinstance(command, cmd.Try)
        instead = done if several else None
        self.problem = problem
        pair = course.pair if course is not None and problem is None else None
        outcome = Outcome(command, self.stop, problem, text, hits, pair=pair, instead=instead)
        self.log.extend(outcome.carried_out)
        return outcome

    # -- the one observation path --------------------------------------------------------------------------------------
    def look(self, *requests: Request, at: int = 0) -> tuple[View, ...]:
        """Return one view for each request, all of this stop; one that can't be made says why in its place.

        With `at`, the number of a past stop, they are of that one; the workload goes nowhere.
        """
        if self._course is None:
            return tuple(NoView(0, "nothing is loaded yet") for _ in requests)
        if at and at != self.stop.number:
            return self.past.look(at, requests)
        looks, number = self._course.looks, self.stop.number
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
            held = Held(workload, device, self._progress, self._offload)
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            keeper.restore(before)  # what was loaded before goes on as if this had not been tried
            remedy = OWN_LOOP if isinstance(error, KeyboardInterrupt) else A_FACTORY
            raise GradstepError(problem_of(error, doing, remedy)) from error
        name = workload.name or os.path.basename(command.target)
        self._take(held, name, command.seed, command)

    def _take(self, held: Held, name: str, seed: int | None, load: cmd.Load | None = None) -> None:
        self.close()
        looks = Looks(Runner(held))
        # a session that nobody holds any more must not leave its hooks and a thread inside a phase
        self._dropped = weakref.finalize(self, looks.walking.abandon)
        self._dropped.atexit = False  # at exit that thread can't run any more, and waiting for it would never end
        self._course = Course(looks, Past(looks, self._history, load, self._progress), name, seed, self.log)
        if self._waiting is not None:
            self.can_pause(self._waiting, self._interrupted)

    def _need(self) -> Course:
        if self._course is None:
            raise wrong("nothing is loaded", "there is no model to step", "begin with `load mlp seed=0`")
        return self._course


def _where(workload: Workload) -> torch.device:
    loading.check(workload)
    first = next(workload.model.parameters(), None)
    return torch.device("cpu") if first is None else first.device
