"""The screen: panels around one session. It turns keys into jobs and shows what the driver tells."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.layout import Layout
from textual.screen import Screen

from gradstep.tui import keymap
from gradstep.tui.chrome import Banner, FooterRow, PromptRow
from gradstep.tui.driver import QUEUE, Driver
from gradstep.tui.jobs import SIMPLE, Job, command_job, load_job, natural_job
from gradstep.tui.layout import PANELS, Place, PlacesLayout, Wish, plan
from gradstep.tui.lines import clean
from gradstep.tui.panels import why
from gradstep.tui.panels.graph import GraphPanel
from gradstep.tui.panels.log import Entry, LogPanel, entries_of
from gradstep.tui.panels.loss import LossPanel
from gradstep.tui.panels.model import ModelPanel
from gradstep.tui.panels.panel import Panel, Surface
from gradstep.tui.panels.script import Page, ScriptPanel
from gradstep.tui.panels.status import Activity, PhasesRow, StatusRow
from gradstep.tui.panels.tensor import TensorPanel
from gradstep.tui.panels.why import Stage, WhyPanel
from gradstep.values.commands import Command, Load, Say, Screenshot, Show, line_of
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.expressions import Name, name_line
from gradstep.values.outcomes import Died, Event, Outcome, Output, Problem, Progress, Stop
from gradstep.values.views import LookNames, Names, Request, View

if TYPE_CHECKING:
    from textual.widgets import Input

    from gradstep.session.protocol import FrontSession
    from gradstep.steps.script import Script
    from gradstep.tui.prompt import CommandLine
    from gradstep.tui.reading import Reading

_YOUNG = 0.3
"""Seconds that a command may run before the status line mentions it."""
_REST = 0.15
"""Seconds that the cursor of Model rests before the parameter under it is shown."""


class StepScreen(Screen[None], inherit_bindings=False):
    """Everything that is seen while a session is stepped."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [*keymap.bindings()]

    def __init__(
        self,
        session: FrontSession,
        opening: Sequence[Command],
        script: Script | None,
        noted: Callable[[Outcome], None],
        rest: float = 0.2,
    ) -> None:
        """Prepare the screen.

        Args:
            session: the session to step.
            opening: commands to begin with.
            script: a script to step through.
            noted: told of every outcome, for the record.
            rest: seconds without a command after which a digest is taken.
        """
        super().__init__(id="step")
        self.driver = Driver(session, self, rest)
        self.frames = 0
        """Stops presented so far."""
        self._session = session
        self._opening, self._script, self._noted = opening, script, noted
        self._reading: Reading | None = None
        self._recent = ["tensor"]
        self._maximised = False
        self._stages: list[tuple[str, float]] = []
        self._line: CommandLine | None = None
        self._typed: list[str] = []
        self._names: Names | None = None
        self._pressed = self._moving = False
        self._catching = False
        self._log_due = False
        self._places: dict[str, Place] = {}
        self._desk = PlacesLayout(self._place)
        self._status, self._phases = StatusRow(), PhasesRow()
        self._banner, self._prompt, self._footer = Banner(), PromptRow(), FooterRow()
        self.model, self.why, self.log_panel = ModelPanel(), WhyPanel(), LogPanel()
        self.script_panel, self.tensor, self.graph = ScriptPanel(), TensorPanel(), GraphPanel()
        panels = (self.tensor, self.graph, LossPanel(), self.log_panel, self.model, self.why, self.script_panel)
        self.panels: dict[str, Panel] = dict(zip(PANELS, panels, strict=True))
        rows = (self._status, self._phases, self._banner, self._prompt, self._footer)
        self._surfaces: tuple[Surface, ...] = (*rows, *panels)

    @property
    def layout(self) -> Layout:
        """Where everything stands."""
        return self._desk

    # -- start --------------------------------------------------------------------------------------------------------
    def compose(self) -> ComposeResult:
        """Yield every surface; the plan says which of them are seen."""
        yield from self._surfaces

    def on_mount(self) -> None:
        """Lay out, and start once the first frame is painted."""
        self._clock = self.set_interval(0.1, self._tick, pause=True)
        self._resting = self.set_interval(_REST, self._select, pause=True)
        self._begin_stage("starting the engine" if self._opening or self._script else "")
        self.panels[self._recent[0]].focused = True
        self.call_after_refresh(self._start)

    def _start(self) -> None:
        self._session.on_event = self.on_session_event
        if self._script is not None:
            self._open(self._script)
        self._begin()
        self.run_worker(self.driver.run(), name="driver")
        self.run_worker(asyncio.to_thread(_warm_up), name="parser", exit_on_error=False)

    def _begin(self) -> None:
        for command in self._opening:
            self.driver.put(load_job(command, _parse) if isinstance(command, Load) else command_job(command))

    def _open(self, script: Script) -> None:
        from gradstep.tui.reading import Reading

        self._reading = Reading(script, self._turned, self.told)
        self._recent.insert(0, "script")
        self._focus("script")
        self._turned(self._reading.page)
        if self._reading.begins_with_load:
            self.driver.put(self._reading.job())

    def remember(self, history: Sequence[Command]) -> None:
        """Take over what was carried out before the screen was there."""
        for command in history:
            self.driver.history.append(command)
            self.log_panel.add([Entry("command", clean(line_of(command)))])
            self._prompt.last = line_of(command)

    # -- what the session tells ---------------------------------------------------------------------------------------
    def on_session_event(self, event: Event) -> None:
        """Take what the session says without being asked."""
        match event:
            case Progress(stage):
                self._begin_stage(stage)
            case Output(text):
                self.log_panel.write(text)
                if not self._log_due:
                    self._log_due = True
                    self.set_timer(1 / 30, self._show_log)
            case Died(how):
                self._stages = []
                running = self.driver.running
                self.driver.died(how)
                self._banner.text = how
                during = f" It was running: {line_of(running)}." if running is not None else ""
                self.why.tell(stages=(), notice=f"The engine died: {how}.{during}")
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
        if not self._stages and self.driver.running is None:
            self._clock.pause()
        if self._stages:
            ends = [start for _, start in self._stages[1:]] + [time.monotonic()]
            stages = [Stage(name, end - start) for (name, start), end in zip(self._stages, ends, strict=True)]
            self.why.tell(stages=tuple(stages))
            self.why.redraw()
        self.activity()

    # -- what the driver tells ----------------------------------------------------------------------------------------
    def requests(self) -> list[tuple[str, Request]]:
        """Return what each visible panel wants to see."""
        wanted = [(name, panel.request()) for name, panel in self.panels.items() if name in self._places]
        return [(name, request) for name, request in wanted if request is not None]

    def happened(self, outcome: Outcome, again: bool) -> None:
        """Write an outcome to the log; the row is painted with the stop."""
        self.log_panel.add(entries_of(outcome))
        self.why.tell(notice="")
        self._prompt.last = line_of(outcome.command)
        if not again:
            self._noted(outcome)
        if isinstance(outcome.command, Load):
            self._stages, self._names = [], None

    def present(self, stop: Stop, outcome: Outcome | None, views: Sequence[tuple[str, Request, View]]) -> None:
        """Show a stop: everything is assigned before anything is painted."""
        self._stages = [] if stop.number else self._stages
        self.why.tell(outcome=outcome, stages=(), fault=None, whole=False)
        for name, request, view in views:
            panel = self.panels[name]
            panel.assign(view)
            panel.asked, panel.seen = request, view.stop
        self._status.stop = self._phases.stop = stop
        self._footer.said = ""
        self.frames += 1
        self._arrange()
        self._redraw()

    def told(self, notice: str) -> None:
        """Show a word of the driver's own, in Why and in the log."""
        self.why.tell(notice=notice)
        self.log_panel.add([Entry("notice", notice)])
        self._arrange()
        self._redraw()

    def activity(self) -> None:
        """Show what runs and how much is queued."""
        driver, now = self.driver, time.monotonic()
        running = line_of(driver.running) if driver.running is not None else ""
        age = now - driver.since
        if driver.running is not None:
            self._clock.resume()
        loading = bool(self._stages)
        activity = Activity(
            running if age >= _YOUNG and not loading else "",
            now - self._stages[0][1] if loading else age,
            driver.queued,
            loading,
            driver.dead,
            self._opened(),
            self._reading is not None and not self._reading.at_end,
        )
        for row in (self._status, self._phases):
            row.activity = activity
            row.redraw()

    def _opened(self) -> str:
        first = self._opening[0] if self._opening else None
        return first.target if isinstance(first, Load) else ""

    async def photograph(self, command: Screenshot) -> str:
        """Draw the screen to a file, once it shows the present stop."""
        await self.settled()
        Path(command.path).write_text(self.app.export_screenshot(title="gradstep"), encoding="utf-8")
        return f"wrote {command.path}"

    async def settled(self) -> None:
        """Wait until what is assigned is painted, and every visible panel has what it asks for."""
        while True:
            painted = asyncio.Event()
            self.call_after_refresh(painted.set)
            await painted.wait()
            self._catch_up()
            if not self._catching:
                return

    # -- painting -----------------------------------------------------------------------------------------------------
    @property
    def _wish(self) -> Wish:
        news = self.why.news
        problem = news.problem is not None
        said = news.outcome is not None and (isinstance(news.outcome.command, Say) or bool(news.outcome.text))
        tall = not news.stages and (problem or said or bool(news.notice))
        rows = why.rows(news, max(self.size.width, 20)) if tall else 3
        script, banner = self._reading is not None, bool(self.driver.dead)
        return Wish(tuple(self._recent), script, banner, self._maximised, max(rows, 3))

    def _place(self, width: int, height: int) -> dict[str, Place]:
        places = plan(width, height, self._wish)
        for name, panel in self.panels.items():
            if name in places:
                panel.shares, panel.titled = places[name].shares, places[name].titled
        self._places = dict(places)
        if self._line is not None and "prompt" in places:
            at = places["prompt"]
            places["prompt"] = at._replace(width=min(3, at.width))
            places["line"] = at._replace(x=3, width=max(0, at.width - 3))
        return places

    def _arrange(self) -> None:
        """Lay out again if that would change anything."""
        if self._places != plan(*self.size, self._wish):
            self._lay_out()
            self.call_after_refresh(self._catch_up)

    def _lay_out(self) -> None:
        # asked of a child, because only that makes the screen forget the places it knows
        self._status.refresh(layout=True)

    def _redraw(self) -> None:
        now = [name for name in ("restart", "traceback") if self.applies(name)] if not self.driver.running else []
        self._footer.keys = [*now, *keymap.FOOTER]
        for surface in self._surfaces:
            surface.redraw()
        self.activity()

    def on_resize(self) -> None:
        """Ask for windows that fit the new size."""
        self.call_after_refresh(self._catch_up)

    def _catch_up(self) -> None:
        """Ask for what visible panels lack, when no command is on its way whose look will bring it anyway."""
        if not self._catching and not self.driver.dead and self.driver.stop.number and self._lacking():
            self._catching = True
            self.run_worker(self._ask(), name="catch up")

    def _lacking(self) -> list[tuple[str, Request]]:
        shown = self._status.stop.number
        return [
            (name, request)
            for name, request in self.requests()
            if self.panels[name].asked != request or self.panels[name].seen != shown
        ]

    async def _ask(self) -> None:
        try:
            while wanted := self._lacking():
                shown = self._status.stop.number
                views = await self._session.look([request for _, request in wanted])
                if self._status.stop.number != shown or any(view.stop != shown for view in views):
                    return
                for (name, request), view in zip(wanted, views, strict=True):
                    panel = self.panels[name]
                    panel.assign(view)
                    panel.asked, panel.seen = request, view.stop
                    panel.redraw()
        except ConnectionError:
            return
        finally:
            self._catching = False

    # -- keys: phases and session -------------------------------------------------------------------------------------
    def _put(self, job: Job) -> None:
        self._flush_selection()
        self._pressed = False
        if not self.driver.put(job):
            dead = f"the engine is dead: {keymap.key('restart').shown} restarts it"
            self._say(dead if self.driver.dead else f"{QUEUE} commands wait already: esc clears them")

    def action_act(self, line: str) -> None:
        """Run a phase."""
        self._put(command_job(SIMPLE[line]))

    def action_natural(self) -> None:
        """Run the next line of the script, or do what is natural."""
        if self._reading is None:
            self._put(natural_job(_parse))
        elif self._reading.at_end:
            self._say("the script is at its end: f b s z go on by hand")
        else:
            self._put(self._reading.job())

    def action_pause(self) -> None:
        """Drop what is queued; once more, interrupt what runs."""
        if self._line is not None:
            self.close_line()
            return
        self._settle()
        again = self._pressed and self.driver.running is not None
        if again:
            self._session.interrupt()
            self._say("interrupting: the phase will be rolled back")
        elif self.driver.pause():
            self._say("paused: the queue is clear" + ("; esc again interrupts" if self.driver.running else ""))
        else:
            self._say("nothing runs; q quits")
        self._pressed = self.driver.running is not None

    def action_restart(self) -> None:
        """Start a dead or hanging engine again."""
        if not self.driver.dead and self.driver.running is None:
            self._say("the engine is alive: R restarts a dead one")
            return
        self._begin_stage("starting the engine again")
        self.run_worker(self._restart(), name="restart")

    async def _restart(self) -> None:
        again = bool(self.driver.history)
        await self.driver.restart()
        if not again:
            # it died before anything was done: begin as at the start
            self._begin()
        self._arrange()
        self._redraw()

    def action_leave(self) -> None:
        """Quit."""
        self.app.exit(return_code=0)

    # -- keys: panels -------------------------------------------------------------------------------------------------
    @property
    def _order(self) -> list[str]:
        return [name for name in PANELS if name != "script" or self._reading is not None]

    def action_panel(self, by: int) -> None:
        """Focus the next panel."""
        self._focus(self._order[(self._order.index(self._recent[0]) + by) % len(self._order)])

    def action_focus_panel(self, name: str) -> None:
        """Focus a panel."""
        if name in self._order:
            self._focus(name)
        else:
            self._say("no script is open: gradstep FILE.steps opens one")

    def _focus(self, name: str) -> None:
        for other, panel in self.panels.items():
            panel.focused = other == name
        self._recent = [name, *(other for other in self._recent if other != name)]
        self._arrange()
        self._redraw()

    @property
    def focus_panel(self) -> Panel:
        """The panel in focus."""
        return self.panels[self._recent[0]]

    def action_maximise(self) -> None:
        """Give the panel in focus everything below the phases, or take it back."""
        self._maximised = not self._maximised
        self._arrange()

    def action_move(self, rows: int) -> None:
        """Move or scroll in the panel in focus."""
        self.focus_panel.move(rows)
        self._moved()

    def action_page(self, pages: int) -> None:
        """Move by pages."""
        self.action_move(pages * max(1, self.focus_panel.body - 1))

    def action_end(self, direction: int) -> None:
        """Move to an end."""
        self.action_move(direction * (1 << 40))

    def action_sideways(self, columns: int) -> None:
        """Scroll to the side."""
        self.focus_panel.sideways(columns)
        self._moved()

    def _moved(self) -> None:
        panel = self.focus_panel
        panel.redraw()
        if panel is self.model:
            self._moving = True
            self._resting.reset()
            self._resting.resume()
        self._catch_up()

    def action_choose(self) -> None:
        """Show the parameter under the cursor."""
        panel = self.focus_panel
        path = panel.chosen if isinstance(panel, GraphPanel) else self.model.chosen if panel is self.model else ""
        self._settle()
        if path:
            self._put(command_job(_show(path)))

    def _select(self) -> None:
        """The cursor of Model rests: show what is under it."""
        self._settle()
        if self.model.chosen:
            self.driver.put(command_job(_show(self.model.chosen)))

    def _settle(self) -> None:
        self._moving = False
        self._resting.pause()

    def _flush_selection(self) -> None:
        if self._moving:
            self._select()

    def action_traceback(self) -> None:
        """Show every frame of a traceback, or the user's own only."""
        self.why.tell(whole=not self.why.news.whole)
        self._focus("why")

    def on_panel_focused(self, message: Panel.Focused) -> None:
        """Take a click: focus the panel, and its row."""
        message.panel.click_row(message.row)
        self._focus(message.panel.id or "tensor")
        self._moved()

    def on_panel_scrolled(self) -> None:
        """Ask for what came into sight."""
        self._catch_up()

    # -- keys: commands -----------------------------------------------------------------------------------------------
    def action_command(self) -> None:
        """Begin to type a command."""
        self.type_command("")

    def type_command(self, text: str) -> None:
        """Begin to type a command that starts with `text`."""
        from gradstep.tui.prompt import CommandLine

        if self._line is None:
            self._line = CommandLine(self._typed, self._complete)
            self.mount(self._line)
            self._line.focus(scroll_visible=False)
        self._line.value = text
        self._line.cursor_position = len(text)
        self._lay_out()
        self.run_worker(self._ask_names(), name="names")

    def close_line(self) -> None:
        """Let go of the line that is being typed."""
        if self._line is not None:
            line, self._line = self._line, None
            line.remove()
            self._footer.candidates = ()
            self._say("")
            self._lay_out()

    def on_command_line_left(self) -> None:
        """Let go."""
        self.close_line()

    def on_command_line_offered(self, message: CommandLine.Offered) -> None:
        """Show how the line could go on."""
        self._footer.candidates = message.candidates
        self._say("")

    def on_input_changed(self) -> None:
        """Take back what was said of the line before."""
        self._say("")

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Carry a typed line out."""
        text = message.value.strip()
        if not text:
            self.close_line()
            return
        try:
            self._give(text)
        except GradstepError as error:
            problem = _problem_of_line(error)
            self._say(f"{problem.title}. {problem.remedy}".strip())
            self.why.tell(fault=problem, stages=())
            self._arrange()
            self.why.redraw()
            return
        self._typed.append(text)
        self.close_line()

    def _give(self, text: str) -> None:
        """Make a job of a line.

        Raises:
            GradstepError: the line is wrong.
        """
        from gradstep.steps.parse import parse_line
        from gradstep.steps.script import Line
        from gradstep.tui.console import console
        from gradstep.tui.reading import program_of

        if console(text, self):
            return
        statements = parse_line(text)
        first = statements[0] if len(statements) == 1 else None
        if isinstance(first, Line) and isinstance(first.command, Load):
            self._put(load_job(first.command, _parse))
        elif statements:
            self._put(Job(lambda _: program_of(statements)))

    def _say(self, text: str) -> None:
        """Say something on the footer, in place of the keys, until the next stop."""
        self._footer.said = text
        self._footer.redraw()

    def _complete(self, line: str) -> Sequence[str]:
        from gradstep.steps.complete import complete

        return complete(line, self._names)

    async def _ask_names(self) -> None:
        """Learn what there is to complete, when nothing stands in the way of asking."""
        if self.driver.dead or self.driver.running is not None or not self.driver.stop.number:
            return
        with suppress(ConnectionError):
            view = (await self._session.look([LookNames()]))[0]
            self._names = view if isinstance(view, Names) else None

    def save(self, path: str) -> None:
        """Write the session so far as a script.

        Raises:
            GradstepError: the file cannot be written.
        """
        from gradstep.steps.record import save

        try:
            save(path, self.driver.history)
        except OSError as error:
            raise wrong("the script was not written", f"{path}: {error.strerror}.", "Give another path.") from None
        self.told(f"Wrote {path}: {len(self.driver.history)} commands. Replay it with: gradstep replay {path}")

    def action_help(self) -> None:
        """Show every key and every command."""
        from gradstep.tui.helps import HelpScreen

        self.app.push_screen(HelpScreen())

    def applies(self, key: str) -> bool:
        """Tell whether a key would do something now; the palette lists only those."""
        if key == "restart":
            return bool(self.driver.dead) or self.driver.running is not None
        if key == "traceback":
            return self.why.news.problem is not None
        return key != "script" or self._reading is not None

    def _turned(self, page: Page) -> None:
        """Show the script at its new line."""
        self.script_panel.turn(page)
        self.script_panel.redraw()


def _show(path: str) -> Show:
    """Return the command that selects a parameter or buffer."""
    return Show(Name(path) if name_line(path) == path else Name("", quoted=path))


def _parse(line: str) -> list[Command]:
    """Parse a line of the session's own, such as what is natural; it holds plain commands only."""
    from gradstep.steps.parse import parse_line
    from gradstep.steps.script import Line

    return [statement.command for statement in parse_line(line) if isinstance(statement, Line)]


def _problem_of_line(error: GradstepError) -> Problem:
    """Return what is wrong with a typed line: the first fault, with a caret under its place."""
    from gradstep.steps.faults import ScriptError, caret_lines

    if not isinstance(error, ScriptError):
        return error.problem
    fault = error.faults[0]
    what = "\n".join(filter(None, [*caret_lines(fault.source, fault.column, fault.width), fault.what]))
    return Problem("wrong", fault.title, what, fault.remedy)


def _warm_up() -> None:
    """Import the parser while the engine starts, so that the first typed line need not wait for it."""
    with suppress(GradstepError):
        _parse("forward")
