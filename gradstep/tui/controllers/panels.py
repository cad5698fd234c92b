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
from gradstep.tui.controllers.stepping import Stepping
from gradstep.tui.controllers.time_travel import TimeTravel
from gradstep.tui.controllers.training import parse_commands
from gradstep.tui.controllers.what_if import WhatIf
from gradstep.tui.desk import Controller, Desk
from gradstep.tui.layout.layouts import PANELS, hidden_guests
from gradstep.tui.panels.graph.panel import GraphPanel
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.copying import MOST, Copied, slice_copied
from gradstep.values import numbers
from gradstep.values.commands import Break, Command
from gradstep.values.outcomes import Stop
from gradstep.values.views.tensor import Between, LookTensor, TensorView

_FAR = 1 << 40
"""More rows and columns than there are."""
_REST = 0.15
"""Seconds that the cursor of Model rests before the parameter under it is shown."""


class Panels(Controller):
    """Focus, cursor, selection and the clipboard; does what a panel wants done when a key is pressed in it."""

    def __init__(
        self, screen: Desk, stepping: Stepping, travel: TimeTravel, what_if: WhatIf, typing: CommandLines
    ) -> None:
        """Hold the screen, and who does what a panel asks for."""
        super().__init__(screen)
        self._stepping, self._travel, self._what_if, self._typing = stepping, travel, what_if, typing
        self._moving = False
        """True while the cursor of Model has moved and nothing is shown of it yet."""
        self._early: list[tuple[Panel[Any], Callable[[], object]]] = []
        """What keys do in a panel whose view has not come yet."""

    def start(self) -> None:
        """Prepare the timer that runs meanwhile."""
        self._resting = self.screen.set_interval(_REST, self._select, pause=True)

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return what each key does."""
        own = {
            key: partial(self._see, panel, do)
            for panel in self.screen.panels.values()
            for key, do in panel.keys().items()
        }
        return own | {
            **{name: partial(self.focus, name) for name in PANELS if name != "compare"},  # whose key compares
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
            return key.partition("_")[0] in self.screen.places
        if key == "traceback":
            problem = self.screen.why.news.problem
            return problem is not None and bool(problem.frames)
        return None

    # -- focus and cursor ---------------------------------------------------------------------------------------------
    def next(self, by: int) -> None:
        """Focus the next panel."""
        hidden = hidden_guests(bool(self.screen.inside), self.screen.recent)
        names = [name for name in self.screen.order if name not in hidden]
        self.screen.go_to(names[(names.index(self.screen.recent[0]) + by) % len(names)])

    def focus(self, name: str) -> None:
        """Focus a panel."""
        if name in self.screen.order:
            self.screen.go_to(name)
        else:
            self.screen.say("no script is open: gradstep FILE.steps opens one")

    def clicked(self, panel: Panel[Any], row: int) -> None:
        """Focus a panel that was clicked, and its row."""
        panel.click_row(row)
        self.screen.go_to(panel.id or "tensor")
        self.screen.follow_cursor()

    def move(self, rows: int) -> None:
        """Move or scroll in the panel in focus."""
        self._steer(partial(self.screen.focus_panel.move, rows * self.screen.times))

    def page(self, pages: int) -> None:
        """Move by pages."""
        self.move(pages * max(1, self.screen.focus_panel.body - 1))

    def sideways(self, columns: int) -> None:
        """Scroll to the side."""
        self._steer(partial(self.screen.focus_panel.sideways, columns * self.screen.times))

    def _steer(self, do: Callable[[], object]) -> None:
        """Do what a key means in the panel in focus, as soon as its view is there."""
        panel = self.screen.focus_panel
        if self._waits(panel):
            self._early.append((panel, do))
        else:
            do()
            self.screen.follow_cursor()

    def _waits(self, panel: Panel[Any]) -> bool:
        """Return whether the view of a panel is still to come, which is so of all of them while a model is loaded."""
        loading = self.queue.busy and not self.queue.stop.number and panel.request() is not None
        return loading or bool(panel.placeholder())

    def do_early(self) -> None:
        """Do what keys meant in a panel whose view had not come, now that it is painted; commands before them first."""
        if self.queue.busy and self.queue.playing is None:
            return
        ready = [each for each in self._early if not self._waits(each[0])]
        self._early = [each for each in self._early if each not in ready]
        for panel, do in ready:
            do()
            if panel is self.screen.focus_panel:
                self.screen.follow_cursor()

    def moved(self) -> None:
        """Have Graph and Model go to the same place, and show what the cursor comes to rest on."""
        panel, graph = self.screen.focus_panel, self.screen.panel(GraphPanel)
        if panel is self.screen.model:
            graph.seek(self.screen.model.pointed)
        if panel is self.screen.model or (panel is graph and self.screen.model.point(graph.pointed)):
            self._moving = True
            self._resting.reset()
            self._resting.resume()

    # -- what a panel has done ----------------------------------------------------------------------------------------
    def press(self, key: str) -> bool:
        """Have the panel in focus do what a key means in it; False where it means what it means everywhere."""
        panel = self.screen.focus_panel
        if key == "choose":
            self.settle()
            if self._waits(panel):
                self._early.append((panel, partial(panel.press, key, self)))
                return True
        return panel.press(key, self)

    @property
    def stop(self) -> Stop:
        """Where the session stands."""
        return self.queue.stop

    def run(self, command: Command) -> None:
        """Queue a command."""
        self.screen.put(command_job(command))

    def select(self, path: str) -> None:
        """Select a parameter or buffer."""
        self.run(show_of(path))

    def show(self, expression: str) -> None:
        """Select a tensor by an expression, and bring Tensor into sight."""
        self.run(parse_commands(f"show {expression}")[0])
        self.screen.bring("tensor")

    def toggle_break(self, wanted: Break) -> None:
        """Set a breakpoint, or delete the one that is there."""
        self._stepping.toggle(wanted)

    def go_to_node(self, number: int) -> None:
        """Go to a node in Graph."""
        self.screen.panel(GraphPanel).seek(f"#{number}")
        self.screen.go_to("graph")

    def type(self, line: str) -> None:
        """Begin to type a command."""
        self._typing.begin(line)

    def edit(self, line: str) -> None:
        """Begin to type a change; in the past, one to do the same again with."""
        self._what_if.edit(line)

    def edit_element(self, grad: bool = False) -> None:
        """Begin to type a change of the element that is selected, or of its `.grad`."""
        self._what_if.edit_element(grad)

    def compare(self, first: str, second: str) -> None:
        """Show in what two points differ, and come back from the past."""
        self._travel.to_present()
        self._travel.compare(first, second)

    def show_difference(self, between: Between, at: tuple[int, ...]) -> None:
        """Show a tensor at two points, with the cursor on an element."""
        self._travel.show_difference(between, at)

    def leave_difference(self) -> bool:
        """Come back from that; False while something runs that is to be paused first."""
        return self._travel.back_to_compare()

    def copy_slice(self) -> None:
        """Copy all of the selected slice."""
        self.screen.run_worker(self._copy_slice(), name="copy")

    def say(self, text: str) -> None:
        """Say something on the footer."""
        self.screen.say(text)

    def _see(self, panel: Panel[Any], do: Callable[[], str]) -> None:
        """Do what a key of a panel's own does, wherever the focus is."""
        if said := do():
            self.screen.say(f"{panel.title}: {said}")
        self.screen.bring(panel.id or "")
        panel.redraw()

    # -- selection ----------------------------------------------------------------------------------------------------
    def queueing(self) -> None:
        """Show what the cursor rests on, before anything else is done."""
        if self._moving:
            self._select()

    def pausing(self) -> None:
        """Let go of it."""
        self.settle()

    def _select(self) -> None:
        """The cursor of Model rests: show what is under it."""
        self.settle()
        if self.screen.model.chosen:
            self.queue.put(command_job(show_of(self.screen.model.chosen)))

    def settle(self) -> None:
        """Forget that the cursor has moved."""
        self._moving = False
        self._resting.pause()

    # -- the clipboard ------------------------------------------------------------------------------------------------
    async def _copy_slice(self) -> None:
        shape = self.screen.tensor.view.shape if self.screen.tensor.view is not None else ()
        request = self.screen.tensor.request()
        if math.prod(shape) > MOST or not isinstance(request, LookTensor):
            narrower = f"{self.keyboard.key('command').shown}show takes a part of it"
            self.screen.say(
                f"{math.prod(shape):,} numbers are more than the {MOST:,} that a clipboard takes: {narrower}"
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
        """Show every frame of a traceback, or the user's own only."""
        self.screen.why.tell(whole=not self.screen.why.news.whole)
        self.screen.go_to("why")
