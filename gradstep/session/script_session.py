"""The session of a running script: commands let it run to its next stop, and views look at it there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

import torch
from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.autograd.buffers import has_live_graph
from gradstep.engine.problems import problem_of
from gradstep.engine.script.frames import named_values
from gradstep.engine.script.holding import held_workload
from gradstep.engine.script.lines import Places, line_of
from gradstep.engine.script.loop import ScriptLoop
from gradstep.engine.script.loop_client import Wanted
from gradstep.engine.script.main_thread import MainThread
from gradstep.engine.script.program import Attached, Ended, Program, Runnable
from gradstep.engine.yielding import Waits, never
from gradstep.session.answers import answer, set_check
from gradstep.session.held_copy import HeldCopy
from gradstep.session.looking_back import LookingBack
from gradstep.session.script_refusals import refuse, trained_nothing
from gradstep.session.script_stop import open_on, stop_of
from gradstep.session.script_watch import ScriptWatch
from gradstep.values import commands as cmd
from gradstep.values.commands import HISTORY, HISTORY_TIME, Command
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.findings import Finding
from gradstep.values.outcomes import Outcome, Running, Stop
from gradstep.values.views import LookLoss, NoView, Request, View


class ScriptSession:
    """Steps a script that runs on another thread, which has called `run_script`.

    Args:
        begin: returns what a `Run` command runs.
        thread: where the script stops; another one where nobody waits there.
        on_progress: called with what a `Run` waits for.
        on_waiting: called with what a pause of a held copy waits for.
        on_running: called a few times a second while the script runs on.
        history: maximum bytes of recorded stops; 0 records none.
        history_offload: True to keep what is recorded of tensors on a GPU in host memory.
        history_time: time budget of the history of a held copy, see `Session`.
    """

    def __init__(
        self,
        begin: Callable[[cmd.Run], Runnable] = lambda run: Program(run.target, run.arguments, run.module),
        thread: MainThread | None = None,
        on_progress: Callable[[str], object] = lambda _: None,
        on_waiting: Callable[[str], None] = lambda _: None,
        on_running: Callable[[Running], None] = lambda _: None,
        history: int = HISTORY,
        history_offload: bool = False,
        history_time: float = HISTORY_TIME,
    ) -> None:
        self._on_progress, self._on_waiting, self._on_running = on_progress, on_waiting, on_running
        self._history = history, history_offload, history_time
        self._thread, self._begin = thread or MainThread(), begin
        self.log: list[Command] = []
        self.running = False
        """False: an interrupt raises nothing on this thread; `pause` stops the script."""
        self.stop = Stop()
        self.watch = ScriptWatch(self._thread)
        """What the loop asks while it runs."""
        self._program: Runnable | None = None
        self._loop: ScriptLoop | None = None
        self._past = LookingBack(history, history_offload)
        self.ended: Ended | None = None
        self._holding: HeldCopy | None = None
        """What was copied from the script, while it is held."""
        self._elsewhere = ""
        """The thread that the script was last reported to train on."""
        self._stood = Stop()
        """The script's stop meanwhile."""
        self._number = 0
        self.waits: Waits = never
        """Returns whether a message waits for the present look to end."""
        self._opening = ""
        """What is shown while nothing is selected."""
        self._look_loss: LookLoss | None = None
        """What Loss has asked for last."""

    # -- on the script's thread ----------------------------------------------------------------------------------------
    def run_script(self) -> Ended:
        """Wait for a `Run` command, run its script on this thread, and answer after its end until `close`."""
        self._thread.wait()
        program, loop = self._program, self._loop
        if program is None or loop is None:  # closed before it began
            return Ended(0)
        loop.watch()
        try:
            self.ended = program.run()
            self.watch.over()
        except GradstepError as error:
            self.ended = Ended(2, error.problem)
        loop.leave()
        loop.stack.error = self.ended.error
        self._thread.end()
        return self.ended

    def attach(self, name: str, frame: FrameType | None, parts: Sequence[object] = ()) -> ScriptLoop:
        """Begin to watch what runs on this thread; return what watches it.

        Args:
            name: what it is called on the screen.
            frame: where the models and optimizers that are there already are looked for.
            parts: models and optimizers that are given.
        """
        loop = self.prepare(Attached(name))
        values = parts or [value for _, value in named_values(frame)]
        for value in values:
            if isinstance(value, torch.optim.Optimizer):
                loop.found.optimizer(value, frame)
            elif isinstance(value, torch.nn.Module):
                loop.found.module(value, frame)
        loop.watch()
        return loop

    def show_loss(self, loss: Tensor | None, frame: FrameType | None) -> None:
        """Have the views show a loss that a program has computed: the given one, or its variable `loss`."""
        loop = self._loop
        if loop is None:
            return
        shown = None if loop.held is None else loop.held.point.loss
        found = next((value for name, value in named_values(frame) if name == "loss"), None) if loss is None else loss
        if isinstance(found, Tensor):
            alive = found is loss or has_live_graph(found)
            if found is not shown and (alive or shown is None):
                loop.show_loss(found, frame, freed=not alive)
        elif shown is None:
            loop.show_attached(found if type(found) is float else None)

    def joined(self) -> None:
        """Wait for the first stop of a script that was running before; call on the session's thread."""
        self._thread.stopped()
        self._came()

    def end(self, ended: Ended) -> None:
        """Note how what was watched has ended, and answer until `close`; call on its thread."""
        if self._loop is not None and not self._thread.released:
            self.ended = ended
            self._loop.leave()
            self._thread.end()

    def forked(self) -> None:
        """Leave the script alone in a child that it has forked."""
        self._thread.released = self._thread.done = True
        if self._loop is not None:
            self._loop.leave()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the checks have found, errors first."""
        return self.watch.checker.rows

    def close(self) -> None:
        """Let the script run on with nobody to stop it; one that has ended ends its thread."""
        self._thread.let_go()

    # -- one command path ----------------------------------------------------------------------------------------------
    def execute(self, command: Command) -> Outcome:
        """Carry out one command. An error is in the outcome, never raised."""
        if self._holding is not None and not isinstance(command, (cmd.Release, cmd.Hold, cmd.Run)):
            outcome = self._holding.execute(command)
            self.stop = outcome.stop
            self.log.extend(outcome.carried_out)
            return outcome
        text, problem = "", None
        try:
            text = self._carry_out(command)
        except GradstepError as error:
            problem = error.problem
        except Exception as error:  # a fault of gradstep's own, or of a user's object in an expression
            problem = problem_of(error, cmd.line_of(command))
        outcome = Outcome(command, self.stop, problem, text)
        self.log.extend(outcome.carried_out)
        return outcome

    def look(self, *requests: Request, at: int = 0) -> tuple[View, ...]:
        """Return one view for each request; a `NoView` that says why where one can't be made."""
        if self._holding is not None:
            return self._holding.look(*requests, at=at)
        inspector = self.watch.inspector
        if inspector is None:
            why = "the script has not come to its first forward" if self.ended is None else trained_nothing(self._loop)
            return tuple(NoView(self.stop.number, why) for _ in requests)
        if at and at != self.stop.number:
            return self._past.look(at, inspector, requests)
        self._look_loss = next((each for each in requests if isinstance(each, LookLoss)), self._look_loss)
        views = inspector.stepper.here(lambda: inspector.look(self.stop.number, requests))
        self._past.shown("" if inspector.selection is None else inspector.selection.line, requests, views)
        return views

    def pause(self) -> None:
        """Have the script stop at the next place where it can; interrupt a phase of the held copy."""
        if self._holding is not None:
            self._holding.pause()
            return
        self._thread.pausing = True
        if self._loop is not None and not self._loop.counts:
            self._loop.stops.lines.pause()

    def _carry_out(self, command: Command) -> str:
        match command:
            case cmd.Run():
                return self._run(command)
            case cmd.Say(said):
                return said
            case cmd.Break(kind="line", what=what):
                file, line = what.rpartition(":")[0], line_of(what, _files())[1]
                command = replace(command, what=f"{file.removeprefix(os.getcwd() + os.sep)}:{line}")
            case cmd.Check(what) if what.startswith(("off ", "on ", "threshold ")):
                return set_check(self.watch.checker, what)
        inspector, loop = self.watch.inspector, self._loop
        if isinstance(command, cmd.Break) and inspector is None:
            return self.watch.breakpoints.add(command, None)
        if loop is None:
            raise wrong("no script runs", "", "begin with `run train.py`")
        match command:
            case cmd.Hold():
                return self._hold(loop)
            case cmd.Release():
                return self._release()
        wanted = self._wanted(command, loop)
        if wanted is not None:
            if self.ended is not None:
                raise wrong("the script has ended", "there is nothing left to run", "restart the script")
            return self._go(wanted, command)
        if inspector is None:
            raise wrong("there is nothing to look at yet", "the script has run no forward", "")
        refuse(command)
        if isinstance(command, cmd.Compare):
            return self._past.compare(command.first, command.second)
        return inspector.stepper.here(lambda: answer(inspector, command))

    @staticmethod
    def _wanted(command: Command, loop: ScriptLoop) -> Wanted | None:
        """Return how far a command lets the script run; None for one that does not."""
        match command:
            case cmd.Forward() | cmd.Backward() | cmd.Step() | cmd.ZeroGrad():
                return Wanted("phase", (cmd.ACT_NAMES[type(command)],))
            case cmd.NextIteration(same):
                here = loop.held.point.phase if same and not loop.stops.before and loop.held is not None else ""
                return Wanted("phase", (here,), loop.iteration + 1) if here else Wanted("iteration")
            case cmd.Until(condition):
                return Wanted("phase", condition=condition)
            case cmd.Into():
                return Wanted("into")
            case cmd.Over():
                return Wanted("phase")
            case cmd.Out(phase=True):
                return Wanted("phase")
            case cmd.Out():
                return Wanted("phase")
            case cmd.Continue():
                return Wanted("continue")
        return None

    def _hold(self, loop: ScriptLoop) -> str:
        """Copy what the script trains into a workload; commands are for that until `release`."""
        if self._holding is not None:
            raise wrong("a copy is held already", self.stop.workload, "`release` goes back to the script")
        before = self._run_to_hold(loop)
        held = loop.held
        if held is None:
            raise wrong("there is nothing to hold yet", "the script has run no forward", "")
        trained = self.watch.trained(held)
        workload, notes = held_workload(trained, f"{self.stop.workload} (held)")
        self._stood = self.stop
        self._holding = copy = HeldCopy(workload, trained, *self._history, self._on_waiting, self.waits)
        copy.take_over(self.watch.breakpoints, None if self.watch.inspector is None else self.watch.inspector.selection)
        self.stop = copy.stop
        return "\n".join(filter(None, [before, notes]))

    def _run_to_hold(self, loop: ScriptLoop) -> str:
        """Run the script on to the end of a recorded forward, where it does not stop after one; return its output.

        Raises:
            GradstepError: it stops or ends before that.
        """
        said: list[str] = []
        for _ in range(2):  # the forward that runs may not have been recorded
            phase = self._unfinished(loop)
            if not phase or self.ended is not None:
                break
            why, end = f"The {phase} had not ended", "its end"
            if loop.tape is None:
                why, end = "The last forward was not recorded", "the end of the next one"
            said = [f"{why}: the script ran on to {end}.", self._go(Wanted("phase", (phase,)), cmd.Out(phase=True))]
            if self.ended is not None:
                raise wrong("there is no forward to hold", f"{why}, and {self.stop.ended}", "restart the script")
            reason = loop.stops.reason if self.stop.position is None else self.stop.position.reason
            if reason and self._unfinished(loop):
                raise wrong(
                    "there is nothing to hold here", f"{why}. Before {end}: {reason}", "`hold` runs on from here"
                )
        return "\n".join(filter(None, said))

    def _unfinished(self, loop: ScriptLoop) -> str:
        """Return the phase whose end the script has to run to before it can be held; empty for none."""
        inspector = self.watch.inspector
        stepping = None if inspector is None else inspector.stepper.stepping
        if stepping is not None:
            return stepping.phase
        return "forward" if loop.in_forward or loop.tape is None else ""

    def _release(self) -> str:
        if self._holding is None:
            raise wrong("nothing is held", "", "`hold` copies what the script trains")
        self._holding.release()
        self._holding, self.stop = None, self._stood
        return "Back at the script, where it stood."

    def prepare(self, program: Runnable, wanted: Wanted = Wanted("continue")) -> ScriptLoop:  # noqa: B008
        """Return what watches a program that is about to run, and how far it runs."""
        self._program = program
        self._loop = loop = ScriptLoop(program.name, self._thread, self.watch, self._past.recorder)
        self.watch.loop = loop
        loop.stops.wanted, loop.stops.lines.places = wanted, self._line_places()
        return loop

    # -- running -------------------------------------------------------------------------------------------------------
    def _run(self, command: cmd.Run) -> str:
        if self._program is not None:
            raise wrong("a script runs already", self._program.name, "restart the script")
        if command.folder:
            os.chdir(command.folder)
        program = self._begin(command)
        self.prepare(program)
        self._on_progress(f"running {program.name} to its first forward")
        return self._go(Wanted("first"), command)

    def _go(self, wanted: Wanted, command: Command) -> str:
        loop, inspector = self._loop, self.watch.inspector
        assert loop is not None
        loop.stops.wanted = wanted
        loop.stops.lines.places = self._line_places()
        stepper = None if inspector is None else inspector.stepper
        if stepper is not None and stepper.stepping is not None:
            kind = {cmd.Into: "into", cmd.Over: "over", cmd.Out: "out"}.get(type(command), "continue")
            stepper.stepping.will(kind if not (isinstance(command, cmd.Out) and command.phase) else "end")  # type: ignore[arg-type]
        if stepper is not None:
            stepper.notes = []
        self._thread.go(self._runs_on)
        self._came()
        stepped = [] if self.watch.inspector is None else self.watch.inspector.stepper.notes
        notes, loop.stops.notes = "\n".join([*stepped, *loop.stops.notes]), []
        ended = self.ended
        if ended is not None:
            if ended.problem is not None:
                raise GradstepError(ended.problem)
            trained = loop.held is not None
            how = f"{self.stop.workload} {self.stop.ended}." + ("" if trained else f" {trained_nothing(loop)}")
            return "\n".join(filter(None, [notes, how]))
        return notes

    def _runs_on(self) -> None:
        """Report where the script is while it runs; no tensor is read for it."""
        loop, inspector = self._loop, self.watch.inspector
        if loop is not None and loop.held is None and loop.elsewhere != self._elsewhere:
            self._elsewhere = loop.elsewhere
            self._on_progress(f"running on. {trained_nothing(loop)}")
        if loop is None or loop.held is None or inspector is None:
            return
        if self._thread.pausing:  # no iteration that is recorded has begun since
            loop.stops.lines.pause()
        held, point = loop.held, loop.point
        loss, change = point.last_loss
        now = replace(
            self.stop,
            phase=point.phase,
            torch=point.torch,
            done=point.done,
            iteration=loop.iteration,
            loss=loss,
            loss_change=change,
            lr=held.loss_rates[-1] if held.loss_rates else self.stop.lr,
            position=None,
            hit="",
        )
        look = self._look_loss
        self._on_running(Running(now, None if look is None else inspector.running_losses(self.stop.number, look)))

    def _line_places(self) -> Places:
        places: dict[str, dict[int, tuple[int, ...]]] = {}
        for row in self.watch.breakpoints:
            if row.kind == "line" and row.enabled:
                file, line = line_of(row.what, _files())
                here = places.setdefault(file, {})
                here[line] = (*here.get(line, ()), row.number)
        return places

    def _came(self) -> None:
        """Note where the script has stopped."""
        loop = self._loop
        assert loop is not None
        assert self._program is not None
        held = loop.held
        if held is None and loop.stack.error is not None:  # its frames are looked at, with what it had until then
            held = loop.found.held()
        self._number += 1
        stop = Stop(self._number, self._program.name, script=True, ended=self._how_ended)
        if held is not None:
            self._opening = open_on(held, self._opening, self.watch.inspector_of(held))
            stop = stop_of(loop, self.watch, held, self._thread.frame, replace(stop, opening=self._opening))
        self.stop = stop
        if self.watch.inspector is not None:
            self._past.record(self.stop, self.watch.inspector, loop.stack.source, self._thread.ask)

    @property
    def _how_ended(self) -> str:
        return "" if self.ended is None else f"ended with exit code {self.ended.code}"


def _files() -> Iterator[str]:
    """Yield the files of the modules that are loaded."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__dict__", {}).get("__file__")
        if isinstance(file, str):
            yield file
