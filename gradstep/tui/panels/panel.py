"""The base of all panels: a title row over a body that is drawn by a function, with what the mouse does in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace
from textual import events
from textual.message import Message

from gradstep.tui.panels.doing import Doing
from gradstep.tui.render.copying import Copied
from gradstep.tui.render.drawing import Drawing, empty, heading
from gradstep.tui.render.lines import Line, Row, Span, clean, marked_end, plain, text_line
from gradstep.tui.render.surface import Surface
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
        self.maximised = False
        self._apart = False
        """True while what the panel is about has a row of the body, for want of room in the title."""
        self.first = 0
        self.rows = 0
        self.asked: Request | None = None
        """The request whose view is shown."""
        self.seen = -1
        """Number of the stop whose view is shown."""
        self.awaited: Callable[[], str] = str
        """Returns what is said while the view of the stop that is to be shown has not come; empty once it has."""
        self.same = False
        """True when the view that was assigned since the last drawing shows nothing new."""
        self.moment = ""
        """What the title says of a moment that is not the present; empty for the present."""
        self._drawn: dict[tuple[int, int, int, bool, object], Drawing] = {}

    # -- what a panel of its own says ---------------------------------------------------------------------------------
    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        raise NotImplementedError

    def request(self) -> Request | None:
        """Return the view to ask for, None for a panel that needs none."""
        return None

    def assign(self, view: View) -> None:
        """Take the view that was asked for; nothing is painted yet."""

    def keys(self) -> Mapping[str, Callable[[], str]]:
        """Return what the keys of its own do wherever the focus is, by their ids; each returns what is then seen."""
        return {}

    def press(self, key: str, doing: Doing) -> bool:  # noqa: ARG002
        """Do what a key means in this panel, which has the focus; False where it means what it means everywhere."""
        return False

    @property
    def timeless(self) -> bool:
        """True for a panel that is about the whole session, and shows no moment of it."""
        return False

    @property
    def own_moment(self) -> str:
        """What the title says of the moments that it chose itself; empty for none."""
        return ""

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
        """Draw title and body, with a mark that says how much is out of sight."""
        drawing = self._drawing(width, height - self.titled)
        self.rows = drawing.rows
        if not self.titled:
            return self._untitled(drawing, width)
        title, told = self.title_line(width, drawing)
        self._apart = not told and height >= 8
        if self._apart:
            # the names of other panels took the title: what the panel is about takes a row of the body
            drawing = self._drawing_of(width, height - 2)
            title, _ = self.title_line(width, drawing)
            return [title, text_line(drawing.about, width, "dim"), *drawing.lines]
        return [title, *drawing.lines]

    def _untitled(self, drawing: Drawing, width: int) -> list[Line]:
        """Return the rows of a panel without a title, which would hold the marks of focus and of what is cut."""
        lines = list(drawing.lines)
        if lines and (mark := self._mark(drawing)):
            key = "" if self.focused else f": {self._key(self.id)}"
            lines[-1] = marked_end(lines[-1], width - 1, mark + key)
        return [_marked(lines[0]), *lines[1:]] if self.focused and lines else lines

    def _drawing(self, width: int, height: int) -> Drawing:
        """Draw the body, unless what was just assigned is what it shows already."""
        if awaited := self.awaited():
            self._drawn.clear()
            return empty(width, height, awaited)
        if not self.same:
            self._drawn.clear()
        self.same = False
        return self._drawing_of(width, height)

    def _drawing_of(self, width: int, height: int) -> Drawing:
        """Return the body as it was drawn since the last change, or draw it."""
        state = (width, height, self.first, self.focused, self.beside)
        if state not in self._drawn:
            self._drawn[state] = self.draw(width, height)
        return self._drawn[state]

    def title_line(self, width: int, drawing: Drawing) -> tuple[Line, bool]:
        """Draw the title: the panel's name among those it takes turns with, what it is about, what is out of sight.

        Returns:
            The row, and whether what the panel is about, where there is such, had room in it.
        """
        row, names = Row(width), self.shares or (self.id,)
        mark = self._mark(drawing, width)
        start, end = self._tabs(width - (len(mark) + 2 if mark else 0))
        self._names = []
        for name in names[start:end]:
            number = f"{self._key(name)} " if self.shares else ""
            if name == self.id:
                row.add("▌" if self.focused else " ", "now").add(number + self.title, "bright").add(" ")
            else:
                row.add(" ").add(number, "key").add(f"{heading(str(name))} ", "dim")
            self._names.append((row.at, str(name)))
        if end - start < len(names):
            row.add(f"+{len(names) - (end - start)}", "dim")
        if self.moment:
            row.add(" ").add(f" {self.moment} ", "odd")
        right, about = width - 1 - (len(mark) + 2 if mark else 0), drawing.about
        told = not about or right - row.at - 1 >= (len(about) if self.shares else min(len(about), 12))
        if about and told:
            row.to(row.at + 1).right(right, about, "dim")
        return row.right(width - 1, mark, "key").line(), told

    def _mark(self, drawing: Drawing, width: int = 0) -> str:
        """Return how much is out of sight; in a title of a width, as much of the words as there is room for."""
        larger = "" if self.maximised else self._key("maximise")
        own = len(self.title) + 8 + (len(self.moment) + 3 if self.moment else 0)
        marks = [drawing.mark(*how) for how in ((larger,), (larger, ""), (), ("", ""))]
        # a title that is shared with others may send what the panel is about to a row of its own
        wanted = [own + len(drawing.about), own] if not self.shares else [own]
        fitting = (mark for taken in wanted for mark in marks if not width or taken + len(mark) <= width)
        return next(fitting, marks[-1])

    def _tabs(self, width: int) -> tuple[int, int]:
        """Return which of the names of the panels that take turns here there is room for, this panel's among them.

        They begin at the first for as long as that leaves room for this panel's; the others are counted.
        """
        names = self.shares or (self.id,)
        if len(names) == 1 or self.id not in names:
            return 0, len(names)
        cells = [len(self._key(name)) + len(heading(str(name))) + 3 for name in names]
        room = width - (len(self.moment) + 3 if self.moment else 0)
        if sum(cells) <= room:
            return 0, len(names)
        own, room = names.index(self.id), room - 4
        start = next((i for i in range(own) if sum(cells[i : own + 1]) <= room), own)
        end = own + 1
        while end < len(names) and sum(cells[start : end + 1]) <= room:
            end += 1
        return start, end

    def ground_of(self, y: int) -> str:
        """Tint the title row."""
        return "title" if y == 0 and self.titled else "panel"

    def _key(self, name: str | None) -> str:
        return self.keyboard.key(name or "").shown

    def click(self, event: events.Click) -> None:
        """Focus the panel and its row under the mouse, or one whose name is there; twice in the title maximises."""
        name = next((name for end, name in self._names if event.x < end), self.id)
        if event.y or not self.titled:
            self.widget.post_message(self.Focused(self, event.y - self.titled))
        elif name != self.id and name is not None:
            self.widget.post_message(self.Named(name))
        else:
            self.widget.post_message(self.Doubled() if event.chain == 2 else self.Focused(self, -1))

    def wheel(self, rows: int) -> None:
        """Scroll."""
        self.scroll_rows(rows)
        self.widget.post_message(self.Scrolled(self))
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
