"""The keys of the panels: focus, cursor, selection."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from msgspec.structs import replace

from gradstep.tui.commands.jobs import command_job, show_of
from gradstep.tui.controllers.command_line import CommandLines
from gradstep.tui.controllers.output import ScriptOutput
from gradstep.tui.controllers.stepping import SteppingController
from gradstep.tui.controllers.time_travel import TimeTravelController
from gradstep.tui.controllers.training import parse_commands
from gradstep.tui.controllers.what_if import WhatIf
from gradstep.tui.desk import Controller, Desk
from gradstep.tui.layout.layouts import PANELS, hidden_guests
from gradstep.tui.panels.graph.panel import GraphPanel
from gradstep.tui.panels.panel import Panel
from gradstep.tui.panels.source import SourcePanel
from gradstep.tui.render.copying import MOST, Copied, slice_copied
from gradstep.values import numbers
from gradstep.values.commands import Break, Command
from gradstep.values.outcomes import Stop
from gradstep.values.views.tensor import Between, LookTensor, TensorView

_FAR = 1 << 40
"""More rows or columns than any panel has."""
_REST = 0.15
"""Seconds that Model's cursor rests on a parameter before it is selected."""


class Panels(Controller):
    """Focus, cursor, selection and clipboard, and the actions that panels request."""

    def __init__(
        self,
        screen: Desk,
        stepping: SteppingController,
        travel: TimeTravelController,
        what_if: WhatIf,
        typing: CommandLines,
        output: ScriptOutput,
    ) -> None:
        """Attach to the screen and the controllers that panels' actions need."""
        super().__init__(screen)
        self._stepping, self._travel, self._what_if, self._typing = stepping, travel, what_if, typing
        self._output = output
        self._moving = False
        """True while Model's cursor has moved and the selection has not followed."""
        self._early: list[tuple[Panel[Any], Callable[[], object]]] = []
        """Actions of keys pressed in a panel whose view is pending."""

    def start(self) -> None:
        """Prepare the timer for the resting cursor."""
        self._resting = self.screen.set_interval(_REST, self._select, pause=True)

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return the handler of each key."""
        own = {
            key: partial(self._see, panel, do)
            for panel in self.screen.panels.values()
            for key, do in panel.keys().items()
        }
        return own | {
            **{name: partial(self.focus, name) for name in PANELS if name not in ("compare", "output")},
            "panel": partial(self.next, 1),
            "panel_back": partial(self.next, -1),
            "up": partial(self.move, -1),
            "down": partial(self.move, 1),
            "left": partial(self.sideways, -1),
            "right": partial(self.sideways, 1),
            "first_column": partial(self.sideways, -_FAR),
            "last_column": partial(self.sideways, _FAR),
            "page_up": partial(self.page, -1),
            "page_down": partial(self.page, 1),
            "home": partial(self.move, -_FAR),
            "end": partial(self.move, _FAR),
            "choose": lambda: None,
            "copy": lambda: self._copy(self.screen.focus_panel.copied() or self.screen.focus_panel.visible_text()),
            "copy_all": lambda: self._copy(self.screen.focus_panel.visible_text()),
            "traceback": self.traceback,
        }

    def applies(self, key: str) -> bool | None:
        """Return whether a key would do something now."""
        if key.startswith(("loss_", "tensor_")):
            return key.partition("_")[0] in self.screen.placements
        if key == "traceback":
            problem = self.screen.why.news.problem
            return problem is not None and bool(problem.frames)
        return None

    # -- focus and cursor ---------------------------------------------------------------------------------------------
    def next(self, by: int) -> None:
        """Focus the next panel."""
        hidden = hidden_guests(bool(self.screen.inside), self.screen.recent, self.screen.training_script)
        names = [name for name in self.screen.order if name not in hidden]
        self.screen.go_to(names[(names.index(self.screen.recent[0]) + by) % len(names)])

    def focus(self, name: str) -> None:
        """Focus a panel."""
        if name in self.screen.order:
            self.screen.go_to(name)
        else:
            missing = {"stack": "only a training script has a stack: gradstep train.py steps one"}
            self.screen.say(missing.get(name, "no script is open: gradstep FILE.steps opens one"))

    def clicked(self, panel: Panel[Any], row: int) -> None:
        """Focus the clicked panel and row."""
        panel.click_row(row)
        self.screen.go_to(panel.id or "tensor")
        self.screen.follow_cursor()

    def move(self, rows: int) -> None:
        """Move or scroll in the focused panel."""
        self._steer(partial(self.screen.focus_panel.move, rows * self.screen.times))

    def page(self, pages: int) -> None:
        """Move by pages."""
        self.move(pages * max(1, self.screen.focus_panel.body - 1))

    def sideways(self, columns: int) -> None:
        """Move or scroll sideways."""
        self._steer(partial(self.screen.focus_panel.sideways, columns * self.screen.times))

    def _steer(self, do: Callable[[], object]) -> None:
        """Run a key's action in the focused panel, once it has its view."""
        panel = self.screen.focus_panel
        if self._waits(panel):
            self._early.append((panel, do))
        else:
            do()
            self.screen.follow_cursor()

    def _waits(self, panel: Panel[Any]) -> bool:
        """Return whether a panel's view is pending; while a model loads, all are."""
        loading = self.queue.busy and not self.queue.stop.number and panel.request() is not None
        return loading or bool(panel.placeholder())

    def do_early(self) -> None:
        """Run the postponed actions of panels that have their view now; queued commands go first."""
        if self.queue.busy and self.queue.playing is None:
            return
        ready = [each for each in self._early if not self._waits(each[0])]
        self._early = [each for each in self._early if each not in ready]
        for panel, do in ready:
            do()
            if panel is self.screen.focus_panel:
                self.screen.follow_cursor()

    def moved(self) -> None:
        """Keep the cursors of Graph and Model together, and select what they rest on."""
        panel, graph = self.screen.focus_panel, self.screen.panel(GraphPanel)
        if panel is self.screen.model:
            graph.seek(self.screen.model.pointed)
        if panel is self.screen.model or (panel is graph and self.screen.model.point(graph.pointed)):
            self._moving = True
            self._resting.reset()
            self._resting.resume()

    # -- actions of panels --------------------------------------------------------------------------------------------
    def press(self, key: str) -> bool:
        """Let the focused panel handle a key; return False when the global handler should run."""
        panel = self.screen.focus_panel
        if key == "choose":
            self.settle()
            if self._waits(panel):
                self._early.append((panel, partial(panel.press, key, self)))
                return True
        return panel.press(key, self)

    @property
    def stop(self) -> Stop:
        """The current stop."""
        return self.queue.stop

    def run(self, command: Command) -> None:
        """Queue a command."""
        self.screen.put(command_job(command))

    def select(self, path: str) -> None:
        """Select a parameter or buffer."""
        self.run(show_of(path))

    def show(self, expression: str) -> None:
        """Select a tensor by an expression, and make Tensor visible."""
        self.run(parse_commands(f"show {expression}")[0])
        self.screen.bring("tensor")

    def toggle_break(self, wanted: Break) -> None:
        """Set a breakpoint, or delete the existing one."""
        self._stepping.toggle(wanted)

    def go_to_node(self, number: int) -> None:
        """Go to a node in Graph."""
        self.screen.panel(GraphPanel).seek(f"#{number}")
        self.screen.go_to("graph")

    def go_to_line(self, file: str, line: int) -> None:
        """Go to a line in Source."""
        shown = self.screen.panel(SourcePanel).seek(file, line)
        self.screen.go_to("source")
        if not shown:
            self.say(f"{file}:{line}")

    def type(self, line: str) -> None:
        """Open the command line."""
        self._typing.begin(line)

    def type_into_script(self) -> None:
        """Have keys go to the script."""
        self._output.type()

    def edit(self, line: str) -> None:
        """Open the command line with an edit; with a `try` of it when the past is shown."""
        self._what_if.edit(line)

    def edit_element(self, grad: bool = False) -> None:
        """Open the command line with an edit of the selected element, or of its `.grad`."""
        self._what_if.edit_element(grad)

    def compare(self, first: str, second: str) -> None:
        """Compare two points, and return to the present."""
        self._travel.to_present()
        self._travel.compare(first, second)

    def show_difference(self, between: Between, at: tuple[int, ...]) -> None:
        """Show the difference of a tensor between two points, with the cursor on an element."""
        self._travel.show_difference(between, at)

    def leave_difference(self) -> bool:
        """Return from a difference to Compare; return False while a command runs, for it is paused first."""
        return self._travel.back_to_compare()

    def copy_slice(self) -> None:
        """Copy all of the selected slice."""
        self.screen.run_worker(self._copy_slice(), name="copy")

    def say(self, text: str) -> None:
        """Show a message in the footer."""
        self.screen.say(text)

    def _see(self, panel: Panel[Any], do: Callable[[], str]) -> None:
        """Run a panel's own key, wherever the focus is."""
        if said := do():
            self.screen.say(f"{panel.title}: {said}")
        self.screen.bring(panel.id or "")
        panel.redraw()

    # -- selection ----------------------------------------------------------------------------------------------------
    def queueing(self) -> None:
        """Select what the cursor is on, before the job is queued."""
        if self._moving:
            self._select()

    def pausing(self) -> None:
        """Drop a pending selection."""
        self.settle()

    def _select(self) -> None:
        """Select what Model's cursor is on, once it is there."""
        if self.screen.model.sought:
            return
        self.settle()
        if self.screen.model.chosen:
            self.queue.put(command_job(show_of(self.screen.model.chosen)))

    def settle(self) -> None:
        """Drop a pending selection."""
        self._moving = False
        self._resting.pause()

    # -- the clipboard ------------------------------------------------------------------------------------------------
    async def _copy_slice(self) -> None:
        shape = self.screen.tensor.view.shape if self.screen.tensor.view is not None else ()
        request = self.screen.tensor.request()
        if math.prod(shape) > MOST or not isinstance(request, LookTensor):
            narrower = f"{self.keyboard.key('command').shown}show selects a part of it"
            self.screen.say(
                f"{math.prod(shape):,} numbers are more than the {MOST:,} that are copied at once: {narrower}"
            )
            return
        with suppress(ConnectionError):
            wanted = replace(request, rows=math.prod(shape), columns=MOST, top=0, left=0)
            view = (await self.screen.session.look([wanted]))[0]
            copied = slice_copied(view) if isinstance(view, TensorView) else None
            self._copy(copied or self.screen.tensor.visible_text())

    def _copy(self, copied: Copied) -> None:
        self.screen.app.copy_to_clipboard(copied.text)
        first, *more = copied.text.splitlines() or [""]
        self.screen.say(
            f"copied {copied.what}: {first}" + (f" and {numbers.count(len(more), 'more line')}" if more else "")
        )

    def traceback(self) -> None:
        """Show every frame of a traceback, or the user's frames only."""
        self.screen.why.tell(whole=not self.screen.why.news.whole)
        self.screen.go_to("why")
