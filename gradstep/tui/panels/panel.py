"""The base class of all panels: a title row over a body."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace
from textual import events
from textual.geometry import Size
from textual.message import Message

from gradstep.tui.keys.keyboard import DEFAULT_KEYS
from gradstep.tui.panels.actions import Actions
from gradstep.tui.render.copying import Copied
from gradstep.tui.render.drawing import Drawing, empty, heading
from gradstep.tui.render.lines import Line, Row, Span, clean, marked_end, plain, text_line
from gradstep.tui.render.surface import Surface
from gradstep.values.views import NoView, Request, View

ViewT = TypeVar("ViewT", bound=Struct)


class Panel(Generic[ViewT]):
    """A title row over a body that draws one kind of view; it can scroll, and may have a cursor."""

    title: ClassVar[str] = ""
    help_text: ClassVar[str] = ""
    """What the panel shows and how to read it; `{choose}` is the key of that id."""
    shows: ClassVar[type[Struct]] = NoView
    """The kind of view, the same as `ViewT`."""
    keyboard = DEFAULT_KEYS
    """The key bindings, for texts that name keys."""

    class Focused(Message):
        """A panel was clicked, on a row of its body, or on its title (-1)."""

        def __init__(self, panel: Panel[Any], row: int) -> None:
            super().__init__()
            self.panel, self.row = panel, row

    class Named(Message):
        """The tab of another panel was clicked."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class Doubled(Message):
        """The title row of a panel was double-clicked."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.surface = PanelSurface(self)
        """The widget that it is drawn on."""
        self.view: ViewT | None = None
        self.why = ""
        """Why there is no view; empty when there is one, or none yet."""
        self.focused = False
        self.titled = True
        self.maximised = False
        self.tabs: tuple[str, ...] = ()
        """The panels that share its place, itself included; empty where it has a place to itself."""
        self._tab_ends: list[tuple[int, str]] = []
        """The column of the title row at which each tab ends."""
        self._subtitled = False
        """True while the subtitle takes a row of the body, because the title row has no room for it."""
        self.first = 0
        """The first row that is visible, of `rows`."""
        self.rows = 0
        self.shown_request: Request | None = None
        """The request whose view is shown."""
        self.shown_stop = -1
        """The number of the stop whose view is shown."""
        self.placeholder: Callable[[], str] = str
        """Returns what to show until the view of the current stop arrives; empty once it has."""
        self.unchanged = False
        """True when the view assigned since the last drawing shows nothing new."""
        self.badge = ""
        """What the title says when the panel shows something other than the present; else empty."""
        self._drawn: dict[tuple[int, int, int, bool, object], Drawing] = {}

    # -- what each panel defines --------------------------------------------------------------------------------------
    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body from `view`, which is None before the first."""
        raise NotImplementedError

    def request(self) -> Request | None:
        """Return the view to ask for; None for a panel that needs none."""
        return None

    def update(self, view: ViewT, before: ViewT | None) -> None:
        """Adapt cursor and scroll position to a new view; `before` is the previous one."""

    def keys(self) -> Mapping[str, Callable[[], str]]:
        """Return the panel's own keys by id, which work wherever the focus is; each returns a message on the result."""
        return {}

    def press(self, key: str, actions: Actions) -> bool:  # noqa: ARG002
        """Handle a key while the panel has the focus; return False to leave it to the screen."""
        return False

    @property
    def timeless(self) -> bool:
        """True for a panel about the whole session rather than one stop."""
        return False

    @property
    def own_badge(self) -> str:
        """The badge that the panel sets itself; empty for none."""
        return ""

    @property
    def due(self) -> bool:
        """True when the view is incomplete: the same request is then made again."""
        return False

    @property
    def cache_key(self) -> object:
        """What the drawing depends on besides view, size, scroll position and focus."""
        return None

    def move(self, rows: int) -> None:
        """Move the cursor, or scroll where there is none."""
        self.scroll_rows(rows)

    def sideways(self, columns: int) -> None:
        """Move the cursor, or scroll, horizontally."""

    def click_row(self, row: int) -> None:
        """Handle a click on row `row` of the body."""

    def copied(self) -> Copied | None:
        """Return what is under the cursor as text for the clipboard; None where there is no cursor."""
        return None

    def resized(self) -> None:
        """Adapt to a new size, before it is drawn for."""

    # -- what all of them share ---------------------------------------------------------------------------------------
    @property
    def size(self) -> Size:
        """Columns and rows of the panel, title row included; 0 while it is not visible."""
        return self.surface.size

    @property
    def body(self) -> int:
        """Rows of the body, without the subtitle's."""
        return max(0, self.size.height - self.titled - self._subtitled)

    def redraw(self) -> None:
        """Draw again; rows that differ are painted with the next frame."""
        self.surface.redraw()

    def assign(self, view: View) -> None:
        """Take the view that was requested, or the reason why there is none; nothing is painted yet."""
        before = self.view
        if isinstance(view, NoView):
            self.view, self.why = None, view.why
        elif isinstance(view, self.shows):
            taken: ViewT = view  # type: ignore[assignment]
            self.unchanged = before is not None and replace(before, stop=view.stop) == view
            self.view, self.why = taken, ""
            self.update(taken, before)

    def scroll_rows(self, rows: int) -> None:
        """Scroll by rows, never past the ends."""
        self.first = max(0, min(self.first + rows, self.rows - self.body))

    def visible_text(self) -> Copied:
        """Return the visible rows as text for the clipboard."""
        return Copied(
            f"the visible part of {self.title}", "\n".join(plain(self.surface.lines[self.titled :])).strip("\n")
        )

    # -- drawing ------------------------------------------------------------------------------------------------------
    def compose_lines(self, width: int, height: int) -> list[Line]:
        """Draw title and body, with a note of how many rows and columns are hidden."""
        if not self.titled:
            drawing = self._drawing(width, height)
            self.rows = drawing.rows
            return self._untitled(drawing, width)
        # assume the layout of the last drawing
        subtitled = self._subtitled and height >= 8
        drawing = self._drawing(width, height - 1 - subtitled)
        title, fits = self.title_line(width, drawing)
        self._subtitled = not fits and height >= 8
        if self._subtitled != subtitled:
            drawing = self._cached(width, height - 1 - self._subtitled)
            title, _ = self.title_line(width, drawing)
        self.rows = drawing.rows
        if self._subtitled:
            return [title, text_line(drawing.about, width, "dim"), *drawing.lines]
        return [title, *drawing.lines]

    def _untitled(self, drawing: Drawing, width: int) -> list[Line]:
        """Return the rows of a panel without a title row; the marks of focus and of hidden rows go into the body."""
        lines = list(drawing.lines)
        if lines and (mark := self._mark(drawing)):
            key = "" if self.focused else f": {self._key(self.id)}"
            lines[-1] = marked_end(lines[-1], width - 1, mark + key)
        return [_focus_marked(lines[0]), *lines[1:]] if self.focused and lines else lines

    def _drawing(self, width: int, height: int) -> Drawing:
        """Draw the body, unless the view that was just assigned shows nothing new."""
        if placeholder := self.placeholder():
            self._drawn.clear()
            return empty(width, height, placeholder)
        if not self.unchanged:
            self._drawn.clear()
        self.unchanged = False
        return self._cached(width, height)

    def _cached(self, width: int, height: int) -> Drawing:
        """Return the drawing of the body, cached since the last change; or the reason why there is no view."""
        state = (width, height, self.first, self.focused, self.cache_key)
        if state not in self._drawn:
            why = clean(self.why)
            self._drawn[state] = empty(width, height, why) if why else self.draw(width, height)
        return self._drawn[state]

    def title_line(self, width: int, drawing: Drawing) -> tuple[Line, bool]:
        """Draw the title row: the tabs, the subtitle, and how much is hidden.

        Returns:
            The row, and whether the subtitle, if any, fits in it.
        """
        row, names = Row(width), self.tabs or (self.id,)
        mark = self._mark(drawing, width)
        start, end = self._visible_tabs(width - (len(mark) + 2 if mark else 0))
        self._tab_ends = []
        for name in names[start:end]:
            number = f"{self._key(name)} " if self.tabs else ""
            if name == self.id:
                row.add("▌" if self.focused else " ", "now").add(number + self.title, "bright").add(" ")
            else:
                row.add(" ").add(number, "key").add(f"{heading(name)} ", "dim")
            self._tab_ends.append((row.at, name))
        if end - start < len(names):
            row.add(f"+{len(names) - (end - start)}", "dim")
        if self.badge:
            row.add(" ").add(f" {self.badge} ", "odd")
        right, about = width - 1 - (len(mark) + 2 if mark else 0), drawing.about
        fits = not about or right - row.at - 1 >= (len(about) if self.tabs else min(len(about), 12))
        if about and fits:
            row.to(row.at + 1).right(right, about, "dim")
        return row.right(width - 1, mark, "key").line(), fits

    def _mark(self, drawing: Drawing, width: int = 0) -> str:
        """Return how much is hidden; the longest wording that fits in a title row of `width` cells (0: no limit)."""
        if not drawing.mark():
            return ""
        larger = "" if self.maximised else self._key("maximise")
        own = len(self.title) + 8 + (len(self.badge) + 3 if self.badge else 0)
        marks = [drawing.mark(*how) for how in ((larger,), (larger, ""), (), ("", ""))]
        # next to other tabs, the subtitle can move to a row of the body
        wanted = [own + len(drawing.about), own] if not self.tabs else [own]
        fitting = (mark for taken in wanted for mark in marks if not width or taken + len(mark) <= width)
        return next(fitting, marks[-1])

    def _visible_tabs(self, width: int) -> tuple[int, int]:
        """Return the slice of the tabs that fits, this panel's among them.

        It begins at the first as long as that leaves room for this panel's.
        """
        names = self.tabs or (self.id,)
        if len(names) == 1 or self.id not in names:
            return 0, len(names)
        cells = [len(self._key(name)) + len(heading(name)) + 3 for name in names]
        room = width - (len(self.badge) + 3 if self.badge else 0)
        if sum(cells) <= room:
            return 0, len(names)
        own, room = names.index(self.id), room - 4
        start = next((i for i in range(own) if sum(cells[i : own + 1]) <= room), own)
        end = own + 1
        while end < len(names) and sum(cells[start : end + 1]) <= room:
            end += 1
        return start, end

    def ground_of(self, y: int) -> str:
        """Return the background of a row: the title row has its own."""
        return "title" if y == 0 and self.titled else "panel"

    def _key(self, name: str) -> str:
        return self.keyboard.key(name).shown

    # -- the mouse ----------------------------------------------------------------------------------------------------
    def click(self, event: events.Click) -> None:
        """Focus the row that was clicked, or the panel whose tab was; a double click on the title row maximises."""
        name = next((name for end, name in self._tab_ends if event.x < end), self.id)
        if event.y or not self.titled:
            self.surface.post_message(self.Focused(self, event.y - self.titled - self._subtitled))
        elif name != self.id:
            self.surface.post_message(self.Named(name))
        else:
            self.surface.post_message(self.Doubled() if event.chain == 2 else self.Focused(self, -1))

    def wheel(self, rows: int) -> None:
        """Scroll; the screen then requests what came into view."""
        self.scroll_rows(rows)
        self.redraw()
        self.surface.screen.check_idle()


class PanelSurface(Surface):
    """The widget that a panel is drawn on."""

    def __init__(self, panel: Panel[Any]) -> None:
        super().__init__(panel.id)
        self._panel = panel

    def compose_lines(self, width: int, height: int) -> list[Line]:
        """Draw the panel."""
        return self._panel.compose_lines(width, height)

    def ground_of(self, y: int) -> str:
        """Return the background of a row."""
        return self._panel.ground_of(y)

    def click(self, event: events.Click) -> None:
        """Hand a click to the panel."""
        self._panel.click(event)

    def wheel(self, rows: int) -> None:
        """Scroll the panel."""
        self._panel.wheel(rows)

    def resized(self) -> None:
        """Have the panel adapt."""
        self._panel.resized()


def _focus_marked(line: Line) -> Line:
    """Return the first row of a panel that has no title row, with the mark of focus at its left."""
    blank = line.spans[0].text if line.spans else ""
    if not blank.startswith(" "):
        return line
    return Line((Span("▌", "now"), Span(blank[1:], line.spans[0].tone), *line.spans[1:]), line.here)
