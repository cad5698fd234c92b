"""The keys: what each of them does to the session and to the panels."""

from __future__ import annotations

from textual.timer import Timer

from gradstep.tui.board import Board
from gradstep.tui.driver import QUEUE
from gradstep.tui.jobs import SIMPLE, Job, command_job, load_job, natural_job
from gradstep.tui.keyboard import Keyboard
from gradstep.tui.panels.graph import GraphPanel
from gradstep.tui.panels.optimizer import OptimizerPanel
from gradstep.tui.panels.panel import Panel
from gradstep.values.commands import Command, Load, Show
from gradstep.values.expressions import Name, name_line

_REST = 0.15
"""Seconds that the cursor of Model rests before the parameter under it is shown."""


class KeyedBoard(Board, inherit_bindings=False):
    """A board with an action for every key but those of the command line."""

    _resting: Timer
    """Runs while the cursor of Model has moved and nothing is shown of it yet."""
    _moving = False
    _pressed = False
    """True when the last key was a pause while something ran: once more interrupts."""

    def start_clocks(self) -> None:
        """Prepare the timers."""
        super().start_clocks()
        self._resting = self.set_interval(_REST, self._select, pause=True)

    def bind(self, keyboard: Keyboard) -> None:
        """Have everything that names a key name it as it is bound."""
        self.keyboard = keyboard
        for surface in self._surfaces:
            surface.keyboard = keyboard

    # -- keys: phases and session -------------------------------------------------------------------------------------
    def _put(self, job: Job) -> None:
        self._flush_selection()
        self._pressed = False
        if not self.driver.put(job):
            dead = f"the engine is dead: {self.keyboard.key('restart').shown} restarts it"
            self._say(dead if self.driver.dead else f"{QUEUE} commands wait already: esc clears them")

    def action_act(self, line: str) -> None:
        """Run a phase."""
        self._put(command_job(SIMPLE[line]))

    def action_natural(self) -> None:
        """Run the next line of the script, or do what is natural."""
        if self._reading is None:
            self._put(natural_job(parse_commands))
        elif self._reading.at_end:
            self._say("the script is at its end: f b s z go on by hand")
        else:
            self._put(self._reading.job())

    def action_go_on(self) -> None:
        """Go on with what a pause kept; else run the rest of the script."""
        self._flush_selection()
        if self.driver.go_on():
            return
        if self._reading is None or self._reading.at_end:
            self._say("nothing was paused: there is nothing to go on with")
        else:
            self._put(self._reading.rest())

    def action_pause(self) -> None:
        """Drop what is queued; once more, interrupt what runs."""
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
        if not self.applies("restart"):
            self._say(f"the engine is alive: {self.keyboard.key('restart').shown} restarts a dead one")
            return
        self._begin_stage("starting the engine again")
        self.run_worker(self._restart(), name="restart")

    def _begin(self) -> None:
        for command in self._opening:
            self.driver.put(load_job(command, parse_commands) if isinstance(command, Load) else command_job(command))

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
    def action_panel(self, by: int) -> None:
        """Focus the next panel."""
        self._focus(self._order[(self._order.index(self._recent[0]) + by) % len(self._order)])

    def action_focus_panel(self, name: str) -> None:
        """Focus a panel."""
        if name in self._order:
            self._focus(name)
        else:
            self._say("no script is open: gradstep FILE.steps opens one")

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
        graph = self.panel(GraphPanel)
        if panel is self.model:
            graph.seek(self.model.pointed)
        if panel is self.model or (panel is graph and self.model.point(graph.pointed)):
            self._moving = True
            self._resting.reset()
            self._resting.resume()
        self._catch_up()

    def action_choose(self) -> None:
        """Show the parameter under the cursor."""
        panel = self.focus_panel
        path = panel.chosen if isinstance(panel, GraphPanel) else self.model.chosen if panel is self.model else ""
        self._settle()
        if isinstance(panel, GraphPanel) and panel.unfold():
            self._catch_up()
        elif path:
            self._put(command_job(_show(path)))
        elif isinstance(panel, OptimizerPanel) and panel.chosen:
            self._put(command_job(parse_commands(f"show {panel.chosen}")[0]))

    def action_fold(self, fold: bool) -> None:
        """Fold the module that the graph's cursor is in, or open the folded one under it."""
        graph = self.panel(GraphPanel)
        if not (graph.fold() if fold else graph.unfold()):
            self._say("Graph: no open module here to fold" if fold else "Graph: no folded module here to open")
        self._catch_up()

    def action_fold_all(self, fold: bool) -> None:
        """Fold every module of the graph, or open all of them."""
        self.panel(GraphPanel).fold_all(fold)
        self._catch_up()

    def action_measure(self) -> None:
        """Measure the memory that the graph keeps, or no more."""
        self._say(f"Graph: {self.panel(GraphPanel).turn_measure()}")
        self._catch_up()

    def action_loss(self, what: str) -> None:
        """Draw the loss in another way."""
        turn = {"scale": self.loss.turn_scale, "smooth": self.loss.turn_smoothing, "axis": self.loss.turn_axis}
        if "loss" not in self._places:
            self._focus("loss")
        self._say(f"Loss: {turn[what]()}")
        self.loss.redraw()
        self._catch_up()

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


def _show(path: str) -> Show:
    """Return the command that selects a parameter or buffer."""
    return Show(Name(path) if name_line(path) == path else Name("", quoted=path))


def parse_commands(line: str) -> list[Command]:
    """Parse a line of the session's own, such as what is natural; it holds plain commands only."""
    from gradstep.steps.parse import parse_line
    from gradstep.steps.script import Line

    return [statement.command for statement in parse_line(line) if isinstance(statement, Line)]
