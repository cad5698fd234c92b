"""The board: what the surfaces of the screen show of the session, assigned and painted."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gradstep.tui import keymap
from gradstep.tui.asking import AskingDesk
from gradstep.tui.driver import Driver
from gradstep.tui.in_keys import in_keys, view_in_keys
from gradstep.tui.lines import clean
from gradstep.tui.painting import paint
from gradstep.tui.panels.log import Entry, entries_of
from gradstep.tui.panels.status import Activity, next_words
from gradstep.tui.panels.why import Stage
from gradstep.tui.remembered import Look
from gradstep.values.commands import PHASES, Backward, Command, Load, Say, Screenshot, Show, line_of
from gradstep.values.errors import GradstepError, refuse_to_overwrite
from gradstep.values.expressions import Expression
from gradstep.values.outcomes import Died, Event, Outcome, Output, Progress, Stop, Waiting
from gradstep.values.views import Request, View

if TYPE_CHECKING:
    from gradstep.session.protocol import FrontSession

_LONG_STAGE = 10.0
"""Seconds that building a model may take before it is asked about."""
_HEARD = 500
"""Characters kept of what is printed meanwhile."""
_YOUNG = 0.3
"""Seconds that a command may run before the status line mentions it."""
_STEPPING = {*PHASES, "next_batch", "natural", "iteration", "play", "play_iterations"}
"""The keys that run something of the debuggee's."""


