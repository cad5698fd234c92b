"""What the session and the queue tell, shown on the surfaces of the screen."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gradstep.tui.desk import Controller, Desk
from gradstep.tui.keys import keymap
from gradstep.tui.keys.in_keys import view_in_keys
from gradstep.tui.looking import Looking
from gradstep.tui.panels.bars.status import Activity, next_words
from gradstep.tui.panels.log import Entry, entries_of
from gradstep.tui.panels.why import Stage
from gradstep.tui.render.lines import clean
from gradstep.tui.render.svg import svg_of
from gradstep.tui.render.textual_internals import paint
from gradstep.values.commands import PHASES, Backward, Command, Load, Say, Screenshot, Show, line_of
from gradstep.values.errors import GradstepError
from gradstep.values.expressions import Expression
from gradstep.values.files import refuse_to_overwrite, write_text
from gradstep.values.outcomes import Died, Event, Outcome, Output, Progress, Stop, Waiting
from gradstep.values.views import Request, View

_LONG_STAGE = 10.0
"""Seconds that building a model may take before it is asked about."""
_HEARD = 500
"""Characters kept of what is printed meanwhile."""
_YOUNG = 0.3
"""Seconds that a command may run before the status line mentions it."""
_STEPPING = {*PHASES, "next_batch", "natural", "iteration", "play", "play_iterations"}
"""The keys that run something of the debuggee's."""


