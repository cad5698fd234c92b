"""The panel *Log*: the commands so far, each as the line that replays it, and the output of the debuggee."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from gradstep.tui.panels.panel import Panel
from gradstep.tui.panels.why import hit_words
from gradstep.tui.render.copying import Copied
from gradstep.tui.render.drawing import GUTTER, Drawing, cursor, empty, window
from gradstep.tui.render.lines import Line, Row, clean
from gradstep.values import numbers
from gradstep.values.commands import Say, line_of
from gradstep.values.outcomes import Outcome
from gradstep.values.views import NoView


class LogRow(NamedTuple):
    """One row of the log."""

    kind: Literal["command", "failed", "problem", "printed", "watch", "output", "notice"]
    text: str


_MARKS: dict[str, tuple[str, str, str]] = {
    # kind: (mark, tone of the mark, tone of the text)
    "command": (" ", "dim", "text"),
    "failed": ("✗", "bad", "text"),
    "problem": (" ", "dim", "bad"),
    "printed": ("=", "dim", "text"),
    "watch": ("!", "bright", "text"),
    "output": ("│", "line", "dim"),
    "notice": ("·", "dim", "dim"),
}


def entries_of(outcome: Outcome) -> list[LogRow]:
    """Return the rows for an outcome."""
    entries = [LogRow("command" if outcome.ok else "failed", clean(line_of(outcome.command)))]
    if outcome.problem is not None:
        entries.append(LogRow("problem", clean(outcome.problem.title)))
    if not isinstance(outcome.command, Say):
        entries += [LogRow("printed", clean(line)) for line in outcome.text.splitlines()]
    entries += [LogRow("watch", clean(hit_words(hit))) for hit in outcome.watches]
    return entries


def output_entries(text: str) -> list[LogRow]:
    """Return rows for output of the debuggee; a carriage return overwrites its line, as in a terminal."""
    return [LogRow("output", clean(line.rstrip("\r").rsplit("\r", 1)[-1])) for line in text.split("\n")]


def commands_in(entries: Sequence[LogRow]) -> int:
    """Return how many of the rows are commands."""
    return sum(entry.kind in {"command", "failed"} for entry in entries)


def draw(
    entries: Sequence[LogRow], width: int, height: int, first: int = -1, at: int = -1, commands: int | None = None
) -> Drawing:
    """Draw the log from row `first` on (-1: its end), the cursor on row `at` (-1: none).

    `commands` is the number of commands among the rows; None to count them.
    """
    if not entries:
        return empty(width, height, "No commands yet: each one appears here as the line that replays it.")
    commands = commands_in(entries) if commands is None else commands
    start, end = window(len(entries), len(entries) if first < 0 else first, height)
    lines = [_line(entry, width, place == at) for place, entry in enumerate(entries[start:end], start)]
    return Drawing(numbers.count(commands, "command"), lines, len(entries), start, end - start)


def _line(entry: LogRow, width: int, here: bool) -> Line:
    mark, mark_tone, tone = _MARKS[entry.kind]
    indent = GUTTER if entry.kind in {"command", "failed"} else GUTTER + 2
    row = cursor(Row(width, here), here).left(max(indent - 2, int(here)), mark if mark.strip() else "", mark_tone)
    return row.left(indent, entry.text, tone).line()


class LogPanel(Panel[NoView]):
    """The log; it follows its end until it is scrolled."""

    title = "Log"
    help_text = "The commands so far, each as the line that replays it, and the output of your code."
    _MOST = 100_000

    def __init__(self) -> None:
        super().__init__("log")
        self.entries: list[LogRow] = []
        self._commands = 0
        self._open = False
        self._at_end = True
        self.at = -1
        """The row under the cursor; the last one while the log follows its end."""

    def add(self, entries: Sequence[LogRow]) -> None:
        """Append rows; beyond `_MOST`, the oldest are dropped."""
        self.entries += entries
        self._commands += commands_in(entries)
        self._open = False
        if len(self.entries) > self._MOST:
            self._commands -= commands_in(self.entries[: self._MOST // 10])
            del self.entries[: self._MOST // 10]
        self._reveal()

    def write(self, text: str) -> None:
        """Append output of the debuggee; an unfinished line continues with the next piece."""
        rows = output_entries(text)
        if self._open and self.entries:
            rows[0] = LogRow("output", self.entries.pop().text + rows[0].text)
        self.add(rows if rows[-1].text else rows[:-1])
        self._open = bool(rows[-1].text)

    @property
    def timeless(self) -> bool:
        """Always True: the panel is about the whole session."""
        return True

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        first = -1 if self._at_end else self.first
        return draw(self.entries, width, height, first, self.at if self.focused else -1, self._commands)

    def move(self, rows: int) -> None:
        """Move the cursor; on the last row it follows the end."""
        last = len(self.entries) - 1
        self.at = max(0, min(self.at + rows, last))
        self._at_end = self.at == last
        self.first = max(min(self._top, self.at), self.at - self.body + 1)

    def scroll_rows(self, rows: int) -> None:
        """Scroll; the cursor stays visible, and at the end the log follows it again."""
        last = max(0, len(self.entries) - self.body)
        self.first = max(0, min(self._top + rows, last))
        self._at_end = self.first >= last
        self.at = max(self.first, min(self.at, self.first + self.body - 1))
        self._reveal()

    def copied(self) -> Copied | None:
        """Return the line under the cursor."""
        return Copied("the line", self.entries[self.at].text) if 0 <= self.at < len(self.entries) else None

    @property
    def _top(self) -> int:
        return max(0, len(self.entries) - self.body) if self._at_end else self.first

    def _reveal(self) -> None:
        last = len(self.entries) - 1
        self.at = last if self._at_end else min(self.at, last)
