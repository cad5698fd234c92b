"""The base of all panels: a title row over a body that is drawn by a function, with what the mouse does in it."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace
from textual import events
from textual.message import Message

from gradstep.tui.copying import Copied
from gradstep.tui.lines import Line, Row, Span, clean, plain, text_line
from gradstep.tui.panels.drawing import Drawing, empty, heading
from gradstep.tui.panels.surface import Surface
from gradstep.values.views import NoView, Request, View

ViewT = TypeVar("ViewT", bound=Struct)


class Panel(Surface):
    """A panel: a title row over its body, a place to scroll to, perhaps a cursor."""

    title: ClassVar[str] = ""
    reads: ClassVar[str] = ""
    """What the panel shows and how to read it, for the help; `{choose}` stands for the key of that id."""

    class Focused(Message):
        """A panel was clicked."""

        def __init__(self, panel: Panel, row: int) -> None:
            super().__init__()
            self.panel, self.row = panel, row

    class Named(Message):
        """The name of a panel was clicked, in the title row of the one that it takes turns with."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class Doubled(Message):
        """The title row of a panel was clicked twice."""

    class Scrolled(Message):
        """A panel was scrolled by the mouse and may need another window."""

        def __init__(self, panel: Panel) -> None:
            super().__init__()
            self.panel = panel

        def can_replace(self, message: Message) -> bool:
            """Keep one of several: only the last place matters."""
            return isinstance(message, Panel.Scrolled) and message.panel is self.panel

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.focused = False
        self.shares: tuple[str, ...] = ()
        self._names: list[tuple[int, str]] = []
        """Where in the title row the name of each panel ends."""
        self.titled = True
        self._apart = False
        """True while what the panel is about has a row of the body, for want of room in the title."""
        self.first = 0
        self.rows = 0
        self.asked: Request | None = None
        """The request whose view is shown."""
        self.seen = -1
        """Number of the stop whose view is shown."""
        self.same = False
        """True when the view that was assigned since the last drawing shows nothing new."""
        self.moment = ""
        """What the title says of a moment that is not the present; empty for the present."""
        self._drawn: tuple[tuple[int, int, int, bool, object], Drawing] | None = None

    # -- what a panel of its own says ---------------------------------------------------------------------------------
    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        raise NotImplementedError

    def request(self) -> Request | None:
        """Return the view to ask for, None for a panel that needs none."""
        return None

    def assign(self, view: View) -> None:
        """Take the view that was asked for; nothing is painted yet."""

    @property
    def due(self) -> bool:
        """True when more is to come of what was asked for: the same request is made once more."""
        return False

    @property
    def beside(self) -> object:
        """What the drawing depends on beside its view, size, scroll and focus."""
        return None

    def move(self, rows: int) -> None:
        """Move the cursor, or scroll where there is none."""
        self.scroll_rows(rows)

    def sideways(self, columns: int) -> None:
        """Scroll to the side, where there is a side."""

    def click_row(self, row: int) -> None:
        """Take a click on row `row` of the body."""

    def copied(self) -> Copied | None:
        """Return what is under the cursor as text for the clipboard; None where there is no cursor."""
        return None

    # -- what all of them share ---------------------------------------------------------------------------------------
    @property
    def body(self) -> int:
        """Rows of the body that are not taken by what the panel is about."""
        return max(0, self.size.height - self.titled - self._apart)

    def scroll_rows(self, rows: int) -> None:
        """Scroll by rows, never past the ends."""
        self.first = max(0, min(self.first + rows, self.rows - self.body))

    def seen_copied(self) -> Copied:
        """Return the rows that are seen as text for the clipboard."""
        return Copied(f"{self.title}, as it is seen", "\n".join(plain(self._lines[self.titled :])).strip("\n"))

    def compose_lines(self, width: int, height: int) -> list[Line]:
        """Draw title and body."""
        about, lines, self.rows = self._drawing(width, height - self.titled)
        if not self.titled:
            return [_marked(lines[0]), *lines[1:]] if self.focused and lines else lines
        title, told = self.title_line(width, about)
        self._apart = bool(about) and not told and height >= 8
        if self._apart:
            # the names of other panels took the title: what the panel is about takes a row of the body
            lines = [text_line(about, width, "dim"), *self.draw(width, height - 2).lines]
        return [title, *lines]

    def _drawing(self, width: int, height: int) -> Drawing:
        """Draw the body, unless what was just assigned is what it shows already."""
        state = (width, height, self.first, self.focused, self.beside)
        if not self.same or self._drawn is None or self._drawn[0] != state:
            self._drawn = (state, self.draw(width, height))
        self.same = False
        return self._drawn[1]

    def title_line(self, width: int, about: str) -> tuple[Line, bool]:
        """Draw the title: the panel's name, the names of those it shares its place with, and what it is about.

        Returns:
            The row, and whether there was room to say what the panel is about.
        """
        row, mark = Row(width), "▌" if self.focused else " "
        short = self._short(width)
        self._names = []
        for name in self.shares or (self.id,):
            number = f"{self._key(name)} " if self.shares else ""
            if name == self.id:
                row.add(mark, "now").add(number + self.title, "bright").add(" ")
            elif short is None:
                row.add(" ").add(number, "key").add(f"{heading(str(name))} ", "dim")
            else:
                row.add(" ").add(number.strip(), "key").add(heading(str(name)).replace(" ", "")[:short], "dim")
            self._names.append((row.at, str(name)))
        if self.moment:
            row.add(" ").add(f" {self.moment} ", "odd")
        room = width - row.at - 2
        told = room >= (len(about) if self.shares else min(len(about), 12))
        if told:
            row.to(row.at + 1).right(width - 1, about, "dim")
        return row.line(), told

    def ground_of(self, y: int) -> str:
        """Tint the title row."""
        return "title" if y == 0 and self.titled else "panel"

    def _short(self, width: int) -> int | None:
        """Return to how many letters the names of the other panels are cut for want of room; None for whole names."""
        others = [heading(name) for name in self.shares if name != self.id]
        room = width - len(self.title) - 4
        if sum(len(name) + 4 for name in others) <= room:
            return None
        return 3 if 5 * len(others) <= room else 0

    def _key(self, name: str | None) -> str:
        return self.keyboard.key(name or "").shown

    def on_click(self, event: events.Click) -> None:
        """Focus the panel and its row under the mouse, or one whose name is there; twice in the title maximises."""
        name = next((name for end, name in self._names if event.x < end), self.id)
        if event.y or not self.titled:
            self.post_message(self.Focused(self, event.y - self.titled))
        elif name != self.id and name is not None:
            self.post_message(self.Named(name))
        else:
            self.post_message(self.Doubled() if event.chain == 2 else self.Focused(self, -1))

    def on_mouse_scroll_down(self) -> None:
        """Scroll three rows."""
        self._wheel(3)

    def on_mouse_scroll_up(self) -> None:
        """Scroll three rows."""
        self._wheel(-3)

    def _wheel(self, rows: int) -> None:
        self.scroll_rows(rows)
        self.post_message(self.Scrolled(self))
        self.redraw()


