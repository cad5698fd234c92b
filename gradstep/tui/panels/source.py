"""The panel *Source*: the line of user code that is running, or that made the node under the cursor of Graph."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import NamedTuple

from gradstep.tui.keys.in_keys import in_keys
from gradstep.tui.keys.keyboard import DEFAULT_KEYS, Keyboard
from gradstep.tui.panels.actions import Actions
from gradstep.tui.panels.breakpoints import mark_of
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.copying import Copied
from gradstep.tui.render.drawing import GUTTER, Drawing, empty, window
from gradstep.tui.render.lines import Line, Row, clean
from gradstep.values.commands import Break
from gradstep.values.views import Request
from gradstep.values.views.inside import Breakpoint, LookSource, SourceView

_CUT = "…"


class Marks(NamedTuple):
    """What is marked besides the line that runs."""

    at: int = 0
    """The line of the cursor; 0 for none."""
    breakpoints: tuple[tuple[int, Breakpoint], ...] = ()
    """The breakpoints of the file, each with its line."""

    def of(self, line: int) -> Breakpoint | None:
        """Return the breakpoint of a line; None for none."""
        return next((row for number, row in self.breakpoints if number == line), None)


def draw(
    view: SourceView | None,
    width: int,
    height: int,
    first: int = 0,
    left: int = 0,
    keyboard: Keyboard = DEFAULT_KEYS,
    marks: Marks = Marks(),  # noqa: B008
) -> Drawing:
    """Draw the file from its row `first` on, without the first `left` columns; `…` for lines that have not arrived."""
    if view is None or not view.lines:
        note = clean(view.note) if view is not None else ""
        return empty(width, height, note or in_keys("No line is running: `into` steps into a phase.", keyboard))
    total = max(view.total, view.first - 1 + len(view.lines))
    start, end = window(total, first, height)
    numbers = GUTTER + len(str(total))
    lines = []
    for number in range(start + 1, end + 1):
        here, at = number == view.here, number == (marks.at or view.here)
        row = Row(width, at).add("▶" if here else "┃" if at else " ", "now")
        row.add(*mark_of(marks.of(number)))
        lines.append(_line(row, clean(_text(view, number)), number, numbers, left, here))
    name = f"{clean(PurePath(view.file).name)}:{view.here}"
    about = f"{name} {clean(view.function)}".rstrip() + (f", made {view.made}" if view.made else "")
    return Drawing(about, lines, total, start, end - start)


def _text(view: SourceView, number: int) -> str:
    return view.lines[number - view.first] if 0 <= number - view.first < len(view.lines) else _CUT


def _line(row: Row, text: str, number: int, numbers: int, left: int, here: bool) -> Line:
    row.right(numbers, str(number), "now" if here else "dim").add("  ")
    hidden = bool(text[:left].strip())
    shown = (_CUT if hidden else "") + text[left + hidden :]
    return row.add(shown, "bright" if here else "text").line()


def spare_indent(seen: Sequence[str], line: str, room: int) -> int:
    """Return how much of the common indent of the visible lines to cut, so that `line` fits into `room` columns."""
    indent = min((len(text) - len(text.lstrip()) for text in seen if text.strip()), default=0)
    return max(0, min(indent, len(line) - room))


def _short(file: str) -> str:
    """Return how a breakpoint names a file: relative to the working directory, if it is in there."""
    short = os.path.relpath(file)
    return file if short.startswith(os.pardir) else short


def _means(name: str, file: str) -> bool:
    """Return whether a breakpoint's name of a file is this one: a path, or the end of it."""
    return file == os.path.abspath(name) or file.endswith(os.sep + name)


