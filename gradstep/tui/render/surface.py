"""The base of all that is seen: rows of lines, painted only where they changed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from gradstep.tui.keys.keyboard import AS_IT_COMES
from gradstep.tui.render.glyphs import ASCII, ascii_of
from gradstep.tui.render.lines import Line, cell_len
from gradstep.tui.render.tones import style


def strip_of(line: Line, width: int, ground: str, theme: str, ascii_only: bool = False) -> Strip:
    """Turn a line into what Textual paints."""
    ground = "here" if line.here else ground
    written = ascii_of if ascii_only else str
    segments = [Segment(written(text), style(tone, ground, theme)) for text, tone in line.spans]
    cells = sum(cell_len(text) for text, _ in line.spans)
    if cells < width:
        segments.append(Segment(" " * (width - cells), style("text", ground, theme)))
    strip = Strip(segments, max(cells, width))
    return strip if cells <= width else strip.crop(0, width)


class Surface:
    """A list of lines that a widget shows; a repaint touches only the lines that are new."""

    ground: ClassVar[str] = "panel"
    keyboard = AS_IT_COMES
    """The keys as they are bound, for what names them."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.widget = SurfaceWidget(self)
        """What Textual has of it."""
        self._lines: list[Line] = []
        self._strips: dict[int, Strip] = {}
        """Rows as they are painted, for as long as they stay as they are."""
        self._drawn_at = (0, 0, "")
        """Size and theme of what is drawn."""

    @property
    def size(self) -> Size:
        """Columns and rows that there are for it; 0 while it is not in sight."""
        return self.widget.size

    def compose_lines(self, width: int, height: int) -> list[Line]:
        """Return the lines to show; overridden by what is on the surface."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw again, and have the rows that differ painted with the next frame."""
        self.repaint(self.redrawn())

    def redrawn(self) -> Sequence[int]:
        """Draw again, and return the rows that differ from what is painted."""
        width, height = self.size
        if width <= 0 or height <= 0:
            return ()
        lines = self.compose_lines(width, height)[:height]
        old, self._lines = self._lines, lines
        at = (width, height, self.widget.app.theme)
        if self._drawn_at != at:
            self._drawn_at = at
            self._strips.clear()
            return range(height)
        pairs = enumerate(zip_longest(old, lines, fillvalue=Line()))
        changed = [y for y, (before, now) in pairs if before != now and y < height]
        for y in changed:
            self._strips.pop(y, None)
        return changed

    def repaint(self, rows: Sequence[int]) -> None:
        """Have rows painted with the next frame."""
        width, height = self.size
        if len(rows) == height > 0:
            self.widget.refresh()
        elif rows:
            self.widget.refresh(*(Region(0, y, width, 1) for y in rows))

    def strips(self, rows: Iterable[int]) -> list[Strip]:
        """Return rows as they are painted; each is made once."""
        width, app = self.size.width, self.widget.app
        looks = (app.theme, app.has_class(ASCII))
        return [self._strips.get(y) or self._strip(y, width, *looks) for y in rows]

    def _strip(self, y: int, width: int, theme: str, ascii_only: bool) -> Strip:
        line = self._lines[y] if y < len(self._lines) else Line()
        strip = self._strips[y] = strip_of(line, width, self.ground_of(y), theme, ascii_only)
        return strip

    def ground_of(self, _y: int) -> str:
        """Name the ground of a row."""
        return self.ground

    def click(self, event: events.Click) -> None:
        """Take a click of the mouse."""

    def wheel(self, rows: int) -> None:
        """Take a turn of the mouse's wheel."""

    def resized(self) -> None:
        """Take note of a new size before it is drawn for."""


class SurfaceWidget(Widget):
    """What Textual has of a surface: a place on the screen that is painted, clicked and resized."""

    DEFAULT_CSS = "SurfaceWidget { width: auto; height: auto; }"

    def __init__(self, surface: Surface) -> None:
        super().__init__(id=surface.id)
        self._surface = surface

    def render_lines(self, crop: Region) -> list[Strip]:
        """Paint rows. Nothing that Textual's styles add to a row (border, tint) is in use here."""
        strips = self._surface.strips(range(crop.y, crop.bottom))
        whole = crop.x == 0 and crop.right == self.size.width
        return strips if whole else [strip.crop(crop.x, crop.right) for strip in strips]

    def on_resize(self) -> None:
        """Draw for the new size; the screen asks for what fits it."""
        self._surface.resized()
        self._surface.redraw()
        self.screen.check_idle()

    def on_click(self, event: events.Click) -> None:
        """Hand a click on."""
        self._surface.click(event)

    def on_mouse_scroll_down(self) -> None:
        """Hand three rows on."""
        self._surface.wheel(3)

    def on_mouse_scroll_up(self) -> None:
        """Hand three rows on."""
        self._surface.wheel(-3)
