"""The command line while it is typed into: completion by tab, history by up and down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input


class CommandLine(Input):
    """Takes the place of the prompt row until a command is given or let go."""

    DEFAULT_CSS = """
    CommandLine, CommandLine:focus {
        border: none; padding: 0; height: 1; background: $background; color: $foreground;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "complete", show=False, id="line.complete"),
        Binding("up", "history(-1)", "history", show=False, id="line.up"),
        Binding("down", "history(1)", "history", show=False, id="line.down"),
        Binding("escape", "leave", "leave", show=False, id="line.leave"),
    ]

    class Left(Message):
        """The line was let go."""

    class Offered(Message):
        """The ways in which the line could go on."""

        def __init__(self, candidates: Sequence[str]) -> None:
            super().__init__()
            self.candidates = candidates

    def __init__(self, history: Sequence[str], complete: Callable[[str], Sequence[str]]) -> None:
        """Begin an empty line.

        Args:
            history: the lines given before, the oldest first.
            complete: returns the whole lines that a beginning could become.
        """
        super().__init__(id="line", compact=True, select_on_focus=False)
        self._history = [*history]
        self._at = len(self._history)
        self._draft = ""
        self._complete = complete

    def action_complete(self) -> None:
        """Complete as far as all candidates agree, and show them."""
        before, after = self.value[: self.cursor_position], self.value[self.cursor_position :]
        candidates = self._complete(before)
        if candidates:
            common = _common(candidates)
            if len(common) > len(before) or len(candidates) == 1:
                self.value = common + after
                self.cursor_position = len(common)
        self.post_message(self.Offered([_last_word(line) for line in candidates] if len(candidates) > 1 else []))

    def action_history(self, by: int) -> None:
        """Go through the lines given before."""
        if self._at == len(self._history):
            self._draft = self.value
        self._at = max(0, min(self._at + by, len(self._history)))
        self.value = self._history[self._at] if self._at < len(self._history) else self._draft
        self.cursor_position = len(self.value)

    def action_leave(self) -> None:
        """Let the line go."""
        self.post_message(self.Left())

    def on_key(self, event: events.Key) -> None:
        """Leave an empty line by backspace, as vi does."""
        if event.key == "backspace" and not self.value:
            event.stop()
            self.action_leave()


def _common(lines: Sequence[str]) -> str:
    first, last = min(lines), max(lines)
    agreed = 0
    while agreed < min(len(first), len(last)) and first[agreed] == last[agreed]:
        agreed += 1
    return first[:agreed]


def _last_word(line: str) -> str:
    return line.rstrip().rsplit(" ", 1)[-1]
