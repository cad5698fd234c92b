"""The widget that everything on the screen is drawn on: rows of lines, repainted only where they changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import zip_longest
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from gradstep.tui.keys.keyboard import DEFAULT_KEYS
from gradstep.tui.render.glyphs import ASCII, ascii_of
from gradstep.tui.render.lines import Line, cell_len
from gradstep.tui.render.tones import style

_segment: Callable[[tuple[str, Style, None]], Segment] = partial(tuple.__new__, Segment)
"""As `Segment(...)`, which calls a function of Python."""


def strip_of(line: Line, width: int, ground: str, theme: str, ascii_only: bool = False) -> Strip:
    """Return a line as the strip that Textual paints, `width` cells wide."""
    ground = "here" if line.here else ground
    spans = [(ascii_of(text), tone) for text, tone in line.spans] if ascii_only else line.spans
    segments = [_segment((text, style(tone, ground, theme), None)) for text, tone in spans]
    cells = sum(map(cell_len, [text for text, _ in line.spans]))
    if cells < width:
        segments.append(Segment(" " * (width - cells), style("text", ground, theme)))
    strip = Strip(segments, max(cells, width))
    return strip if cells <= width else strip.crop(0, width)


class Surface(Widget):
    """A widget that shows a list of lines; a repaint touches only the rows that differ."""

    DEFAULT_CSS = "Surface { width: auto; height: auto; }"
    ground: ClassVar[str] = "screen"
    keyboard = DEFAULT_KEYS
    """The key bindings, for texts that name keys."""

    def __init__(self, name: str) -> None:
        super().__init__(id=name)
        self.lines: list[Line] = []
        """The lines as they were last drawn."""
        self._strips: dict[int, Strip] = {}
        """Painted rows, kept until their line changes."""
        self._drawn_at = (0, 0, "")
        """Size and theme of the last drawing."""

    def compose_lines(self, width: int, height: int) -> list[Line]:
        """Return the lines to show; at most `height` of them are used."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Draw again, and have the rows that differ painted with the next frame."""
        self.repaint(self.redrawn())

    def redrawn(self, size: Size | None = None) -> Sequence[int]:
        """Draw again, and return the rows that differ from what is painted; pass `size` where it is known."""
        width, height = size or self.size
        if width <= 0 or height <= 0:
            return ()
        lines = self.compose_lines(width, height)[:height]
        old, self.lines = self.lines, lines
        at = (width, height, self.app.theme)
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
            self.refresh()
        elif rows:
            self.refresh(*(Region(0, y, width, 1) for y in rows))

    def strips(self, rows: Iterable[int], width: int) -> list[Strip]:
        """Return rows as strips, `width` cells wide; each strip is built once."""
        look = (self.app.theme, self.app.has_class(ASCII))
        return [self._strips.get(y) or self._strip(y, width, *look) for y in rows]

    def _strip(self, y: int, width: int, theme: str, ascii_only: bool) -> Strip:
        line = self.lines[y] if y < len(self.lines) else Line()
        strip = self._strips[y] = strip_of(line, width, self.ground_of(y), theme, ascii_only)
        return strip

    def ground_of(self, _y: int) -> str:
        """Return the name of the background of a row."""
        return self.ground

    def click(self, event: events.Click) -> None:
        """Handle a click."""

    def wheel(self, rows: int) -> None:
        """Scroll by `rows`, negative for up."""

    def resized(self) -> None:
        """Adapt to a new size, before it is drawn for."""

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return painted rows, without what Textual's styles could add (border, tint): none is used here."""
        width = self.size.width
        strips = self.strips(range(crop.y, crop.bottom), width)
        whole = crop.x == 0 and crop.right == width
        return strips if whole else [strip.crop(crop.x, crop.right) for strip in strips]

    def on_resize(self) -> None:
        """Draw for the new size; the screen requests the views that it needs."""
        self.resized()
        self.redraw()
        self.screen.check_idle()

    def on_click(self, event: events.Click) -> None:
        """Handle a click."""
        self.click(event)

    def on_mouse_scroll_down(self) -> None:
        """Scroll down by three rows."""
        self.wheel(3)

    def on_mouse_scroll_up(self) -> None:
        """Scroll up by three rows."""
        self.wheel(-3)
