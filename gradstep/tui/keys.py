"""The keys of the panels: focus, cursor, selection."""

from __future__ import annotations

import math
from contextlib import suppress

from msgspec.structs import replace
from textual.timer import Timer

from gradstep.tui.copying import MOST, Copied, element_copied, slice_copied
from gradstep.tui.jobs import command_job
from gradstep.tui.layout import hidden_guests
from gradstep.tui.node_keys import NodeKeys
from gradstep.tui.panels.batch import BatchPanel
from gradstep.tui.panels.graph import GraphPanel
from gradstep.tui.panels.optimizer import OptimizerPanel
from gradstep.tui.panels.panel import Panel
from gradstep.values import numbers
from gradstep.values.commands import Show
from gradstep.values.expressions import Name, name_line
from gradstep.values.tensors import LookTensor, TensorView

_REST = 0.15
"""Seconds that the cursor of Model rests before the parameter under it is shown."""


class KeyedBoard(NodeKeys, inherit_bindings=False):
    """A board with an action for every key but those of the command line."""

    _resting: Timer
    """Runs while the cursor of Model has moved and nothing is shown of it yet."""
    _moving = False

    def start_clocks(self) -> None:
        """Prepare the timers."""
        super().start_clocks()
        self._resting = self.set_interval(_REST, self._select, pause=True)

    # -- keys: panels -------------------------------------------------------------------------------------------------
    def action_panel(self, by: int) -> None:
        """Focus the next panel."""
        names = [name for name in self._order if name not in hidden_guests(bool(self._inside), self._recent)]
        self._focus(names[(names.index(self._recent[0]) + by) % len(names)])

    def action_focus_panel(self, name: str) -> None:
        """Focus a panel."""
        if name in self._order:
            self._focus(name)
        else:
            self._say("no script is open: gradstep FILE.steps opens one")

    def action_move(self, rows: int) -> None:
        """Move or scroll in the panel in focus."""
        self.focus_panel.move(rows * self._times)
        self._moved()

    def action_page(self, pages: int) -> None:
        """Move by pages."""
        self.action_move(pages * max(1, self.focus_panel.body - 1))

    def action_end(self, direction: int) -> None:
        """Move to an end."""
        self.action_move(direction * (1 << 40))

    def action_sideways(self, columns: int) -> None:
        """Scroll to the side."""
        self.focus_panel.sideways(columns * self._times)
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
            self._put(command_job(show_of(path)))
        elif isinstance(panel, OptimizerPanel | BatchPanel) and panel.chosen:
            self._show_tensor(panel.chosen)
        else:
            self.choose_inside()

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
            self.driver.put(command_job(show_of(self.model.chosen)))

    def _settle(self) -> None:
        self._moving = False
        self._resting.pause()

    def _flush_selection(self) -> None:
        if self._moving:
            self._select()

    def action_copy(self, whole: bool) -> None:
        """Ask the terminal's clipboard to take what is under the cursor, or all that the panel is about."""
        panel = self.focus_panel
        if whole and panel is self.tensor:
            self.run_worker(self._copy_slice(), name="copy")
        else:
            self._copy((None if whole else self._under_cursor(panel)) or panel.seen_copied())

    def _under_cursor(self, panel: Panel) -> Copied | None:
        view, element = self.tensor.view, self.tensor.spot
        if panel is not self.tensor:
            return panel.copied()
        return element_copied(view, element) if view is not None and element is not None else None

    async def _copy_slice(self) -> None:
        shape = self.tensor.view.shape if self.tensor.view is not None else ()
        request = self.tensor.request()
        if math.prod(shape) > MOST or not isinstance(request, LookTensor):
            narrower = f"{self.keyboard.key('command').shown}show takes a part of it"
            self._say(f"{math.prod(shape):,} numbers are more than the {MOST:,} that a clipboard takes: {narrower}")
            return
        with suppress(ConnectionError):
            wanted = replace(request, rows=math.prod(shape), columns=MOST, top=0, left=0)
            view = (await self._session.look([wanted]))[0]
            copied = slice_copied(view) if isinstance(view, TensorView) else None
            self._copy(copied or self.tensor.seen_copied())

    def _copy(self, copied: Copied) -> None:
        self.app.copy_to_clipboard(copied.text)
        first, *more = copied.text.splitlines() or [""]
        self._say(f"copied {copied.what}: {first}" + (f" and {numbers.count(len(more), 'more line')}" if more else ""))

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


def show_of(path: str) -> Show:
    """Return the command that selects a parameter or buffer."""
    return Show(Name(path) if name_line(path) == path else Name("", quoted=path))
