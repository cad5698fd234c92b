"""The panel *Log*: the commands so far, each as the line that would replay it, and what the debuggee wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from gradstep.tui import numbers
from gradstep.tui.lines import Line, Row, clean
from gradstep.tui.panels.drawing import GUTTER, Drawing, empty, window
from gradstep.tui.panels.panel import Panel
from gradstep.values.commands import Say, line_of
from gradstep.values.outcomes import Outcome


class Entry(NamedTuple):
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


def entries_of(outcome: Outcome) -> list[Entry]:
    """Return the rows that an outcome adds to the log."""
    entries = [Entry("command" if outcome.ok else "failed", clean(line_of(outcome.command)))]
    if outcome.problem is not None:
        entries.append(Entry("problem", clean(outcome.problem.title)))
    if not isinstance(outcome.command, Say):
        entries += [Entry("printed", clean(line)) for line in outcome.text.splitlines()]
    for hit in outcome.watches:
        entries.append(Entry("watch", clean(f"watch {hit.number}: {hit.line} was {hit.before}, is {hit.after}")))
    return entries


def output_entries(text: str) -> list[Entry]:
    """Return the rows for what the debuggee wrote; a carriage return starts its line anew, as in a terminal."""
    return [Entry("output", clean(line.rstrip("\r").rsplit("\r", 1)[-1])) for line in text.split("\n")]


def draw(entries: Sequence[Entry], width: int, height: int, first: int = -1) -> Drawing:
    """Draw the log from row `first` on; -1: its end."""
    if not entries:
        return empty(width, height, "Nothing done yet: every command will stand here as a line that replays it.")
    commands = sum(entry.kind in {"command", "failed"} for entry in entries)
    start, end = window(len(entries), len(entries) if first < 0 else first, height)
    lines = [_line(entry, width) for entry in entries[start:end]]
    return Drawing(numbers.count(commands, "command"), lines, len(entries))


def _line(entry: Entry, width: int) -> Line:
    mark, mark_tone, tone = _MARKS[entry.kind]
    indent = GUTTER if entry.kind in {"command", "failed"} else GUTTER + 2
    return Row(width).left(indent - 2, mark, mark_tone).left(indent, entry.text, tone).line()


class LogPanel(Panel):
    """The commands so far; it stays at its end until it is scrolled."""

    title = "Log"
    reads = "What was done, each as the line that does it again, and what your code printed."
    _MOST = 100_000

    def __init__(self) -> None:
        super().__init__("log")
        self.entries: list[Entry] = []
        self._open = False
        self._at_end = True

    def add(self, entries: Sequence[Entry]) -> None:
        """Append rows; the oldest go when there are too many to keep."""
        self.entries += entries
        self._open = False
        if len(self.entries) > self._MOST:
            del self.entries[: self._MOST // 10]

    def write(self, text: str) -> None:
        """Append what the debuggee wrote; a line that it has not ended goes on with the next piece."""
        rows = output_entries(text)
        if self._open and self.entries:
            rows[0] = Entry("output", self.entries.pop().text + rows[0].text)
        self.add(rows if rows[-1].text else rows[:-1])
        self._open = bool(rows[-1].text)

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body as it stands now."""
        return draw(self.entries, width, height, -1 if self._at_end else self.first)

    def scroll_rows(self, rows: int) -> None:
        """Scroll; at the end it follows again."""
        last = max(0, len(self.entries) - self.body)
        self.first = max(0, min((last if self._at_end else self.first) + rows, last))
        self._at_end = self.first >= last