class SourcePanel(Panel[SourceView]):
    """Source code around a line, with a cursor."""

    title = "Source"
    help_text = (
        "Your code. At a stop inside a forward, ▶ is the line that is running; inside a backward, the line that "
        "made the node. Otherwise it is the line that made the node under the cursor of Graph, or that uses the "
        "parameter under the cursor of Model. In a training script, ▶ is the line of the frame that is selected in "
        "Stack, and {break} sets or deletes a breakpoint on the line under the cursor."
    )
    shows = SourceView

    def __init__(self) -> None:
        super().__init__("source")
        self.number: int | None = None
        self.path = ""
        """Its subject: a node, else a parameter or module, else the line that is running."""
        self.left = 0
        self._from = 0
        """The first line to request; 0 to centre the line of the subject."""
        self.at = 0
        """The line of the cursor, from 1."""
        self.breakpoints: Callable[[], tuple[Breakpoint, ...]] = tuple
        """Returns all breakpoints."""

    def request(self) -> Request:
        """Return the request for the lines around the subject or the scroll position, more than are visible."""
        return LookSource(self._count, self.number, self.path, self._from)

    @property
    def _count(self) -> int:
        return max(20, 4 * self.size.height)

    def update(self, view: SourceView, before: SourceView | None) -> None:
        """Scroll to another line."""
        if before is None or (before.file, before.here) != (view.file, view.here):
            seen = before is not None and before.file == view.file and self._sees(view.here)
            self._from, self.at = 0, view.here
            if not seen:
                self._centre(view)

    def _sees(self, line: int) -> bool:
        return self.first + 1 < line < self.first + self.body

    def move(self, rows: int) -> None:
        """Move the cursor."""
        if self.view is not None and self.view.lines:
            self.at = max(1, min(self.at + rows, self.view.total))
            up, down = self.at - 1 - self.first, self.at - self.first - self.body
            self.scroll_rows(min(up, 0) or max(down, 0))

    def seek(self, file: str, line: int) -> bool:
        """Move the cursor to a line; return False where another file is shown."""
        if self.view is None or os.path.abspath(self.view.file) != os.path.abspath(file):
            return False
        self.move(line - self.at)
        return True

    def click_row(self, row: int) -> None:
        """Move the cursor to the row."""
        if self.view is not None and 0 <= self.first + row < self.view.total:
            self.at = self.first + row + 1

    def copied(self) -> Copied | None:
        """Return the line under the cursor."""
        if self.view is None or not self.view.lines:
            return None
        return Copied(f"line {self.at}", _text(self.view, self.at).strip())

    @property
    def line_break(self) -> Break | None:
        """The breakpoint on the line under the cursor, set or not; None without a line."""
        if self.view is None or not self.view.lines:
            return None
        there = self._marks.of(self.at)
        return Break("line", there.what if there is not None else f"{_short(self.view.file)}:{self.at}")

    def press(self, key: str, actions: Actions) -> bool:
        """Set or delete a breakpoint on the line under the cursor of a script."""
        wanted = self.line_break
        if key != "break" or not actions.stop.script or wanted is None:
            return False
        actions.toggle_break(wanted)
        return True

    @property
    def _marks(self) -> Marks:
        if self.view is None:
            return Marks()
        file = self.view.file
        lines = [(row, *row.what.rpartition(":")) for row in self.breakpoints() if row.kind == "line"]
        return Marks(self.at, tuple([(int(line), row) for row, name, _, line in lines if _means(name, file)]))

    def scroll_rows(self, rows: int) -> None:
        """Scroll; lines that the view does not hold are requested."""
        super().scroll_rows(rows)
        view = self.view
        if view is not None and not view.first <= self.first + 1 <= view.first + len(view.lines) - self.body:
            self._from = max(1, self.first + 1 - self._count // 2)

    def _centre(self, view: SourceView) -> None:
        """Scroll the line of the cursor to the middle."""
        place = self.at - view.first
        line = view.lines[place] if 0 <= place < len(view.lines) else ""
        room = self.size.width - GUTTER - len(str(view.total)) - 3
        self.first = max(0, min(self.at - 1 - self.body // 2, view.total - self.body))
        top = max(0, self.first + 1 - view.first)
        self.left = spare_indent(view.lines[top : top + self.body], line, room) if room > 0 else 0

    @property
    def cache_key(self) -> object:
        """Cursor, breakpoints, and what is scrolled out at the left."""
        return self.left, self._marks

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        return draw(self.view, width, height, self.first, self.left, self.keyboard, self._marks)

    def sideways(self, columns: int) -> None:
        """Scroll horizontally in steps of four columns."""
        longest = max((len(line) for line in self.view.lines), default=0) if self.view is not None else 0
        most = max(0, longest - (self.size.width - 8))
        self.left = max(0, min(self.left + 4 * columns, most))

    def resized(self) -> None:
        """Scroll the cursor into view."""
        if self.view is not None:
            self._centre(self.view)