class Showing(Controller):
    """Shows a session: it is told what becomes of commands, and by the session what happens meanwhile."""

    def __init__(
        self, screen: Desk, looking: Looking, opening: Sequence[Command], noted: Callable[[Outcome], None]
    ) -> None:
        """Hold the screen.

        Args:
            screen: where it is shown.
            looking: knows what panels want to see.
            opening: commands that the screen begins with.
            noted: told of every outcome, for the record.
        """
        super().__init__(screen)
        self.frames = 0
        """Stops presented so far."""
        self._looking, self._opening, self._noted = looking, opening, noted
        self._opened_on = ""
        self._stages: list[tuple[str, float]] = []
        self._heard = ""
        """The end of what the debuggee has printed while it is loaded."""
        self._log_due = False
        self._narrates = False
        """True when the last command was narration."""

    # -- start --------------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Prepare the timers, once there is a loop to run them."""
        self._clock = self.screen.set_interval(0.1, self._tick, pause=True)
        self.screen.session.on_event = self.on_session_event

    def remember(self, history: Sequence[Command]) -> None:
        """Take over what was carried out before the screen was there."""
        for command in history:
            self.queue.history.append(command)
            self.screen.log_panel.add([Entry("command", clean(line_of(command)))])
            self.screen.prompt.last = line_of(command)
            self._carried_out(command)
            self._narrate(command)

    def _carried_out(self, command: Command) -> None:
        for controller in self.screen.controllers:
            controller.carried_out(command)

    def carried_out(self, command: Command) -> None:
        """Take note of whether the Ledger has anything to say yet."""
        account = self.screen.account and not isinstance(command, Load)
        self.screen.account = isinstance(command, Backward) or account

    def _narrate(self, command: Command) -> None:
        """Have Why show the narration until the next one comes; lines of it in a row are one text."""
        if isinstance(command, Say):
            before = f"{self.screen.why.news.said}\n" if self._narrates else ""
            self.screen.why.tell(said=before + command.text)
        self._narrates = isinstance(command, Say)

    # -- what the session tells ---------------------------------------------------------------------------------------
    def on_session_event(self, event: Event) -> None:
        """Take what the session says without being asked."""
        match event:
            case Progress(stage):
                self.begin_stage(stage)
            case Waiting(what):
                self.screen.say(f"pausing: {clean(what)} has to end first")
            case Output(text):
                self.screen.log_panel.write(text)
                if self._stages:
                    self._heard = (self._heard + text)[-_HEARD:]
                if not {"log", "ledger"} & set(self.screen.recent):
                    # they may share a place: what the debuggee writes is seen until the ledger is asked for
                    self.screen.recent.append("log")
                    self.screen.rearrange()
                    self.screen.redraw()
                if not self._log_due:
                    self._log_due = True
                    self.screen.set_timer(1 / 30, self._show_log)
            case Died(how):
                self._stages = []
                running = self.queue.running
                self.queue.died(how)
                self.screen.banner.text = how
                during = f" It was running: {line_of(running)}." if running is not None else ""
                if running is not None:
                    self.screen.log_panel.add([Entry("failed", clean(line_of(running)))])
                self.screen.log_panel.add([Entry("problem", f"the engine died: {clean(how)}")])
                # what the command before did is not what there is to say now
                self.screen.why.tell(
                    stages=(), view=None, outcome=None, fault=None, notice=f"The engine died: {how}.{during}"
                )
                self.screen.rearrange()
                self.screen.redraw()

    def _show_log(self) -> None:
        self._log_due = False
        self.screen.log_panel.redraw()

    def begin_stage(self, stage: str) -> None:
        """Say what is being waited for."""
        if stage:
            self._stages.append((stage, time.monotonic()))
            self._clock.resume()
            self._tick()

    def _tick(self) -> None:
        """Show how long things take, for as long as they do."""
        if not self._stages and not self.queue.busy:
            self._clock.pause()
        if self._stages and self.queue.busy:
            ends = [start for _, start in self._stages[1:]] + [time.monotonic()]
            stages = [Stage(name, end - start) for (name, start), end in zip(self._stages, ends, strict=True)]
            heard = [line for line in self._heard.splitlines() if line.strip()][-3:]
            self.screen.why.tell(stages=tuple(stages), heard=tuple(heard), question=self._question(stages[-1]))
            self.screen.rearrange()
            self.screen.why.redraw()
        self.activity()

    def _question(self, stage: Stage) -> str:
        """Return what to ask about a stage that runs the user's code and prints, or takes long; empty for another."""
        running = self.queue.running
        own = isinstance(running, Load) and ":" in running.target and stage.name.endswith(running.target)
        if not own or not (self._heard or stage.seconds > _LONG_STAGE):
            return ""
        stops = f"{self.keyboard.named('pause')}, twice, stops it."
        return f"Does this train? A factory only builds a Workload. {stops}"

    # -- what the driver tells ----------------------------------------------------------------------------------------
    def happened(self, outcome: Outcome, again: bool) -> None:
        """Write an outcome to the log; the row is painted with the stop."""
        entries = entries_of(outcome)
        # a replay after a restart does again what the log has already
        self.screen.log_panel.add(entries[1:] if again and outcome.ok else entries)
        self.screen.why.tell(notice="")
        self.screen.prompt.last = line_of(outcome.command)
        self._carried_out(outcome.command)
        self._narrate(outcome.command)
        reading = self.screen.reading
        if reading is not None and not again and reading.followed(outcome):
            self.screen.why.tell(said=reading.said)
        if not again:
            self._noted(outcome)
        self._stages, self._heard = [], ""

    def requests(self) -> Sequence[tuple[str, Request]]:
        """Return what each visible panel wants to see, by its name."""
        return self._looking.requests()

    def present(self, stop: Stop, outcome: Outcome | None, views: Sequence[tuple[str, Request, View]]) -> None:
        """Show a stop: everything is assigned before anything is painted."""
        screen = self.screen
        self._stages = [] if stop.number else self._stages
        screen.why.tell(outcome=outcome, stages=(), fault=None, whole=False, ways_out=self._ways_out(stop, outcome))
        for controller in screen.controllers:
            views = controller.stopping(stop, outcome, views)
        if views:
            # `show` and others lead to no new stop: what was seen of this one before them may be of something else
            for panel in screen.panels.values():
                panel.shown_stop = -1
        for name, request, view in views:
            panel = screen.panels[name]
            panel.assign(view_in_keys(view, screen.keyboard))
            panel.shown_request, panel.shown_stop = request, view.stop
        self._open_on(stop.opening)
        screen.status.stop = screen.phases.stop = screen.position.stop = stop
        screen.footer.said = ""
        self.frames += 1
        for controller in screen.controllers:
            controller.stopped(stop)
        screen.rearrange()
        self.drawing()
        paint(screen, screen.surfaces)
        # another tensor may be selected, a large one be due, and a panel have come into sight since the command began
        screen.check_idle()

    def _ways_out(self, stop: Stop, outcome: Outcome | None) -> str:
        """Return what can be done when a load has left nothing that could be stepped."""
        if stop.number or outcome is None or outcome.ok or not isinstance(outcome.command, Load):
            return ""
        retry = f"{self.keyboard.key('restart').shown} tries again, " if self._can_retry else ""
        return f"Nothing is loaded: {retry}: and load NAME takes another, {self.keyboard.named('quit')} quits."

    def _open_on(self, opening: str) -> None:
        """Have Tensor show what the workload asks for until something is selected; nothing is carried out for that."""
        if opening != self._opened_on:
            self._opened_on = opening
            self.screen.tensor.opening = _expression(opening) if opening else None

    def told(self, notice: str) -> None:
        """Show a notice of the queue's own."""
        self.screen.told(notice)

    def activity(self) -> None:
        """Show what runs and how much is queued."""
        activity = self._activity()
        for row in (self.screen.status, self.screen.phases):
            if row.activity != activity:
                row.activity = activity
                row.redraw()

    def _activity(self) -> Activity:
        driver, now = self.queue, time.monotonic()
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
            self.screen.reading is not None and not self.screen.reading.at_end,
            driver.place or (driver.playing.words if driver.playing is not None else ""),
        )

    def _opened(self) -> str:
        first = self._opening[0] if self._opening else None
        return first.target if isinstance(first, Load) else ""

    async def photograph(self, command: Screenshot) -> str:
        """Draw the screen to a file, once it shows the present stop."""
        path = Path(command.path)
        refuse_to_overwrite(path, line_of(command), command.over)
        await self._looking.settled()
        write_text(path, svg_of(self.screen.app))
        return f"wrote {command.path}"

    # -- painting -----------------------------------------------------------------------------------------------------
    def drawing(self) -> None:
        """Tell the rows above and below the panels what there is to say."""
        now = [name for name in ("restart", "traceback") if self.screen.applies(name)]
        now = now if self.queue.dead or not self.queue.running else []
        self.screen.footer.playing, self.screen.footer.maximised = (
            self.queue.playing is not None,
            self.screen.maximised,
        )
        now += keymap.PLAYING if self.screen.footer.playing else ()
        inside = self.queue.stop.position is not None
        lines = self.screen.reading is not None and not self.screen.reading.at_end
        now += ["natural"] * (inside and lines)
        now += keymap.INSIDE if inside else ()
        left_out = {*now, *(keymap.OUTSIDE if inside else ())}
        self.screen.footer.keys = [*now, *(n for n in keymap.FOOTER if self.screen.applies(n) and n not in left_out)]
        self.screen.footer.first = ("help", *["maximise"] * self.screen.maximised, *now)
        self.screen.footer.next = next_words(self.queue.stop, lines)
        self.screen.status.activity = self.screen.phases.activity = self._activity()

    # -- what applies now ----------------------------------------------------------------------------------------------
    def takes(self, word: str) -> bool:
        """Return whether a command of the language can be carried out now; the palette lists only those."""
        return not self.queue.dead and (self.queue.stop.number > 0 or word in {"load", "say"})

    @property
    def _can_retry(self) -> bool:
        """True when there is a load that can be tried again: the one this was opened with, or the open script's."""
        return bool(self._opening) or (self.screen.reading is not None and self.screen.reading.loads)

    def applies(self, key: str) -> bool | None:
        """Return whether a key would do something now."""
        if key == "restart":
            return (
                bool(self.queue.dead)
                or self.queue.running is not None
                or (self.screen.nothing_loaded and self._can_retry)
            )
        if key == "traceback":
            problem = self.screen.why.news.problem
            return problem is not None and bool(problem.frames)
        if key == "go_on":
            return self.queue.parked or (self.screen.reading is not None and not self.screen.reading.at_end)
        if key in _STEPPING:
            script = self.screen.reading is not None and key in {"natural", "play"}
            return not self.queue.dead and (script or not self.screen.nothing_loaded)
        if key in {"slower", "faster"}:
            return self.queue.playing is not None
        if key == "find":
            return self.queue.stop.number > 0 and not self.queue.dead
        if key == "start_over":
            return any(isinstance(command, Load) for command in self.queue.history)
        if key.startswith(("loss_", "tensor_")):
            return key.partition("_")[0] in self.screen.places
        if key == "script":
            return self.screen.reading is not None
        return None


def _expression(text: str) -> Expression | None:
    """Return what a `show` of the workload's own names; None when it cannot be read."""
    from gradstep.steps.language.parse import parse_line
    from gradstep.steps.language.script import Line

    try:
        (statement,) = parse_line(f"show {text}")
    except (GradstepError, ValueError):
        return None
    return statement.command.what if isinstance(statement, Line) and isinstance(statement.command, Show) else None
