"""The keys that do something to the session: phases, as often as a number says, playing, pausing, starting over."""

from __future__ import annotations

from typing import Literal

from textual.timer import Timer

from gradstep.tui.board import Board
from gradstep.tui.count import PATIENCE, Count
from gradstep.tui.driver import QUEUE
from gradstep.tui.jobs import SIMPLE, Job, Program, command_job, iteration_job, load_job, natural_job, sequence, times
from gradstep.tui.keyboard import Keyboard
from gradstep.tui.play import USUAL, Play
from gradstep.values.commands import Command, Load, Show, line_of


class ActingBoard(Board, inherit_bindings=False):
    """A board with an action for every key that the session is stepped with."""

    _counting: Timer
    """Runs while a digit waits for what it counts."""
    _count: Count
    _times = 1
    """How often the key that is being taken does what it does."""
    _pressed = False
    """True when the last key was a pause while something ran: once more interrupts."""
    _sure = False
    """True when the last key asked whether to start over: once more does it."""
    _rate = USUAL

    def start_clocks(self) -> None:
        """Prepare the timers."""
        super().start_clocks()
        self._count = Count()
        self._counting = self.set_interval(PATIENCE, self._count_over, pause=True)

    def bind(self, keyboard: Keyboard) -> None:
        """Have everything that names a key name it as it is bound."""
        self.keyboard = keyboard
        for surface in self._surfaces:
            surface.keyboard = keyboard

    def _flush_selection(self) -> None:
        """Show what the cursor rests on, before anything else is done."""
        raise NotImplementedError

    def _settle(self) -> None:
        """Forget that the cursor has moved."""
        raise NotImplementedError

    # -- a number before a key ----------------------------------------------------------------------------------------
    def _counts(self, pressed: str, now: float) -> bool:
        """Hear a key that was pressed at the time `now`; True when it is a digit and no key."""
        key = self.keyboard.of(pressed)
        self._times = 1
        self._sure = self._sure and key is not None and key.id == "start_over"
        panel = key is not None and key.action.startswith("focus_panel")
        if pressed in tuple("0123456789") and (key is None or panel) and (pressed != "0" or self._count.waits(now)):
            self._count.add(pressed, now, self._recent[0])
            self._show_count(self._count.digits)
            self._counting.reset()
            self._counting.resume()
            return key is None
        number = self._count.take(now)
        self._show_count("")
        if number and self.keyboard.takes_count(pressed):
            self._times = number
            if number > 1:
                # the digits were none of the panels that they have gone to
                self._focus(self._count.home)
        return False

    def _count_over(self) -> None:
        """Let go of a number that nothing was counted with."""
        self._counting.pause()
        self._show_count("")

    def _show_count(self, digits: str) -> None:
        if self._prompt.count != digits:
            self._prompt.count = digits
            self._prompt.redraw()

    # -- phases -------------------------------------------------------------------------------------------------------
    def _put(self, job: Job) -> None:
        self._flush_selection()
        self._pressed = False
        if not self.driver.put(job):
            dead = f"the engine is dead: {self.keyboard.key('restart').shown} restarts it"
            full = f"{QUEUE} commands wait already: {self.keyboard.named('pause')} clears them"
            self._say(dead if self.driver.dead else full)

    def _put_phase(self, job: Job) -> None:
        """Queue what needs a model; why there is none stays to be read."""
        if self._nothing_loaded:
            self._say(self.why.news.ways_out)
        else:
            self._put(times(job, self._times))

    def action_act(self, line: str) -> None:
        """Run a phase."""
        self._put_phase(command_job(SIMPLE[line]))

    def action_natural(self) -> None:
        """Run the next line of the script; without one, or at its end, do what is natural."""
        if self._reading is None or self._reading.at_end:
            self._put_phase(natural_job(parse_commands))
        else:
            self._put(times(self._reading.job(), self._times))

    def action_iteration(self) -> None:
        """Do what is natural up to the next step of the optimizer."""
        self._put_phase(iteration_job(parse_commands))

    def action_go_on(self) -> None:
        """Go on with what a pause kept; else run the script up to the next narration."""
        self._flush_selection()
        if self.driver.go_on():
            return
        if self._reading is None or self._reading.at_end:
            self._say("nothing was paused: there is nothing to go on with")
        else:
            self._put(self._reading.rest())

    # -- playing ------------------------------------------------------------------------------------------------------
    def action_play(self, unit: Literal["phase", "iteration"]) -> None:
        """Play phases, lines of the open script, or iterations; once more stops."""
        playing = self.driver.playing
        lines = unit == "phase" and self._reading is not None and not self._reading.at_end
        if playing is not None and (playing.unit == "iteration") == (unit == "iteration"):
            self.driver.play(None)
            self._redraw()
            self._say(f"stopped playing: {self.keyboard.key('play').shown} plays on")
            return
        self._flush_selection()
        if self.driver.dead:
            self._say(f"the engine is dead: {self.keyboard.key('restart').shown} restarts it")
            return
        if lines and self._reading is not None:
            self._reading.waits = False
            self.driver.play(Play("line", self._next_line, self._rate))
        elif unit == "phase":
            self.driver.play(Play("phase", lambda: natural_job(parse_commands), self._rate))
        else:
            self.driver.play(Play("iteration", lambda: iteration_job(parse_commands), self._rate))
        self._redraw()

    def _next_line(self) -> Job | None:
        reading = self._reading
        if reading is None or reading.at_end:
            return None
        if reading.waits:
            self._say(f"the script asks for a key; {self.keyboard.key('play').shown} plays on")
            return None
        return reading.job()

    def action_speed(self, by: int) -> None:
        """Play faster or slower."""
        play = (self.driver.playing or Play("phase", lambda: None, self._rate)).at(by)
        self._rate = play.rate
        if self.driver.playing is not None:
            self.driver.play(play)
        self._say(f"{play.words}   {self._speed_words}")

    @property
    def _speed_words(self) -> str:
        slower, faster, stop = (self.keyboard.key(name).shown for name in ("slower", "faster", "play"))
        does = "stops" if self.driver.playing is not None else "plays"
        return f"{slower} slower, {faster} faster, {stop} {does}"

    # -- pausing and beginning again ----------------------------------------------------------------------------------
    def action_pause(self) -> None:
        """Drop what is queued; once more, interrupt what runs."""
        self._settle()
        again = self._pressed and self.driver.running is not None
        if again:
            self._session.interrupt()
            self._say("interrupting: the phase will be rolled back")
        elif self.driver.pause():
            more = f"; {self.keyboard.named('pause')} again interrupts" if self.driver.running else ""
            self._say(f"paused: the queue is clear{more}")
        elif self.why.news.said:
            self.why.tell(said="")
            self._arrange()
            self._redraw()
        else:
            self._say(f"nothing runs; {self.keyboard.named('quit')} quits")
        self._pressed = self.driver.running is not None

    def action_start_over(self) -> None:
        """Load the same workload afresh, with the same seed; asks first."""
        load = next((command for command in reversed(self.driver.history) if isinstance(command, Load)), None)
        again = self.keyboard.key("start_over").shown
        if load is None:
            self._say("nothing was loaded here that could be loaded again")
        elif not self._sure:
            self._sure = True
            self._say(f"start over with {line_of(load)}? {again} again does it, any other key does not")
        else:
            self._sure = False
            self.driver.pause()
            self.told(f"Starting over: {line_of(load)}. The log and the record keep what was done before.")
            self.why.tell(said="")
            if self._reading is not None and self._reading.loads:
                self._reading.restart()
                self._put(self._reading.to_load())
            else:
                self._put(self._load_again(load))

    def _load_again(self, load: Load) -> Job:
        """Return the job that loads again and shows what is shown now, or what the workload wants to be seen first."""
        shown = next((c for c in reversed(self.driver.history) if isinstance(c, Load | Show)), None)
        if not isinstance(shown, Show):
            return load_job(load, parse_commands)

        def program() -> Program:
            return sequence([load, shown])

        return Job(lambda _: program())

    def action_restart(self) -> None:
        """Start a dead or hanging engine again."""
        if not self.applies("restart"):
            self._say(f"the engine is alive: {self.keyboard.key('restart').shown} restarts a dead one")
            return
        self._begin_stage("starting the engine again")
        self.run_worker(self._restart(), name="restart")

    def _begin(self) -> None:
        for command in self._opening:
            self.driver.put(load_job(command, parse_commands) if isinstance(command, Load) else command_job(command))

    async def _restart(self) -> None:
        retry = self._nothing_loaded and self._reading is not None
        if retry:
            # what came before the load, narration, comes again with the script
            self.driver.history.clear()
        again = bool(self.driver.history)
        await self.driver.restart()
        if retry and self._reading is not None:
            self._reading.restart()
            self.driver.put(self._reading.to_load())
        elif not again:
            # it died before anything was done: begin as at the start
            self._begin()
        self._arrange()
        self._redraw()

    def action_leave(self) -> None:
        """Quit."""
        self.app.exit(return_code=0)


def parse_commands(line: str) -> list[Command]:
    """Parse a line of the session's own, such as what is natural; it holds plain commands only."""
    from gradstep.steps.parse import parse_line
    from gradstep.steps.script import Line

    return [statement.command for statement in parse_line(line) if isinstance(statement, Line)]
