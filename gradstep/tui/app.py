"""The Textual app: one screen on one session."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.app import App

from gradstep.tui.keys.keyboard import Keyboard
from gradstep.tui.layout.preferences import Appearance
from gradstep.tui.render import skin, tones
from gradstep.tui.render.glyphs import ASCII, AsciiFilter
from gradstep.tui.render.textual_internals import add_filter
from gradstep.tui.screen import StepScreen
from gradstep.values.commands import Command
from gradstep.values.outcomes import Outcome

if TYPE_CHECKING:
    from textual.command import Provider

    from gradstep.session.protocol import FrontSession
    from gradstep.steps.language.script import Script


def _palette() -> type[Provider]:
    from gradstep.tui.commands.palette import Commands

    return Commands


class GradstepApp(App[None], inherit_bindings=False):
    """gradstep in a terminal."""

    TITLE = "gradstep"
    CSS = skin.CSS
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {_palette}

    def __init__(
        self,
        session: FrontSession,
        opening: Sequence[Command] = (),
        script: Script | None = None,
        *,
        on_outcome: Callable[[Outcome], None] = lambda _: None,
        rest: float = 0.2,
        history: Sequence[Command] = (),
        signals: bool = False,
        resumed: Script | None = None,
        keyboard: Keyboard | None = None,
        appearance: Appearance = Appearance(),  # noqa: B008
        **options: Any,
    ) -> None:
        """Prepare the app.

        Args:
            session: the session to step.
            opening: the first commands, usually one `Load`.
            script: a script to step through, line by line.
            on_outcome: called with every outcome, for the recording.
            rest: idle seconds after which a digest is taken.
            history: the commands executed before, for the log.
            signals: whether SIGTERM and SIGHUP end the app with exit code 128 + signal number.
            resumed: a session to resume by replaying it.
            keyboard: the key bindings; the defaults when None.
            appearance: the initial layout and theme.
            options: options of Textual's `App`.
        """
        super().__init__(ansi_color="NO_COLOR" in os.environ or None, **options)
        self._signals = signals
        self.step_screen = StepScreen(session, opening, script, on_outcome, rest, resumed, appearance)
        self.step_screen.showing.remember(history)
        if keyboard is not None:
            self.step_screen.bind(keyboard)
            self.set_keymap(keyboard.changed)
        for theme in skin.themes():
            self.register_theme(theme)
        self.theme = tones.PLAIN if self.no_color else appearance.theme
        if appearance.ascii_only:
            self.add_class(ASCII)
            add_filter(self, AsciiFilter())

    def on_mount(self) -> None:
        """Exit cleanly on SIGTERM and SIGHUP."""
        if self._signals:
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, self.exit, None, 128 + number)

    async def on_event(self, event: events.Event) -> None:
        """Handle keys one at a time, so that each sees what the one before opened or closed.

        Textual would dispatch each key to whatever has the focus when it arrives: of `:forward` typed in one burst, `f`
        would run a forward before `:` had opened the command line.
        """
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded and self.screen is self.step_screen:
            self.app_focus = True
            await self.step_screen.take(event)
        else:
            await super().on_event(event)

    def get_default_screen(self) -> StepScreen:
        """Return the only screen."""
        return self.step_screen
