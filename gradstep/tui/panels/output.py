"""The panel *Output*: the script's terminal, with what scrolled off it, and where its prompts are answered."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gradstep.session.protocol import ScriptTerminal
from gradstep.tui.panels.actions import Actions
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.drawing import Drawing, empty, window
from gradstep.tui.render.lines import Span
from gradstep.values.views import NoView

if TYPE_CHECKING:
    from gradstep.tui.render.terminal import Emulator

_INDENT = Span(" ")
_SLICE = 0.008
"""Seconds of drawing output at a time, so that keys are still handled while a script prints without end."""


class OutputPanel(Panel[NoView]):
    """The script's terminal; it stays at its end until it is scrolled."""

    title = "Output"
    help_text = (
        "What the script prints, as its terminal shows it; scroll for what it printed before. {choose} types into it: "
        "every key goes to the script, until {pause}."
    )

    def __init__(self) -> None:
        super().__init__("output")
        self.terminal: ScriptTerminal | None = None
        """The terminal; None for a held workload."""
        self._terminal_size = 80, 24
        """Columns and rows of the terminal: those of the body when it was last visible."""
        self._emulator: Emulator | None = None
        self.typing = False
        """True while keys go to the script."""
        self._at_end = True
        self._left = 0

    def connect(self, terminal: ScriptTerminal | None) -> None:
        """Draw the output of a terminal from now on, below that of an earlier one."""
        self.terminal = terminal
        if terminal is not None:
            terminal.resize(*self._terminal_size)

    @property
    def emulator(self) -> Emulator:
        """What draws the terminal; made when the script prints, for pyte takes 50 ms to import."""
        if self._emulator is None:
            from gradstep.tui.render.terminal import Emulator

            self._emulator = Emulator(*self._terminal_size, answer=self._answer)
        return self._emulator

    def write(self, text: str) -> None:
        """Queue what the script printed; `catch_up` draws it."""
        self.emulator.write(text)

    def note(self, text: str) -> None:
        """Write a line from gradstep below the output so far."""
        self.catch_up(whole=True)
        if self._emulator is not None:
            self._emulator.note(text)

    def catch_up(self, whole: bool = False) -> bool:
        """Draw the queued output, all of it or for a few milliseconds; return whether all is drawn."""
        if self._emulator is None:
            return True
        end = time.monotonic() + _SLICE
        return self.emulator.draw(lambda: whole or time.monotonic() < end)

    def _answer(self, text: str) -> None:
        if self.terminal is not None:
            self.terminal.write(text)

    @property
    def timeless(self) -> bool:
        """Always: it is about the whole session."""
        return True

    def resized(self) -> None:
        """Give the script's terminal the size of the body."""
        columns, rows = self.size.width - 2, self.body
        if columns > 0 and rows > 0:
            self._terminal_size = columns, rows
            if self._emulator is not None:
                self._emulator.resize(columns, rows)
            if self.terminal is not None:
                self.terminal.resize(columns, rows)

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body as it stands now."""
        if self._emulator is None and not self.typing:
            return empty(width, height, "The script has printed nothing yet.")
        from gradstep.tui.render.terminal import cropped

        rows = self.emulator.rows
        cursor = self.emulator.cursor if self.typing else None
        start, end = window(rows, rows if self._at_end else self.first, height)
        room = width - 2
        longest = max((sum(len(text) for text, _ in self.emulator.row(y)) for y in range(start, end)), default=0)
        self._left = max(0, min(self._left, longest - room))
        lines = []
        for y in range(start, end):
            at = cursor[1] if cursor is not None and cursor[0] == y else -1
            line = cropped(self.emulator.row(y), self._left, room, at)
            lines.append(line._replace(spans=(_INDENT, *line.spans)))
        right = max(0, longest - room - self._left)
        return Drawing("typing" if self.typing else "", lines, rows, start, end - start, self._left, right)

    def press(self, key: str, actions: Actions) -> bool:
        """Type into the script's terminal on enter."""
        if key != "choose":
            return False
        actions.type_into_script()
        return True

    def scroll_rows(self, rows: int) -> None:
        """Scroll; at the end the panel follows what is printed again."""
        if self._emulator is None:
            return
        last = max(0, self.emulator.rows - self.body)
        top = last if self._at_end else self.first
        self.first = max(0, min(top + rows, last))
        self._at_end = self.first >= last

    def sideways(self, columns: int) -> None:
        """Scroll sideways, to what was printed when the panel was wider."""
        self._left = max(0, self._left + columns)
