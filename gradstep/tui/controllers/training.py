"""Running phases: once, a counted number of times, or playing; pausing, starting over."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

from gradstep.tui.commands.jobs import (
    SIMPLE,
    Job,
    Program,
    command_job,
    iteration_job,
    load_job,
    natural_job,
    script_job,
    sequence,
    times,
)
from gradstep.tui.commands.play import USUAL, Play
from gradstep.tui.desk import Controller, Desk
from gradstep.tui.showing import Showing
from gradstep.values.commands import ACTS, Command, Load, NextIteration, Run, Show, line_of


class Training(Controller):
    """Runs and plays phases, pauses, starts over, and restarts the engine."""

    def __init__(self, screen: Desk, showing: Showing, opening: Sequence[Command]) -> None:
        """Attach to the screen; `opening` are the first commands."""
        super().__init__(screen)
        self._showing, self.opening = showing, opening
        self.pressed = False
        """True when the last key paused a running command: the next pause interrupts it."""
        self._sure = ""
        """The last key, when it asked whether to start over: pressed again, it does."""
        self._rate = USUAL

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return the handler of each key."""
        return {
            **{name: partial(self.act, name) for name in ACTS},
            "natural": self.natural,
            "iteration": self.iteration,
            "play": partial(self.play, "phase"),
            "play_iterations": partial(self.play, "iteration"),
            "slower": partial(self.speed, -1),
            "faster": partial(self.speed, 1),
            "start_over": self.start_over,
            "restart": self.restart,
        }

    def queueing(self) -> None:
        """Forget that a pause was pressed."""
        self.pressed = False

    def key_pressed(self, key: str) -> None:
        """Handle any pressed key: only the key that asked a question confirms it."""
        self._sure = self._sure if key == self._sure else ""

    # -- phases -------------------------------------------------------------------------------------------------------
    def _put_phase(self, job: Job) -> None:
        """Queue a job that needs a model; without one, show why there is none."""
        if self.screen.nothing_loaded:
            self.screen.say(self.screen.why.news.ways_out)
        else:
            self.screen.put(times(job, self.screen.times))

    def act(self, line: str) -> None:
        """Run a phase."""
        script = self.queue.stop.script and line == "next_batch"
        self._put_phase(command_job(NextIteration() if script else SIMPLE[line]))

    def natural(self) -> None:
        """Run the next line of the script; without one, or at its end, the natural next phase."""
        if self.screen.reading is None or self.screen.reading.at_end:
            self._put_phase(natural_job(parse_commands))
        else:
            self.screen.put(times(self.screen.reading.job(), self.screen.times))

    def iteration(self) -> None:
        """Run phases up to and including the next optimizer step."""
        script = self.queue.stop.script
        self._put_phase(command_job(NextIteration(same=True)) if script else iteration_job(parse_commands))

    # -- playing ------------------------------------------------------------------------------------------------------
    def play(self, unit: Literal["phase", "iteration"]) -> None:
        """Play phases, lines of the open script, or iterations; pressed again, stop."""
        playing = self.queue.playing
        lines = unit == "phase" and self.screen.reading is not None and not self.screen.reading.at_end
        if playing is not None and (playing.unit == "iteration") == (unit == "iteration"):
            self.queue.play(None)
            self.screen.redraw()
            self.screen.say(f"stopped playing: {self.keyboard.key('play').shown} resumes")
            return
        self.screen.queueing()
        if self.queue.dead:
            self.screen.say(self.screen.dead_words)
            return
        if lines and self.screen.reading is not None:
            self.screen.reading.waits = False
            self.queue.play(Play("line", self._next_line, self._rate))
        elif unit == "phase":
            self.queue.play(Play("phase", lambda: natural_job(parse_commands), self._rate))
        else:
            self.queue.play(Play("iteration", lambda: iteration_job(parse_commands), self._rate))
        self.screen.redraw()

    def _next_line(self) -> Job | None:
        reading = self.screen.reading
        if reading is None or reading.at_end:
            return None
        if reading.waits:
            self.screen.say(f"the script asks you to press a key; {self.keyboard.key('play').shown} resumes")
            return None
        return reading.job()

    def speed(self, by: int) -> None:
        """Play faster or slower."""
        play = (self.queue.playing or Play("phase", lambda: None, self._rate)).at(by)
        self._rate = play.rate
        if self.queue.playing is not None:
            self.queue.play(play)
        self.screen.say(f"{play.words}   {self._speed_words}")

    @property
    def _speed_words(self) -> str:
        slower, faster, stop = (self.keyboard.key(name).shown for name in ("slower", "faster", "play"))
        does = "stops" if self.queue.playing is not None else "plays"
        return f"{slower} slower, {faster} faster, {stop} {does}"

    # -- pausing and restarting ---------------------------------------------------------------------------------------
    def pause(self) -> None:
        """Clear the queue; pressed again, interrupt the running command."""
        self.screen.pausing()
        again = self.pressed and self.queue.running is not None
        if again:
            self.screen.session.interrupt()
            self.screen.say("interrupting: the phase will be rolled back")
        elif self.queue.pause():
            more = f"; {self.keyboard.named('pause')} again interrupts" if self.queue.running else ""
            self.screen.say(f"paused: the queue is empty{more}")
        elif self.screen.why.news.said:
            self.screen.why.tell(said="")
            self.screen.rearrange()
            self.screen.redraw()
        else:
            self.screen.say(f"nothing runs; {self.keyboard.named('quit')} quits")
        self.pressed = self.queue.running is not None

    def start_over(self) -> None:
        """Load the same workload again, with the same seed; ask first."""
        if (run := self._run) is not None:
            self._run_again(run, "start_over")
            return
        load = self.screen.last_load
        again = self.keyboard.key("start_over").shown
        if load is None:
            self.screen.say("there is no load command to run again")
        elif not self._sure:
            self._sure = "start_over"
            self.screen.say(f"start over with {line_of(load)}? {again} again does it, any other key does not")
        else:
            self._sure = ""
            self.queue.pause()
            self.screen.show_notice(
                f"Starting over: {line_of(load)}. The log and the recording keep the earlier commands."
            )
            self.screen.why.tell(said="")
            if self.screen.reading is not None and self.screen.reading.loads:
                self.screen.reading.restart()
                self.screen.put(self.screen.reading.to_load())
            else:
                self.screen.put(self._load_again(load))

    def _load_again(self, load: Load) -> Job:
        """Return the job that loads again and restores the selection, or the workload's suggestion."""
        shown = next((c for c in reversed(self.queue.history) if isinstance(c, Load | Show)), None)
        if not isinstance(shown, Show):
            return load_job(load, parse_commands)

        def program() -> Program:
            return sequence([load, shown])

        return Job(lambda _: program())

    def restart(self) -> None:
        """Restart a dead or hanging engine; run a script again, also one that has not ended."""
        if (run := self._run) is not None:
            self._run_again(run, "restart")
            return
        if not self.screen.applies("restart"):
            self.screen.say(f"the engine is alive: {self.keyboard.key('restart').shown} restarts a dead one")
            return
        self._showing.begin_stage("starting the engine again", first=True)
        self.screen.run_worker(self._restart(), name="restart")

    def begin(self) -> None:
        """Queue the opening commands."""
        for command in self.opening:
            self.queue.put(load_job(command, parse_commands) if isinstance(command, Load) else command_job(command))

    @property
    def _run(self) -> Run | None:
        """The command that ran the present script; None for a held workload."""
        if self.screen.session.terminal is None:
            return None
        commands = (*reversed(self.queue.history), *self.opening)
        return next((command for command in commands if isinstance(command, Run)), None)

    def _run_again(self, run: Run, key: str) -> None:
        """Run the script again; ask first while it has not ended."""
        name, again = os.path.basename(run.target), self.keyboard.key(key).shown
        if not (self._sure or self.queue.dead or self.queue.stop.ended):
            self._sure = key
            self.screen.say(f"end {name} and run it again? {again} again does it, any other key does not")
            return
        self._sure = ""
        self._showing.begin_stage("starting the engine again", first=True)
        self.screen.run_worker(self._restart(), name="restart")

    async def _restart(self) -> None:
        retry = self.screen.reading is not None and (self.screen.nothing_loaded or self._run is not None)
        if retry:
            # the narration before the load runs again with the script
            self.queue.history.clear()
        run = self._run
        again = bool(self.queue.history) or run is not None
        await self.queue.restart(script_job(run, self.queue.history) if run is not None else None)
        for controller in self.screen.controllers:
            controller.restarted()
        if retry and self.screen.reading is not None:
            self.screen.reading.restart()
            self.queue.put(self.screen.reading.to_load())
        elif not again:
            # it died before any command was executed
            self.begin()
        self.screen.rearrange()
        self.screen.redraw()


def parse_commands(line: str) -> list[Command]:
    """Parse a line made by gradstep, which has plain commands only."""
    from gradstep.steps.language.parse import parse_line
    from gradstep.steps.language.script import StepsLine

    return [statement.command for statement in parse_line(line) if isinstance(statement, StepsLine)]
