"""The panel *Source*: the line of user code that is running, or that made the node under the cursor of Graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from gradstep.tui.keys.in_keys import in_keys
from gradstep.tui.keys.keyboard import DEFAULT_KEYS, Keyboard
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.drawing import GUTTER, Drawing, empty, window
from gradstep.tui.render.lines import Line, Row, clean
from gradstep.values.views import Request
from gradstep.values.views.inside import LookSource, SourceView

_CUT = "…"


def draw(
    view: SourceView | None,
    width: int,
    height: int,
    first: int = 0,
    left: int = 0,
    keyboard: Keyboard = DEFAULT_KEYS,
) -> Drawing:
    """Draw the file from its row `first` on, without the first `left` columns; `…` for lines that have not arrived."""
    if view is None or not view.lines:
        note = clean(view.note) if view is not None else ""
        return empty(width, height, note or in_keys("No line is running: `into` steps into a phase.", keyboard))
    total = max(view.total, view.first - 1 + len(view.lines))
    start, end = window(total, first, height)
    numbers = GUTTER + len(str(total))
    lines = [
        _line(clean(_text(view, number)), number, width, numbers, left, number == view.here)
        for number in range(start + 1, end + 1)
    ]
    name = f"{clean(PurePath(view.file).name)}:{view.here}"
    about = f"{name} {clean(view.function)}".rstrip() + (f", made {view.made}" if view.made else "")
    return Drawing(about, lines, total, start, end - start)


def _text(view: SourceView, number: int) -> str:
    return view.lines[number - view.first] if 0 <= number - view.first < len(view.lines) else _CUT


def _line(text: str, number: int, width: int, numbers: int, left: int, here: bool) -> Line:
    row = Row(width, here)
    row.add("▶" if here else " ", "now").right(numbers, str(number), "now" if here else "dim").add("  ")
    hidden = bool(text[:left].strip())
    shown = (_CUT if hidden else "") + text[left + hidden :]
    return row.add(shown, "bright" if here else "text").line()


def spare_indent(seen: Sequence[str], line: str, room: int) -> int:
    """Return how much of the common indent of the visible lines to cut, so that `line` fits into `room` columns."""
    indent = min((len(text) - len(text.lstrip()) for text in seen if text.strip()), default=0)
    return max(0, min(indent, len(line) - room))


class SourcePanel(Panel[SourceView]):
    """Source code around a line; it scrolls."""

    title = "Source"
    help_text = (
        "Your code. At a stop inside a forward, ▶ is the line that is running; inside a backward, the line that "
        "made the node. Otherwise it is the line that made the node under the cursor of Graph, or that uses the "
        "parameter under the cursor of Model."
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

    def request(self) -> Request:
        """Return the request for the lines around the subject or the scroll position, more than are visible."""
        return LookSource(self._count, self.number, self.path, self._from)

    @property
    def _count(self) -> int:
        return max(20, 4 * self.size.height)

    def update(self, view: SourceView, before: SourceView | None) -> None:
        """Scroll to another line."""
        if before is None or (before.file, before.here) != (view.file, view.here):
            self._from = 0
            self._centre(view)

    def scroll_rows(self, rows: int) -> None:
        """Scroll; lines that the view does not hold are requested."""
        super().scroll_rows(rows)
        view = self.view
        if view is not None and not view.first <= self.first + 1 <= view.first + len(view.lines) - self.body:
            self._from = max(1, self.first + 1 - self._count // 2)

    def _centre(self, view: SourceView) -> None:
        place = view.here - view.first
        line = view.lines[place] if 0 <= place < len(view.lines) else ""
        room = self.size.width - GUTTER - len(str(view.total)) - 3
        self.first = max(0, min(view.here - 1 - self.body // 2, view.total - self.body))
        top = max(0, self.first + 1 - view.first)
        self.left = spare_indent(view.lines[top : top + self.body], line, room) if room > 0 else 0

    @property
    def cache_key(self) -> object:
        """What the drawing depends on besides the view."""
        return self.left

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        return draw(self.view, width, height, self.first, self.left, self.keyboard)

    def sideways(self, columns: int) -> None:
        """Scroll horizontally in steps of four columns."""
        longest = max((len(line) for line in self.view.lines), default=0) if self.view is not None else 0
        most = max(0, longest - (self.size.width - 8))
        self.left = max(0, min(self.left + 4 * columns, most))

    def resized(self) -> None:
        """Scroll the line into view."""
        if self.view is not None:
            self._centre(self.view)
