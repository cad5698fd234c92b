"""Lines of the screen as plain values: text in spans, each with a tone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

from rich.cells import cell_len as _cell_len
from rich.cells import set_cell_size

from gradstep.values.plain import clean as clean


class Span(NamedTuple):
    """A piece of text with its tone, one of those in `tones.py`."""

    text: str
    tone: str = "text"


_span: Callable[[tuple[str, str]], Span] = partial(tuple.__new__, Span)
"""As `Span(...)`, which calls a function of Python: hundreds are made at a stop."""


@lru_cache(maxsize=512)
def _blanks(cells: int) -> Span:
    return Span(" " * cells)


class Line(NamedTuple):
    """One row of a panel."""

    spans: tuple[Span, ...] = ()
    here: bool = False
    """True if the cursor of the panel is on this row."""

    @property
    def plain(self) -> str:
        """The row as plain text."""
        return "".join(span.text for span in self.spans)


def cell_len(text: str) -> int:
    """Return the width of a text in cells; for ASCII, which is most common, that is its length."""
    return len(text) if text.isascii() else _cell_len(text)


def fit(text: str, width: int, ellipsis: str = "…") -> str:
    """Return `text` cut to at most `width` cells, with an ellipsis at the end if it was cut."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)) + ellipsis


def fit_middle(text: str, width: int) -> str:
    """Return `text` cut in the middle to at most `width` cells: names often differ only at their ends."""
    if cell_len(text) <= width or width < 5:
        return fit(text, width)
    tail = width // 2
    return f"{set_cell_size(text, width - 1 - tail)}…{text[-tail:]}"


def fit_end(text: str, width: int) -> str:
    """Return the last `width` cells of `text`: the paths of a deep model differ there."""
    return text if cell_len(text) <= width or width < 2 else f"…{text[-(width - 1) :]}"


def wrap(text: str, width: int) -> list[str]:
    """Wrap `text` at spaces into lines of at most `width` cells; a longer word is split."""
    lines: list[str] = []
    for paragraph in map(clean, text.split("\n")):
        if cell_len(paragraph) <= width:
            lines.append(paragraph)
            continue
        current = ""
        for word in paragraph.split(" "):
            joined = f"{current} {word}" if current else word
            if cell_len(joined) <= width:
                current = joined
                continue
            if current:
                lines.append(current)
            while width > 0 and cell_len(word) > width:
                head = _head(word, width)
                lines.append(head)
                word = word[len(head) :]
            current = word
        lines.append(current)
    return lines


def _head(word: str, width: int) -> str:
    cells = 0
    for at, letter in enumerate(word):
        cells += cell_len(letter)
        if cells > width:
            return word[: max(at, 1)]
    return word


class Row:
    """Builds one row from left to right, from text placed at columns; text that does not fit is cut."""

    def __init__(self, width: int, here: bool = False) -> None:
        self.width = width
        self.here = here
        self.at = 0
        """The column after the last cell written."""
        self._spans: list[Span] = []

    @property
    def spans(self) -> tuple[Span, ...]:
        """What has been written so far."""
        return tuple(self._spans)

    def add(self, text: str, tone: str = "text") -> Row:
        """Append text."""
        room = self.width - self.at
        if text and room > 0:
            cells = len(text) if text.isascii() else cell_len(text)
            if cells > room:
                text = fit(text, room)
                cells = cell_len(text)
            self.at += cells
            if text[0] == " ":
                # blanks get a span of their own: an SVG would drop them at the start of a text
                inked = text.lstrip(" ")
                self._spans.append(_span((text[: len(text) - len(inked)], tone)))
                text = inked
            if text:
                self._spans.append(_span((text, tone)))
        return self

    def to(self, column: int) -> Row:
        """Pad with blanks up to `column`."""
        room = min(column, self.width) - self.at
        if room > 0:
            self._spans.append(_blanks(room))
            self.at += room
        return self

    def left(self, column: int, text: str, tone: str = "text", width: int | None = None) -> Row:
        """Write text from `column` on, cut to `width` cells."""
        if column > self.at:
            self.to(column)
        return self.add(text if width is None else fit(text, width), tone)

    def right(self, end: int, text: str, tone: str = "text") -> Row:
        """Write text right-aligned, ending before column `end`; cut to the room there is."""
        end = min(end, self.width)
        cells = len(text) if text.isascii() else cell_len(text)
        if cells > end - self.at:
            text = fit(text, end - self.at)
            cells = cell_len(text)
        return self.to(end - cells).add(text, tone)

    def line(self) -> Line:
        """Return the row, padded to its full width."""
        self.to(self.width)
        return Line(tuple(self._spans), self.here)


def fit_parts(parts: Sequence[str], room: int) -> str:
    """Return the parts that fit into `room` cells, joined, always with the first; `…` marks those left out."""
    text, whole = parts[0] if parts else "", "  ".join(parts)
    if cell_len(whole) <= room:
        return whole
    for part in parts[1:]:
        if cell_len(text) + 2 + cell_len(part) + 2 <= room:
            text += f"  {part}"
    return fit(f"{text} …" if cell_len(text) + 2 <= room else text, room)


def marked_end(line: Line, width: int, mark: str, tone: str = "key") -> Line:
    """Return a row with a mark at its right end, its text cut to make room."""
    row = Row(max(0, width - cell_len(mark) - 2))
    spans = list(line.spans)
    while spans and not spans[-1].text.strip():
        spans.pop()
    for text, own in spans:
        row.add(text, own)
    end = Row(width).right(width - row.width, mark, tone).line()
    return Line((*row.line().spans, *end.spans), line.here)


def text_line(text: str, width: int, tone: str = "text", indent: int = 2) -> Line:
    """Return a row that holds one piece of text."""
    return Row(width).left(indent, text, tone).line()


def plain(lines: Iterable[Line]) -> list[str]:
    """Return rows as plain strings without trailing blanks."""
    return [line.plain.rstrip() for line in lines]
