"""The screen of gradstep: it composes controllers, and routes keys and mouse events to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import BindingType

from gradstep.tui.commands.queue import CommandQueue
from gradstep.tui.controllers.command_line import CommandLines
from gradstep.tui.controllers.counting import Counting
from gradstep.tui.controllers.find import Find
from gradstep.tui.controllers.layouts import Layouts
from gradstep.tui.controllers.node import Node
from gradstep.tui.controllers.opening import Opening
from gradstep.tui.controllers.output import ScriptOutput
from gradstep.tui.controllers.panels import Panels
from gradstep.tui.controllers.stepping import SteppingController
from gradstep.tui.controllers.tensor import Tensor
from gradstep.tui.controllers.time_travel import TimeTravelController
from gradstep.tui.controllers.training import Training
from gradstep.tui.controllers.what_if import WhatIf
from gradstep.tui.desk import Desk
from gradstep.tui.keys import keymap
from gradstep.tui.layout.preferences import Appearance
from gradstep.tui.looking import Looking
from gradstep.tui.panels.bars.prompt_and_footer import PromptRow
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.textual_internals import press_bound
from gradstep.tui.showing import Showing
from gradstep.values.commands import Command
from gradstep.values.outcomes import Outcome

if TYPE_CHECKING:
    from gradstep.session.protocol import FrontSession
    from gradstep.steps.language.script import Script


class StepScreen(Desk, inherit_bindings=False):
    """The screen on which a session is stepped."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [*keymap.bindings()]

    def __init__(
        self,
        session: FrontSession,
        opening: Sequence[Command],
        script: Script | None,
        on_outcome: Callable[[Outcome], None],
        rest: float = 0.2,
        resumed: Script | None = None,
        appearance: Appearance = Appearance(),  # noqa: B008
    ) -> None:
        """Prepare the screen.

        Args:
            session: the session to step.
            opening: the first commands.
            script: a script to step through.
            on_outcome: called with every outcome, for the recording.
            rest: idle seconds after which a digest is taken.
            resumed: a session to resume by replaying it.
            appearance: the initial layout and theme.
        """
        super().__init__(session, appearance)
        self.looking = Looking(self)
        self.script_output = ScriptOutput(self)
        self.showing = Showing(self, self.looking, opening, on_outcome, self.script_output)
        self.queue = CommandQueue(session, self.showing, rest)
        self.typing, self.counting, self.layouts = CommandLines(self), Counting(self), Layouts(self)
        self.training = Training(self, self.showing, opening)
        self.stepping = SteppingController(self, self.training)
        self.travel = TimeTravelController(self, self.stepping)
        self.what_if = WhatIf(self, self.typing)
        self.panel_keys = Panels(self, self.stepping, self.travel, self.what_if, self.typing, self.script_output)
        self.find, self.tensor_keys, self.node = Find(self, self.typing), Tensor(self, self.typing), Node(self)
        self.opening = Opening(self, self.training, self.showing, script, resumed)
        # the order in which they are called for a stop, a key or a command
        self.controllers = (
            *(self.travel, self.stepping, self.node, self.what_if, self.find, self.tensor_keys, self.panel_keys),
            *(self.script_output, self.training, self.layouts, self.typing, self.counting, self.showing, self.opening),
        )
        self._keys: Mapping[str, Callable[[], object]] = {
            key: do for controller in self.controllers for key, do in controller.handles().items()
        }
        self._begun = False
        """True once the first frame is painted and the opening commands are queued."""
        self._early: list[events.Key | events.Paste] = []
        """Keys pressed before that."""

    # -- start --------------------------------------------------------------------------------------------------------
    def on_mount(self) -> None:
        """Start once the first frame is painted."""
        for controller in self.controllers:
            controller.start()
        self.call_after_refresh(self._start)

    async def _start(self) -> None:
        self.opening.begin()
        while self._early:
            await self._take(self._early.pop(0))
        self._begun = True

    def on_idle(self) -> None:
        """Once idle, run actions that waited for a view, and ask for what visible panels lack."""
        self.panel_keys.do_early()
        self.looking.catch_up()

    # -- keys ---------------------------------------------------------------------------------------------------------
    async def take(self, event: events.Key | events.Paste) -> None:
        """Handle a key or pasted text: insert it into the open input line, or run what the key is bound to.

        Keys pressed before the first frame are handled after the opening commands are queued.
        """
        if self._begun:
            await self._take(event)
        else:
            self._early.append(event)

    async def _take(self, event: events.Key | events.Paste) -> None:
        if self.script_output.take(event):
            return
        line = self.line
        if self.footer.said or self.footer.complaint:
            self.footer.complaint = ""
            self.say("")
        # Textual removes the focus while the terminal window is not focused
        self.set_focus(line, scroll_visible=False)
        if isinstance(event, events.Key) and (line is None or not event.is_printable):
            if line is not None:
                await press_bound(self.app, event.key)
            else:
                self._press(event)
            self.times = 1
        elif line is not None:
            line.write(event.text if isinstance(event, events.Paste) else event.character or "")
        self.check_idle()

    def _press(self, event: events.Key) -> None:
        key = self.keyboard.of(event.key)
        self.training.key_pressed(key.id if key is not None else "")
        if not self.counting.counts(event.key, event.time) and key is not None:
            self.action_press(key.id)

    def action_press(self, key: str) -> None:
        """Run a key, by its id: as the focused panel handles it, else globally."""
        if self.line is not None and key in ("pause", "pause_too"):
            self.line.action_leave()
            return
        ended = self.queue.stop.ended
        if ended and key in keymap.RUNNING:
            name, restart = self.queue.stop.workload, self.keyboard.key("restart").shown
            self.say(f"{name} {ended}: {restart} runs it again")
            return
        if not self.panel_keys.press(key):
            self._keys[key]()

    # -- the mouse ----------------------------------------------------------------------------------------------------
    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin to drag the edge of a panel."""
        self.layouts.grab(event)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drag the edge."""
        self.layouts.drag(event)

    def on_mouse_up(self) -> None:
        """End the drag."""
        self.layouts.let_go()

    def on_panel_focused(self, message: Panel.Focused) -> None:
        """Focus the clicked panel and row."""
        self.panel_keys.clicked(message.panel, message.row)

    def on_prompt_row_pressed(self, message: PromptRow.Pressed) -> None:
        """Run the key whose label was clicked in the prompt row."""
        self.action_press(message.key)

    def on_panel_named(self, message: Panel.Named) -> None:
        """Focus the panel whose name was clicked."""
        self.go_to(message.name)

    def on_panel_doubled(self) -> None:
        """Maximise the panel whose title was double-clicked, or restore it."""
        self.layouts.maximise()
