"""The panel *Source*: the line of the user's code that is running, or that made the node under Graph's cursor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from gradstep.tui.in_keys import in_keys
from gradstep.tui.keyboard import AS_IT_COMES, Keyboard
from gradstep.tui.lines import Line, Row, clean
from gradstep.tui.panels.drawing import GUTTER, Drawing, empty, window
from gradstep.tui.panels.panel import ViewPanel
from gradstep.values.inside import LookSource, SourceView
from gradstep.values.views import Request

_CUT = "…"


def draw(
    view: SourceView | None,
    width: int,
    height: int,
    first: int = 0,
    left: int = 0,
    keyboard: Keyboard = AS_IT_COMES,
) -> Drawing:
    """Draw the lines from row `first` of the view on, without their first `left` columns."""
    if view is None or not view.lines:
        note = clean(view.note) if view is not None else ""
        return empty(width, height, note or in_keys("No line is running: `into` steps into a phase.", keyboard))
    start, end = window(len(view.lines), first, height)
    numbers = GUTTER + len(str(view.first + len(view.lines) - 1))
    lines = [
        _line(clean(view.lines[i]), view.first + i, width, numbers, left, view.first + i == view.here)
        for i in range(start, end)
    ]
    name = f"{clean(PurePath(view.file).name)}:{view.here}"
    about = f"{name} {clean(view.function)}".rstrip() + (f", made {view.made}" if view.made else "")
    return Drawing(about, lines, len(view.lines), start, end - start)


def _line(text: str, number: int, width: int, numbers: int, left: int, here: bool) -> Line:
    row = Row(width, here)
    row.add("▶" if here else " ", "now").right(numbers, str(number), "now" if here else "dim").add("  ")
    hidden = bool(text[:left].strip())
    shown = (_CUT if hidden else "") + text[left + hidden :]
    return row.add(shown, "bright" if here else "text").line()


def spare_indent(seen: Sequence[str], line: str, room: int) -> int:
    """Return how many columns all lines that are seen give up, of the indent that they share, so that one has room."""
    indent = min((len(text) - len(text.lstrip()) for text in seen if text.strip()), default=0)
    return max(0, min(indent, len(line) - room))


class SourcePanel(ViewPanel[SourceView]):
    """Lines of a file round the one that matters; they can be scrolled."""

    title = "Source"
    reads = (
        "Your code: at a stop inside a phase the line (▶) that is running, in a backward the one that made the node "
        "that is stopped at; elsewhere the line that made the node under the cursor of Graph, or that uses the "
        "parameter under that of Model."
    )
    shows = SourceView

    def __init__(self) -> None:
        super().__init__("source")
        self.number: int | None = None
        self.path = ""
        """The node to ask about, or a parameter or module in its place; neither for the line that is running."""
        self.left = 0

    def request(self) -> Request:
        """Ask for the lines round the one that matters, more than are seen."""
        return LookSource(max(20, 4 * self.body), self.number, self.path)

    def taken(self, view: SourceView, before: SourceView | None) -> None:
        """Bring another line into sight."""
        if before is None or (before.file, before.here, before.first) != (view.file, view.here, view.first):
            self._centre(view)

    def _centre(self, view: SourceView) -> None:
        place = view.here - view.first
        line = view.lines[place] if 0 <= place < len(view.lines) else ""
        room = self.size.width - GUTTER - len(str(view.first + len(view.lines))) - 3
        self.first = max(0, min(place - self.body // 2, len(view.lines) - self.body))
        self.left = spare_indent(view.lines[self.first : self.first + self.body], line, room) if room > 0 else 0

    @property
    def beside(self) -> object:
        """What is drawn beside the view."""
        return self.left

    def draw_view(self, width: int, height: int) -> Drawing:
        """Draw the body as it stands now."""
        return draw(self.view, width, height, self.first, self.left, self.keyboard)

    def sideways(self, columns: int) -> None:
        """Scroll long lines to the side, in steps of four columns."""
        longest = max((len(line) for line in self.view.lines), default=0) if self.view is not None else 0
        most = max(0, longest - (self.size.width - 8))
        self.left = max(0, min(self.left + 4 * columns, most))

    def resized(self) -> None:
        """Keep the line in sight."""
        if self.view is not None:
            self._centre(self.view)