class Board(AskingDesk, inherit_bindings=False):
    """Shows a session. It listens to the driver and to the session, and presses nothing itself."""

    def __init__(
        self,
        session: FrontSession,
        opening: Sequence[Command],
        noted: Callable[[Outcome], None],
        rest: float = 0.2,
        look: Look = Look(),  # noqa: B008
    ) -> None:
        """Prepare the screen.

        Args:
            session: the session to step.
            opening: commands to begin with.
            noted: told of every outcome, for the record.
            rest: seconds without a command after which a digest is taken.
            look: how it looks at first.
        """
        super().__init__(session, look)
        self.driver = Driver(session, self, rest)
        self.frames = 0
        """Stops presented so far."""
        self._opening, self._noted = opening, noted
        self._opened_on = ""
        self._stages: list[tuple[str, float]] = []
        self._heard = ""
        """The end of what the debuggee has printed while it is loaded."""
        self._log_due = False
        self._narrates = False
        """True when the last command was narration."""

    # -- start --------------------------------------------------------------------------------------------------------
    def start_clocks(self) -> None:
        """Prepare the timers, once there is a loop to run them."""
        self._clock = self.set_interval(0.1, self._tick, pause=True)

    def remember(self, history: Sequence[Command]) -> None:
        """Take over what was carried out before the screen was there."""
        for command in history:
            self.driver.history.append(command)
            self.log_panel.add([Entry("command", clean(line_of(command)))])
            self._prompt.last = line_of(command)
            self._take_account(command)
            self._narrate(command)

    def _take_account(self, command: Command) -> None:
        """Note whether the Ledger has anything to say yet."""
        self._account = isinstance(command, Backward) or (self._account and not isinstance(command, Load))

    def _narrate(self, command: Command) -> None:
        """Have Why show the narration until the next one comes; lines of it in a row are one text."""
        if isinstance(command, Say):
            before = f"{self.why.news.said}\n" if self._narrates else ""
            self.why.tell(said=before + command.text)
        self._narrates = isinstance(command, Say)

    # -- what the session tells ---------------------------------------------------------------------------------------
    def on_session_event(self, event: Event) -> None:
        """Take what the session says without being asked."""
        match event:
            case Progress(stage):
                self._begin_stage(stage)
            case Waiting(what):
                self._say(f"pausing: {clean(what)} has to end first")
            case Output(text):
                self.log_panel.write(text)
                if self._stages:
                    self._heard = (self._heard + text)[-_HEARD:]
                if not {"log", "ledger"} & set(self._recent):
                    # they may share a place: what the debuggee writes is seen until the ledger is asked for
                    self._recent.append("log")
                    self._arrange()
                    self._redraw()
                if not self._log_due:
                    self._log_due = True
                    self.set_timer(1 / 30, self._show_log)
            case Died(how):
                self._stages = []
                running = self.driver.running
                self.driver.died(how)
                self._banner.text = how
                during = f" It was running: {line_of(running)}." if running is not None else ""
                if running is not None:
                    self.log_panel.add([Entry("failed", clean(line_of(running)))])
                self.log_panel.add([Entry("problem", f"the engine died: {clean(how)}")])
                # what the command before did is not what there is to say now
                self.why.tell(stages=(), view=None, outcome=None, fault=None, notice=f"The engine died: {how}.{during}")
                self._arrange()
                self._redraw()

    def _show_log(self) -> None:
        self._log_due = False
        self.log_panel.redraw()

    def _begin_stage(self, stage: str) -> None:
        if stage:
            self._stages.append((stage, time.monotonic()))
            self._clock.resume()
            self._tick()

    def _tick(self) -> None:
        """Show how long things take, for as long as they do."""
        if not self._stages and not self.driver.busy:
            self._clock.pause()
        if self._stages and self.driver.busy:
            ends = [start for _, start in self._stages[1:]] + [time.monotonic()]
            stages = [Stage(name, end - start) for (name, start), end in zip(self._stages, ends, strict=True)]
            heard = [line for line in self._heard.splitlines() if line.strip()][-3:]
            self.why.tell(stages=tuple(stages), heard=tuple(heard), question=self._question(stages[-1]))
            self._arrange()
            self.why.redraw()
        self.activity()

    def _question(self, stage: Stage) -> str:
        """Return what to ask about a stage that runs the user's code and prints, or takes long; empty for another."""
        running = self.driver.running
        own = isinstance(running, Load) and ":" in running.target and stage.name.endswith(running.target)
        if not own or not (self._heard or stage.seconds > _LONG_STAGE):
            return ""
        return f"Does this train? A factory only builds a Workload. {self.keyboard.named('pause')}, twice, stops it."

    # -- what the driver tells ----------------------------------------------------------------------------------------
    def happened(self, outcome: Outcome, again: bool) -> None:
        """Write an outcome to the log; the row is painted with the stop."""
        entries = entries_of(outcome)
        # a replay after a restart does again what the log has already
        self.log_panel.add(entries[1:] if again and outcome.ok else entries)
        self.why.tell(notice="")
        self._prompt.last = line_of(outcome.command)
        self._take_account(outcome.command)
        self._narrate(outcome.command)
        if not again:
            self._noted(outcome)
        self._stages, self._heard = [], ""

    def present(self, stop: Stop, outcome: Outcome | None, views: Sequence[tuple[str, Request, View]]) -> None:
        """Show a stop: everything is assigned before anything is painted."""
        self._stages = [] if stop.number else self._stages
        self.why.tell(outcome=outcome, stages=(), fault=None, whole=False, ways_out=self._ways_out(stop, outcome))
        for name, request, view in views:
            panel = self.panels[name]
            panel.assign(view_in_keys(view, self.keyboard))
            panel.asked, panel.seen = request, view.stop
        self._open_on(stop.opening)
        self._status.stop = self._phases.stop = self._position.stop = stop
        self._footer.said = ""
        self.frames += 1
        self._arrange()
        self._prepare()
        paint(self, self._surfaces)
        # another tensor may be selected, a large one be due, and a panel have come into sight since the command began
        self.check_idle()

    def _ways_out(self, stop: Stop, outcome: Outcome | None) -> str:
        """Say what can be done when a load has left nothing that could be stepped."""
        if stop.number or outcome is None or outcome.ok or not isinstance(outcome.command, Load):
            return ""
        retry = f"{self.keyboard.key('restart').shown} tries again, " if self._can_retry else ""
        return f"Nothing is loaded: {retry}: and load NAME takes another, {self.keyboard.named('quit')} quits."

    def _open_on(self, opening: str) -> None:
        """Have Tensor show what the workload asks for until something is selected; nothing is carried out for that."""
        if opening != self._opened_on:
            self._opened_on = opening
            self.tensor.opening = _expression(opening) if opening else None

    def told(self, notice: str) -> None:
        """Show a word of the driver's own, in Why and in the log."""
        notice = in_keys(notice, self.keyboard)
        self.why.tell(notice=notice)
        self.log_panel.add([Entry("notice", notice)])
        self._arrange()
        self._redraw()

    def activity(self) -> None:
        """Show what runs and how much is queued."""
        activity = self._activity()
        for row in (self._status, self._phases):
            if row.activity != activity:
                row.activity = activity
                row.redraw()

    def _activity(self) -> Activity:
        driver, now = self.driver, time.monotonic()
        running = line_of(driver.running) if driver.running is not None else ""
        age = now - driver.since
        if driver.running is not None:
            self._clock.resume()
        # an engine that gets ready while nobody waits for it is no news
        loading = bool(self._stages) and driver.busy and not driver.stop.number
        mentioned = age >= _YOUNG and not loading
        return Activity(
            running if mentioned else "",
            now - self._stages[0][1] if loading else age if mentioned else 0.0,
            driver.queued if driver.queued > 1 else 0,  # a single one is most often about to begin
            loading,
            driver.dead,
            self._opened(),
            self._reading is not None and not self._reading.at_end,
            driver.place or (driver.playing.words if driver.playing is not None else ""),
        )

    def _opened(self) -> str:
        first = self._opening[0] if self._opening else None
        return first.target if isinstance(first, Load) else ""

    async def photograph(self, command: Screenshot) -> str:
        """Draw the screen to a file, once it shows the present stop."""
        path = Path(command.path)
        refuse_to_overwrite(path, line_of(command), command.over)
        await self.settled()
        from gradstep.tui.picture import svg_of

        path.write_text(svg_of(self.app), encoding="utf-8")
        return f"wrote {command.path}"

    # -- painting -----------------------------------------------------------------------------------------------------
    def _redraw(self) -> None:
        self._prepare()
        for surface in self._surfaces:
            surface.redraw()

    def _prepare(self) -> None:
        """Tell the rows above and below the panels what there is to say."""
        now = [name for name in ("restart", "traceback") if self.applies(name)]
        now = now if self.driver.dead or not self.driver.running else []
        self._footer.playing, self._footer.maximised = self.driver.playing is not None, self._maximised
        now += keymap.PLAYING if self._footer.playing else ()
        inside = self.driver.stop.position is not None
        lines = self._reading is not None and not self._reading.at_end
        now += ["natural"] * (inside and lines)
        now += keymap.INSIDE if inside else ()
        left_out = {*now, *(keymap.OUTSIDE if inside else ())}
        self._footer.keys = [*now, *(n for n in keymap.FOOTER if self.applies(n) and n not in left_out)]
        self._footer.first = tuple(now)
        self._footer.next = next_words(self.driver.stop, lines)
        self._status.activity = self._phases.activity = self._activity()

    # -- words --------------------------------------------------------------------------------------------------------
    def _say(self, text: str) -> None:
        """Say something on the footer, in place of the keys, until the next stop."""
        self._footer.said = text
        self._footer.redraw()

    @property
    def _nothing_loaded(self) -> bool:
        """True when a load failed and there is nothing that a phase could run."""
        return bool(self.why.news.ways_out)

    def takes(self, word: str) -> bool:
        """Tell whether a command of the language can be carried out now; the palette lists only those."""
        return not self.driver.dead and (self.driver.stop.number > 0 or word in {"load", "say"})

    @property
    def _can_retry(self) -> bool:
        """True when there is a load that can be tried again: the one this was opened with, or the open script's."""
        return bool(self._opening) or (self._reading is not None and self._reading.loads)

    def applies(self, key: str) -> bool:
        """Tell whether a key would do something now; the palette lists only those."""
        if key == "restart":
            return (
                bool(self.driver.dead) or self.driver.running is not None or (self._nothing_loaded and self._can_retry)
            )
        if key == "traceback":
            problem = self.why.news.problem
            return problem is not None and bool(problem.frames)
        if key == "go_on":
            return self.driver.parked or (self._reading is not None and not self._reading.at_end)
        if key in _STEPPING:
            script = self._reading is not None and key in {"natural", "play"}
            return not self.driver.dead and (script or not self._nothing_loaded)
        if key in {"slower", "faster"}:
            return self.driver.playing is not None
        if key == "find":
            return self.driver.stop.number > 0 and not self.driver.dead
        if key == "start_over":
            return any(isinstance(command, Load) for command in self.driver.history)
        if key.startswith(("loss_", "tensor_")):
            return key.partition("_")[0] in self._places
        return key != "script" or self._reading is not None


def _expression(text: str) -> Expression | None:
    """Return what a `show` of the workload's own names; None when it cannot be read."""
    from gradstep.steps.parse import parse_line
    from gradstep.steps.script import Line

    try:
        (statement,) = parse_line(f"show {text}")
    except (GradstepError, ValueError):
        return None
    return statement.command.what if isinstance(statement, Line) and isinstance(statement.command, Show) else None
