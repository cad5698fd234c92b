"""The command line while it is typed into: completion by tab, history by up and down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from textual.binding import Binding, BindingType
from textual.widgets import Input


class Writer(Protocol):
    """Who is told what becomes of a line, at once: the keys behind this one may be meant for something else."""

    def complete(self, line: str) -> Sequence[str]:
        """Return the whole lines that a beginning could become."""
        ...

    def offered(self, candidates: Sequence[str]) -> None:
        """Show how the line could go on."""
        ...

    def given(self, line: str) -> None:
        """Carry the line out."""
        ...

    def close_line(self) -> None:
        """Let the line go."""
        ...


class TypedLine(Input):
    """A line that is typed where the prompt row is."""

    DEFAULT_CSS = """
    TypedLine, TypedLine:focus {
        border: none; padding: 0; height: 1; background: $background; color: $foreground;
    }
    """

    def __init__(self, name: str) -> None:
        """Prepare a line; `name` is its id."""
        super().__init__(id=name, compact=True, select_on_focus=False)

    def begin(self, text: str) -> None:
        """Begin a new line with `text`."""
        self.value = text
        self.cursor_position = len(text)

    def write(self, text: str) -> None:
        """Take what is typed or pasted; of several lines the first."""
        self.replace(text.splitlines()[0] if text else "", *self.selection)

    def action_leave(self) -> None:
        """Let the line go."""
        raise NotImplementedError

    def action_delete_left(self) -> None:
        """Delete; leave an empty line by backspace, as vi does."""
        if self.value:
            super().action_delete_left()
        else:
            self.action_leave()


class CommandLine(TypedLine):
    """Takes the place of the prompt row until a command is given or let go."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "complete", show=False, id="line.complete"),
        Binding("up", "history(-1)", "history", show=False, id="line.up"),
        Binding("down", "history(1)", "history", show=False, id="line.down"),
        Binding("escape", "leave", "leave", show=False, id="line.leave"),
    ]

    def __init__(self, history: Sequence[str], writer: Writer) -> None:
        """Prepare a line.

        Args:
            history: the lines given before, the oldest first; it may grow.
            writer: who is told what becomes of it.
        """
        super().__init__("line")
        self._history = history
        self._writer = writer
        self._at = 0
        self._draft = ""

    def begin(self, text: str) -> None:
        """Begin a new line with `text`."""
        self._at, self._draft = len(self._history), ""
        super().begin(text)

    def action_complete(self) -> None:
        """Complete as far as all candidates agree, and show them."""
        before, after = self.value[: self.cursor_position], self.value[self.cursor_position :]
        candidates = self._writer.complete(before)
        if candidates:
            common = _common(candidates)
            if len(common) > len(before) or len(candidates) == 1:
                self.value = common + after
                self.cursor_position = len(common)
        self._writer.offered([_last_word(line) for line in candidates] if len(candidates) > 1 else [])

    def action_history(self, by: int) -> None:
        """Go through the lines given before."""
        if self._at == len(self._history):
            self._draft = self.value
        self._at = max(0, min(self._at + by, len(self._history)))
        self.value = self._history[self._at] if self._at < len(self._history) else self._draft
        self.cursor_position = len(self.value)

    def action_leave(self) -> None:
        """Let the line go."""
        self._writer.close_line()

    async def action_submit(self) -> None:
        """Give the line."""
        self._writer.given(self.value)


def _common(lines: Sequence[str]) -> str:
    first, last = min(lines), max(lines)
    agreed = 0
    while agreed < min(len(first), len(last)) and first[agreed] == last[agreed]:
        agreed += 1
    return first[:agreed]


def _last_word(line: str) -> str:
    return line.rstrip().rsplit(" ", 1)[-1]
