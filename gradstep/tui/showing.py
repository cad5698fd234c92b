"""Shows outcomes, stops and events in the panels and bars."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from gradstep.tui.controllers.output import ScriptOutput
from gradstep.tui.desk import Controller, Desk
from gradstep.tui.keys import keymap
from gradstep.tui.looking import Looking
from gradstep.tui.panels.bars.status import Activity, next_words
from gradstep.tui.panels.log import LogRow, entries_of
from gradstep.tui.panels.why import Stage
from gradstep.tui.render.lines import clean
from gradstep.tui.render.svg import svg_of
from gradstep.tui.render.textual_internals import paint
from gradstep.values import numbers
from gradstep.values.commands import PHASES, Backward, Command, Load, Run, Say, Screenshot, Show, line_of
from gradstep.values.errors import GradstepError
from gradstep.values.expressions import Expression
from gradstep.values.files import refuse_to_overwrite, write_text
from gradstep.values.outcomes import Died, Event, Outcome, Output, Progress, Running, Stop, Waiting
from gradstep.values.views import LossView, Request, View

_LONG_STAGE = 10.0
"""Seconds after which a factory that still runs is questioned."""
_TAIL = 500
"""Characters of its output that are kept."""
_YOUNG = 0.1
"""Seconds a command runs before the status line mentions it."""
_STEPPING = {*PHASES, "next_batch", "natural", "iteration", "play", "play_iterations"}
"""The keys that run the debuggee."""


class Showing(Controller):
    """Presents outcomes of commands, and events of the session."""

    def __init__(
        self,
        screen: Desk,
        looking: Looking,
        opening: Sequence[Command],
        on_outcome: Callable[[Outcome], None],
        output: ScriptOutput,
    ) -> None:
        """Hold the screen.

        Args:
            screen: the screen to show them on.
            looking: collects the requests of panels.
            opening: the first commands.
            on_outcome: called with every outcome, for the recording.
            output: draws what a script prints.
        """
        super().__init__(screen)
        self._script_output = output
        self.frames = 0
        """Stops presented so far."""
        self._looking, self._opening, self._on_outcome = looking, opening, on_outcome
        self._opened_on = ""
        self._stages: list[tuple[str, float]] = []
        self._output = ""
        """The tail of the debuggee's output during loading."""
        self._log_due = False
        self._narrates = False
        """True when the last command was narration."""

    # -- start --------------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start the clock and subscribe to session events, once the event loop runs."""
        self._clock = self.screen.set_interval(0.1, self._tick, pause=True)
        self.screen.session.on_event = self.on_session_event

    def remember(self, history: Sequence[Command]) -> None:
        """Take over the commands executed before the screen opened."""
        for command in history:
            self.queue.history.append(command)
            self.screen.log_panel.add([LogRow("command", clean(line_of(command)))])
            self.screen.prompt.last = line_of(command)
            self._carried_out(command)
            self._narrate(command)

    def _carried_out(self, command: Command) -> None:
        for controller in self.screen.controllers:
            controller.carried_out(command)

    def carried_out(self, command: Command) -> None:
        """Track whether the Ledger has anything to show."""
        account = self.screen.account and not isinstance(command, Load | Run)
        self.screen.account = isinstance(command, Backward) or account

    def _narrate(self, command: Command) -> None:
        """Show narration in Why until the next one; consecutive lines are one text."""
        if isinstance(command, Say):
            before = f"{self.screen.why.news.said}\n" if self._narrates else ""
            self.screen.why.tell(said=before + command.text)
        self._narrates = isinstance(command, Say)

    # -- events of the session ----------------------------------------------------------------------------------------
    def on_session_event(self, event: Event) -> None:
        """Handle an event of the session."""
        match event:
            case Progress(stage):
                self.begin_stage(stage)
            case Waiting(what):
                self.screen.say(f"pausing: {clean(what)} must end first")
            case Running(stop, losses):
                self._runs_on(stop, losses)
            case Output(text):
                if self.screen.session.terminal is not None:
                    self._script_output.printed(text)
                    return
                self.screen.log_panel.write(text)
                if self._stages:
                    self._output = (self._output + text)[-_TAIL:]
                if not {"log", "ledger"} & set(self.screen.recent):
                    # the two may share a place: the log is visible until the ledger is asked for
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
                died, self.screen.banner.remedy = self._death(how)
                self.screen.banner.text = died
                during = f" It was running: {line_of(running)}." if running is not None else ""
                if running is not None:
                    self.screen.log_panel.add([LogRow("failed", clean(line_of(running)))])
                self.screen.log_panel.add([LogRow("problem", clean(died))])
                # the previous command's result no longer matters
                self.screen.why.tell(stages=(), view=None, outcome=None, fault=None, notice=f"{died}.{during}")
                self._script_output.ended()
                self.screen.rearrange()
                self.screen.redraw()

    def _runs_on(self, stop: Stop, losses: LossView | None) -> None:
        """Show how far a running script is; what else is shown is of its last stop."""
        screen = self.screen
        if self.queue.running is None:  # it has stopped since
            return
        screen.status.stop = screen.phases.stop = stop
        pause = self.keyboard.named("pause")
        where = f"iteration {stop.iteration}" + ("" if stop.loss is None else f", loss {numbers.loss(stop.loss)}")
        notice = f"{clean(stop.workload)} is running: {where}. {pause} pauses it. Other panels show its last stop."
        screen.why.tell(notice=notice, view=None, outcome=None, fault=None, stages=())
        if losses is not None:
            screen.loss.assign(losses)
        for surface in (screen.status, screen.phases, screen.why, screen.loss):
            surface.redraw()

    def _death(self, how: str) -> tuple[str, str]:
        """Return how the engine died as a sentence, and what the restart key does."""
        if self.screen.session.terminal is None:
            return f"The engine died: {how}", "restarts it and replays the session"
        name = self.screen.status.stop.workload or self._opened() or "The script"
        if how.startswith("ended"):
            how += " without a normal exit, as os._exit does"
        elif not how.startswith("closed"):
            how = f"was {how}" if how.startswith("killed") else f"died: {how}"
        return f"{name} {how}", "runs it again with the same breakpoints"

    def _show_log(self) -> None:
        self._log_due = False
        self.screen.log_panel.redraw()

    def begin_stage(self, stage: str, first: bool = False) -> None:
        """Show what is being waited for, after earlier stages unless it is the first."""
        if first:
            self._stages = []
        if stage:
            self._stages.append((stage, time.monotonic()))
            self._clock.resume()
            self._tick()

    def _tick(self) -> None:
        """Update elapsed times while something runs."""
        if not self._stages and not self.queue.busy:
            self._clock.pause()
        if self._stages and self.queue.busy:
            ends = [start for _, start in self._stages[1:]] + [time.monotonic()]
            stages = [Stage(name, end - start) for (name, start), end in zip(self._stages, ends, strict=True)]
            heard = [line for line in self._output.splitlines() if line.strip()][-3:]
            self.screen.why.tell(stages=tuple(stages), heard=tuple(heard), question=self._question(stages[-1]))
            self.screen.rearrange()
            self.screen.why.redraw()
        self.activity()

    def _question(self, stage: Stage) -> str:
        """Return a question about a factory that prints or takes long; empty otherwise."""
        running = self.queue.running
        own = isinstance(running, Load) and ":" in running.target and stage.name.endswith(running.target)
        if not own or not (self._output or stage.seconds > _LONG_STAGE):
            return ""
        stops = f"{self.keyboard.named('pause')}, twice, stops it."
        return f"Does this train? A factory only builds a Workload. {stops}"

    # -- what the queue reports ---------------------------------------------------------------------------------------
    def take_outcome(self, outcome: Outcome, replay: bool) -> None:
        """Write an outcome to the log; the entry is painted with the stop."""
        entries = entries_of(outcome)
        # a replay after a restart repeats commands that the log has already
        self.screen.log_panel.add(entries[1:] if replay and outcome.ok else entries)
        self.screen.why.tell(notice="")
        self.screen.prompt.last = line_of(outcome.command)
        self._carried_out(outcome.command)
        self._narrate(outcome.command)
        reading = self.screen.reading
        if reading is not None and not replay and reading.followed(outcome):
            self.screen.why.tell(said=reading.said)
        if not replay:
            self._on_outcome(outcome)
        self._stages, self._output = [], ""

    @property
    def at_rest(self) -> bool:
        """True when every visible panel is up to date."""
        return self._looking.at_rest

    def requests(self) -> Sequence[tuple[str, Request]]:
        """Return the requests of the visible panels that a command's outcome brings, each with the panel's name."""
        return self._looking.prompt_requests()

    def present(self, stop: Stop, outcome: Outcome | None, views: Sequence[tuple[str, Request, View]]) -> None:
        """Show a stop: assign everything, then paint."""
        screen = self.screen
        self._stages = [] if stop.number else self._stages
        screen.why.tell(outcome=outcome, stages=(), fault=None, whole=False, ways_out=self._ways_out(stop, outcome))
        for controller in screen.controllers:
            views = controller.stopping(stop, outcome, views)
        if views:
            # `show` and others keep the stop: views taken of it before may be of another selection
            for panel in screen.panels.values():
                panel.shown_stop = -1
        for each in views:
            self._looking.take(*each)
        self._open_on(stop.opening)
        screen.status.stop = screen.phases.stop = screen.position.stop = stop
        screen.mark_focus()
        if screen.line is None:  # what a line says of the text typed so far still holds
            screen.footer.said = ""
        self.frames += 1
        for controller in screen.controllers:
            controller.stopped(stop)
        screen.rearrange()
        self.drawing()
        paint(screen, screen.surfaces)
        # since the command began, the selection may have changed, a large view be due, or a panel have become visible
        screen.check_idle()

    def _ways_out(self, stop: Stop, outcome: Outcome | None) -> str:
        """Return the ways out when a load failed and nothing is loaded."""
        if stop.number or outcome is None or outcome.ok or not isinstance(outcome.command, Load):
            return ""
        retry = f"{self.keyboard.key('restart').shown} retries, " if self._can_retry else ""
        return f"Nothing is loaded: {retry}:load NAME loads another workload, {self.keyboard.named('quit')} quits."

    def _open_on(self, opening: str) -> None:
        """Have Tensor show what the workload suggests until something is selected; no command is executed for that."""
        if opening != self._opened_on:
            self._opened_on = opening
            self.screen.tensor.opening = _expression(opening) if opening else None

    def show_notice(self, notice: str) -> None:
        """Show a notice of the queue."""
        self.screen.show_notice(notice)

    def activity(self) -> None:
        """Show what runs and how many jobs are queued."""
        activity = self._activity()
        for row in (self.screen.status, self.screen.phases):
            if row.activity != activity:
                row.activity = activity
                row.redraw()

    def _activity(self) -> Activity:
        queue, now = self.queue, time.monotonic()
        age = now - queue.since
        if queue.running is not None:
            self._clock.resume()
        # an engine that starts while nobody waits for it is not mentioned
        loading = bool(self._stages) and queue.busy and not queue.stop.number
        running = queue.running if age >= _YOUNG and not loading else None
        return Activity(
            "" if running is None else line_of(running),
            now - self._stages[0][1] if loading else 0.0 if running is None else age,
            queue.queued if queue.queued > 1 else 0,  # a single job usually starts at once
            loading,
            queue.dead,
            self._opened(),
            self.screen.reading is not None and not self.screen.reading.at_end,
            queue.place or (queue.playing.words if queue.playing is not None else ""),
            self._script_output.awaited,
        )

    def _opened(self) -> str:
        first = self._opening[0] if self._opening else None
        return first.target if isinstance(first, Load | Run) else ""

    async def take_screenshot(self, command: Screenshot) -> str:
        """Draw the screen to a file, once it shows the current stop."""
        path = Path(command.path)
        refuse_to_overwrite(path, line_of(command), command.over)
        await self._looking.settled()
        write_text(path, svg_of(self.screen.app))
        return f"wrote {command.path}"

    # -- painting -----------------------------------------------------------------------------------------------------
    def drawing(self) -> None:
        """Update the footer and the status line."""
        over = bool(self.queue.dead or self.screen.nothing_loaded or self.queue.stop.ended)
        now = [name for name in ["restart"] * over + ["traceback"] if self.screen.applies(name)]
        now = now if self.queue.dead or not self.queue.running else []
        now += ["output"] * self._script_output.awaited + ["hold"] * self.queue.stop.held
        self.screen.footer.awaits_input = self._script_output.awaited
        self.screen.footer.held = self.queue.stop.held
        self.screen.footer.script = self.screen.session.terminal is not None and not self.queue.stop.held
        self.screen.footer.playing, self.screen.footer.maximised = (
            self.queue.playing is not None,
            self.screen.maximised,
        )
        now += keymap.PLAYING if self.screen.footer.playing else ()
        inside = self.queue.stop.position is not None
        lines = self.screen.reading is not None and not self.screen.reading.at_end
        now += ["natural"] * (inside and lines)
        now += [name for name in keymap.INSIDE if inside and self.screen.applies(name)]
        left_out = {*now, *(keymap.BETWEEN_ONLY if inside else ())}
        names = [*now, *(n for n in keymap.FOOTER if self.screen.applies(n) and n not in left_out)]
        on_line = self.queue.stop.script and "go_on" in names and self.screen.recent[0] == "source" and not inside
        if on_line:
            names.insert(names.index("go_on"), "break")
        self.screen.footer.keys = names
        self.screen.footer.first = ("help", *["maximise"] * self.screen.maximised, *["break"] * on_line, *now)
        self.screen.footer.next = next_words(self.queue.stop, lines)
        self.screen.status.activity = self.screen.phases.activity = self._activity()

    # -- what applies now ----------------------------------------------------------------------------------------------
    def takes(self, word: str) -> bool:
        """Return whether a command of the language can be executed now; the palette lists only those."""
        return not self.queue.dead and (self.queue.stop.number > 0 or word in {"load", "say"})

    @property
    def _can_retry(self) -> bool:
        """True when there is a load to retry: the one the screen opened with, or the open script's."""
        return bool(self._opening) or (self.screen.reading is not None and self.screen.reading.loads)

    def applies(self, key: str) -> bool | None:
        """Return whether a key would do something now."""
        if key == "restart":
            return (
                bool(self.queue.dead)
                or self.screen.session.terminal is not None
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
            return self.screen.session.terminal is not None or any(
                isinstance(command, Load) for command in self.queue.history
            )
        if key.startswith(("loss_", "tensor_")):
            return key.partition("_")[0] in self.screen.placements
        if key == "script":
            return self.screen.reading is not None
        return None


def _expression(text: str) -> Expression | None:
    """Return the expression of the workload's `opening`; None when it is not a valid one."""
    from gradstep.steps.language.parse import parse_line
    from gradstep.steps.language.script import StepsLine

    try:
        (statement,) = parse_line(f"show {text}")
    except (GradstepError, ValueError):
        return None
    return statement.command.what if isinstance(statement, StepsLine) and isinstance(statement.command, Show) else None
