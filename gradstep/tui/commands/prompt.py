"""Input lines; the command line has completion on tab and history on up and down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from textual.binding import Binding, BindingType
from textual.widgets import Input


class PromptListener(Protocol):
    """Receives what is typed in the command line, at once: the next key may be meant for something else."""

    def complete(self, line: str) -> Sequence[str]:
        """Return the lines that `line` completes to."""
        ...

    def offered(self, candidates: Sequence[str]) -> None:
        """Show completion candidates."""
        ...

    def given(self, line: str) -> None:
        """Execute the line."""
        ...

    def close_line(self) -> None:
        """Close the line."""
        ...


class TypedLine(Input):
    """An input line in place of the prompt row."""

    DEFAULT_CSS = """
    TypedLine, TypedLine:focus {
        border: none; padding: 0; height: 1; background: $background; color: $foreground;
    }
    """

    def __init__(self, name: str) -> None:
        """Prepare a line; `name` is its widget id."""
        super().__init__(id=name, compact=True, select_on_focus=False)

    def begin(self, text: str) -> None:
        """Start a new line with `text` in it."""
        self.value = text
        self.cursor_position = len(text)

    def write(self, text: str) -> None:
        """Insert typed or pasted text, its first line only."""
        self.replace(text.splitlines()[0] if text else "", *self.selection)

    def action_leave(self) -> None:
        """Close the line."""
        raise NotImplementedError

    def action_delete_left(self) -> None:
        """Delete a character; close the line when it is empty, as vi does."""
        if self.value:
            super().action_delete_left()
        else:
            self.action_leave()


class CommandLine(TypedLine):
    """The command line: completion and history."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "complete", show=False, id="line.complete"),
        Binding("up", "history(-1)", "history", show=False, id="line.up"),
        Binding("down", "history(1)", "history", show=False, id="line.down"),
        Binding("escape", "leave", "leave", show=False, id="line.leave"),
    ]

    def __init__(self, history: Sequence[str], writer: PromptListener) -> None:
        """Prepare a line.

        Args:
            history: the lines entered before, the oldest first; it may grow.
            writer: completes and executes the line.
        """
        super().__init__("line")
        self._history = history
        self._writer = writer
        self._at = 0
        self._draft = ""

    def begin(self, text: str) -> None:
        """Start a new line with `text` in it."""
        self._at, self._draft = len(self._history), ""
        super().begin(text)

    def action_complete(self) -> None:
        """Complete to the common prefix of all candidates, and show them."""
        before, after = self.value[: self.cursor_position], self.value[self.cursor_position :]
        candidates = self._writer.complete(before)
        if candidates:
            common = _common(candidates)
            if len(common) > len(before) or len(candidates) == 1:
                self.value = common + after
                self.cursor_position = len(common)
        self._writer.offered([_last_word(line) for line in candidates] if len(candidates) > 1 else [])

    def action_history(self, by: int) -> None:
        """Go through the history."""
        if self._at == len(self._history):
            self._draft = self.value
        self._at = max(0, min(self._at + by, len(self._history)))
        self.value = self._history[self._at] if self._at < len(self._history) else self._draft
        self.cursor_position = len(self.value)

    def action_leave(self) -> None:
        """Close the line."""
        self._writer.close_line()

    async def action_submit(self) -> None:
        """Execute the line."""
        self._writer.given(self.value)


def _common(lines: Sequence[str]) -> str:
    first, last = min(lines), max(lines)
    agreed = 0
    while agreed < min(len(first), len(last)) and first[agreed] == last[agreed]:
        agreed += 1
    return first[:agreed]


def _last_word(line: str) -> str:
    return line.rstrip().rsplit(" ", 1)[-1]
