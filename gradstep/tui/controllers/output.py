"""The script's terminal: drawing what it prints, noticing that it waits for input, and typing into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from textual import events

from gradstep.tui.desk import Controller, Desk
from gradstep.values.outcomes import Stop

_FRAME = 1 / 30
"""Seconds between two drawings of output."""
_QUIET = 0.3
"""Seconds without output after which the script may be waiting for input."""
_CURSOR = {"up": "A", "down": "B", "right": "C", "left": "D", "home": "H", "end": "F"}
_OTHERS = {
    "insert": "\x1b[2~",
    "delete": "\x1b[3~",
    "pageup": "\x1b[5~",
    "pagedown": "\x1b[6~",
    "shift+tab": "\x1b[Z",
    "ctrl+left": "\x1b[1;5D",
    "ctrl+right": "\x1b[1;5C",
}
"""What a terminal sends for keys without a character (xterm control sequences)."""


class ScriptOutput(Controller):
    """Draws the script's output, and types into its terminal."""

    def __init__(self, screen: Desk) -> None:
        """Attach to the screen."""
        super().__init__(screen)
        self._due = False
        """True while a drawing is due."""
        self._printed = False
        """True if the script has printed since the last check for input."""
        self.awaited = False
        """True while the script waits for input."""

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return the handler of each key."""
        return {"output": self.focus}

    def applies(self, key: str) -> bool | None:
        """Return whether a key would do something now."""
        return self.screen.session.terminal is not None if key == "output" else None

    def start(self) -> None:
        """Show the script's terminal, once the event loop runs."""
        self.screen.output.connect(self.screen.session.terminal)
        if self.screen.session.terminal is not None:
            self.screen.set_interval(_QUIET, self._watch)

    def restarted(self) -> None:
        """Show the terminal of the new run, below what the one before printed."""
        if self.screen.session.terminal is not None:
            self._turn(False)
            self.screen.output.note("run again")
            self.screen.output.connect(self.screen.session.terminal)

    # -- drawing -------------------------------------------------------------------------------------------------------
    def printed(self, text: str) -> None:
        """Take what the script printed; it is drawn soon."""
        self.screen.output.write(text)
        self._printed = True
        if self.awaited:
            self._note(False)
        self._draw_soon()

    def _draw_soon(self) -> None:
        if not self._due:
            self._due = True
            self.screen.set_timer(_FRAME, self._draw)

    def _draw(self) -> None:
        self._due = False
        if not self.screen.output.catch_up():
            self._draw_soon()
        self.screen.output.redraw()

    def ended(self) -> None:
        """Draw the output so far, and return the keys to gradstep."""
        self.awaited = False
        self._turn(False)
        self.screen.output.catch_up(whole=True)

    # -- waiting for input ---------------------------------------------------------------------------------------------
    def _watch(self) -> None:
        """Check whether a running script waits for input, unless it has just printed."""
        terminal, printed, self._printed = self.screen.session.terminal, self._printed, False
        if not printed and terminal is not None:
            self._note(self.queue.running is not None and not self.queue.dead and terminal.awaits_input())

    def _note(self, waits: bool) -> None:
        if waits != self.awaited:
            self.awaited = waits
            self.screen.redraw_bars()

    # -- typing --------------------------------------------------------------------------------------------------------
    def focus(self) -> None:
        """Focus Output; while the script waits for input, or when it has the focus already, type into it."""
        if self.screen.session.terminal is None:
            self.screen.say("only a training script has a terminal: what a workload prints is in Log")
            return
        focused = self.screen.focus_panel is self.screen.output
        self.screen.go_to("output")
        if focused or self.awaited:
            self.type()

    def type(self) -> None:
        """Send every key to the script, until esc or its next stop."""
        if self.queue.running is None:
            self.screen.say("the script is stopped here: it reads what is typed once it runs again")
        else:
            self._turn(True)

    def stopped(self, stop: Stop) -> None:  # noqa: ARG002
        """Return the keys to gradstep."""
        self.ended()

    def _turn(self, typing: bool) -> None:
        if typing != self.screen.output.typing:
            self.screen.output.typing = typing
            self.screen.footer.typing = (self.screen.phases.stop.workload or "the script") if typing else ""
            self.screen.redraw_bars()
            self.screen.output.redraw()

    def take(self, event: events.Key | events.Paste) -> bool:
        """Type a key or pasted text into the script's terminal; return False if keys are for gradstep."""
        if self.screen.focus_panel is not self.screen.output:
            self._turn(False)
        if not self.screen.output.typing:
            return False
        if isinstance(event, events.Key) and event.key in ("escape", "ctrl+z"):
            self._turn(False)
            return event.key == "escape"
        terminal = self.screen.session.terminal
        text = event.text.replace("\n", "\r") if isinstance(event, events.Paste) else self._sent(event)
        if terminal is not None and text and not terminal.write(text):
            self.screen.say("the script does not read its input: what you typed last is lost")
        return True

    def _sent(self, event: events.Key) -> str:
        if event.key in _CURSOR:
            return ("\x1bO" if self.screen.output.emulator.keypad else "\x1b[") + _CURSOR[event.key]
        return _OTHERS.get(event.key) or event.character or ""