class ViewPanel(Panel, Generic[ViewT]):
    """A panel that draws one kind of view, or says why there is none."""

    shows: ClassVar[type[Struct]]
    """The kind of view, the same as `ViewT`."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.view: ViewT | None = None
        self.why = ""
        """Why there is no view; empty when there is one, or none yet."""

    def assign(self, view: View) -> None:
        """Take the view that was asked for, or why it could not be made."""
        before = self.view
        if isinstance(view, NoView):
            self.view, self.why = None, view.why
        elif isinstance(view, self.shows):
            taken: ViewT = view  # type: ignore[assignment]
            self.same = before is not None and replace(before, stop=view.stop) == view
            self.view, self.why = taken, ""
            self.taken(taken, before)

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the view, or why there is none."""
        return empty(width, height, clean(self.why)) if self.why else self.draw_view(width, height)

    def taken(self, view: ViewT, before: ViewT | None) -> None:
        """Follow a new view with cursor and scroll; `before` is the one that was shown until now."""

    def draw_view(self, width: int, height: int) -> Drawing:
        """Draw `view`, which is None before the first."""
        raise NotImplementedError


def _marked(line: Line) -> Line:
    """Return a first row with the mark of the panel in focus at its left, where there is no title to hold it."""
    blank = line.spans[0].text if line.spans else ""
    if not blank.startswith(" "):
        return line
    return Line((Span("▌", "now"), Span(blank[1:], line.spans[0].tone), *line.spans[1:]), line.here)
