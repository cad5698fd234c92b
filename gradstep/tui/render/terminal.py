"""The terminal of a script as rows: what it printed, its colours and cursor, and the rows that scrolled off."""

from __future__ import annotations

import unicodedata
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import groupby
from typing import Any

import pyte
from pyte import modes
from pyte.screens import Char, Margins

from gradstep.tui.render.lines import Line, Span, cell_len

SCROLLBACK = 10_000
"""Rows kept after they have scrolled off."""
BACKLOG = 1 << 18
"""Characters that may wait to be drawn; of more, the oldest are skipped."""
_CHUNK = 4096
_ALTERNATE = {47 << 5, 1047 << 5, 1049 << 5}
"""The modes of a second buffer (xterm control sequences, DECSET), as pyte numbers private modes."""
_DECCOLM = 3
_STYLES: dict[Char, str] = {}


class Emulator:
    """Draws text as a terminal would. Text waits until `draw` is called: nothing that is printed can block the screen.

    Args:
        answer: receives the terminal's replies to queries of the program, such as the position of the cursor.
    """

    def __init__(self, columns: int = 80, rows: int = 24, answer: Callable[[str], object] = lambda _: None) -> None:
        self._screen = _Screen(columns, rows, answer)
        guarded: Any = _Forgiving(self._screen)
        self._stream = pyte.Stream(guarded)
        self._waiting: deque[str] = deque()
        self._backlog = 0
        self._skipped = 0

    def write(self, text: str) -> None:
        """Queue what a program printed."""
        self._waiting.extend(text[at : at + _CHUNK] for at in range(0, len(text), _CHUNK))
        self._backlog += len(text)
        while self._backlog > BACKLOG:
            self._skipped += len(self._waiting[0])
            self._backlog -= len(self._waiting.popleft())

    def draw(self, goes_on: Callable[[], bool] = lambda: True) -> bool:
        """Draw the queued text while `goes_on` returns True; return whether all of it was drawn."""
        while self._waiting:
            if self._skipped:
                self.note(f"{self._skipped:,} characters skipped: printed faster than they can be drawn")
                self._skipped = 0
                self._cut_to_line()
                continue
            text = self._waiting.popleft()
            self._backlog -= len(text)
            self._stream.feed(text)
            if not goes_on():
                break
        return not self._waiting

    def note(self, text: str) -> None:
        """Write a line from gradstep, on a row by itself."""
        self._screen.reset_attributes()
        fresh = "\r\n" if self._screen.cursor.x else ""
        self._stream.feed(f"{fresh}\x1b[0;2m\x1b[7m {text} \x1b[0m\r\n")

    def resize(self, columns: int, rows: int) -> None:
        """Change the size. No text is lost: rows that do not fit scroll off, and come back when there is room."""
        self._screen.resize(max(rows, 1), max(columns, 1))

    @property
    def rows(self) -> int:
        """Rows that scrolled off, and those of the terminal down to the last one in use."""
        return len(self._screen.scrolled) + self._screen.used

    @property
    def cursor(self) -> tuple[int, int] | None:
        """Row and column of the cursor; None while the program hides it."""
        cursor = self._screen.cursor
        return None if cursor.hidden else (len(self._screen.scrolled) + cursor.y, cursor.x)

    @property
    def keypad(self) -> bool:
        """True when the program asked for the application's form of the cursor keys."""
        return 1 << 5 in self._screen.mode

    def row(self, number: int) -> tuple[Span, ...]:
        """Return a row, counted from the oldest."""
        scrolled = len(self._screen.scrolled)
        return self._screen.scrolled[number] if number < scrolled else self._screen.spans(number - scrolled)

    def _cut_to_line(self) -> None:
        """Drop the rest of a line whose beginning was skipped."""
        while self._waiting:
            text = self._waiting.popleft()
            self._backlog -= len(text)
            _, end, rest = text.partition("\n")
            if end:
                self._waiting.appendleft(rest)
                self._backlog += len(rest)
                return


class _Screen(pyte.Screen):
    """pyte's screen, with scrollback, a second buffer, sizes that lose no text, and less work for plain text."""

    def __init__(self, columns: int, lines: int, answer: Callable[[str], object]) -> None:
        self.scrolled: deque[tuple[Span, ...]] = deque(maxlen=SCROLLBACK)
        self._answer = answer
        self._main: tuple[Any, Any] | None = None
        """Rows and cursor of the first buffer, while the second one is shown."""
        self._cells: dict[str, Char] = {}
        self._cells_of: Char | None = None
        super().__init__(columns, lines)

    def reset(self) -> None:
        """Reset the terminal; what scrolled off stays."""
        super().reset()
        self._main = None

    def reset_attributes(self) -> None:
        """Reset the buffer, scrolling region and character set that a program may have left switched."""
        self.reset_mode(*(mode >> 5 for mode in _ALTERNATE & self.mode), private=True)
        self.set_margins()
        self.charset = 0
        self.g0_charset = pyte.charsets.LAT1_MAP

    def write_process_input(self, data: str) -> None:
        """Reply to a query."""
        self._answer(data)

    @property
    def used(self) -> int:
        """Rows down to the last one with text or the cursor on it."""
        filled = [y for y, line in self.buffer.items() if y < self.lines and any(c.data != " " for c in line.values())]
        return max([self.cursor.y, *filled]) + 1

    def spans(self, y: int) -> tuple[Span, ...]:
        """Return a row of the terminal."""
        return _spans(self.buffer[y]) if y in self.buffer else ()

    # -- text ----------------------------------------------------------------------------------------------------------
    def draw(self, data: str) -> None:
        """Write text at the cursor; ASCII without the cost of pyte's work for wide and combining characters."""
        if (
            not data.isascii()
            or self.charset
            or self.g0_charset is not pyte.charsets.LAT1_MAP
            or modes.IRM in self.mode
        ):
            super().draw(data)
            return
        attributes, cursor = self.cursor.attrs, self.cursor
        if attributes is not self._cells_of:
            self._cells, self._cells_of = {}, attributes
        cells = self._cells
        while data:
            if cursor.x >= self.columns:
                if modes.DECAWM not in self.mode:
                    super().draw(data)
                    return
                self.carriage_return()
                self.linefeed()
            line, x = self.buffer[cursor.y], cursor.x
            piece, data = data[: self.columns - x], data[self.columns - x :]
            for x, char in enumerate(piece, x):  # noqa: B020
                cell = cells.get(char)
                if cell is None:
                    cell = cells[char] = attributes._replace(data=char)
                line[x] = cell
            cursor.x = x + 1

    def index(self) -> None:
        """Move down, or scroll; rows that scroll off the top are kept."""
        top, bottom = self.margins or Margins(0, self.lines - 1)
        if self.cursor.y == bottom and top == 0 and self._main is None:
            self.scrolled.append(self.spans(0))
        super().index()

    def erase_in_display(self, how: int = 0, *args: Any, **kwargs: Any) -> None:
        """Erase; 3 erases what scrolled off (xterm control sequences, ED)."""
        if how == 3:
            self.scrolled.clear()
        else:
            super().erase_in_display(how, *args, **kwargs)

    # -- sizes and buffers ---------------------------------------------------------------------------------------------
    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        """Change the size: rows move to what scrolled off, or back. Columns that do not fit are hidden, not dropped."""
        lines, columns = lines or self.lines, columns or self.columns
        up = max(0, self.used - lines)
        if self._main is None:
            for y in range(up):
                self.scrolled.append(self.spans(y))
        full = self._main is None and self.used == self.lines
        down = max(0, min(lines - self.lines, len(self.scrolled))) if full and not up else 0
        if up or down:
            kept = {y - up + down: line for y, line in self.buffer.items() if y >= up}
            self.buffer.clear()
            self.buffer.update(kept)
            self.cursor.y = max(0, self.cursor.y - up + down)
            for y in reversed(range(down)):
                self._restore(y, self.scrolled.pop())
        self.lines, self.columns = lines, columns
        self.margins = None
        self.cursor.x, self.cursor.y = min(self.cursor.x, columns), min(self.cursor.y, lines - 1)

    def _restore(self, y: int, spans: tuple[Span, ...]) -> None:
        line, x = self.buffer[y], 0
        for text, tone in spans:
            cell = _char_of(tone)
            for letter in text:
                if unicodedata.combining(letter) and x:
                    line[x - 1] = line[x - 1]._replace(data=line[x - 1].data + letter)
                    continue
                line[x] = cell._replace(data=letter)
                if cell_len(letter) == 2:
                    line[x + 1] = cell._replace(data="")
                x += max(1, cell_len(letter))

    def set_mode(self, *numbers: int, **kwargs: Any) -> None:
        """Switch modes on: the second buffer too; the width is the panel's."""
        private = bool(kwargs.get("private"))
        super().set_mode(*(n for n in numbers if not (private and n == _DECCOLM)), **kwargs)
        if private and self._main is None and _ALTERNATE & {n << 5 for n in numbers}:
            self._main = dict(self.buffer), (self.cursor.x, self.cursor.y)
            self.buffer.clear()

    def reset_mode(self, *numbers: int, **kwargs: Any) -> None:
        """Switch modes off: of the second buffer, the first one is shown again."""
        private = bool(kwargs.get("private"))
        super().reset_mode(*(n for n in numbers if not (private and n == _DECCOLM)), **kwargs)
        if private and self._main is not None and _ALTERNATE & {n << 5 for n in numbers}:
            rows, (x, y) = self._main
            self._main = None
            self.buffer.clear()
            self.buffer.update(rows)
            self.cursor.x, self.cursor.y = min(x, self.columns), min(y, self.lines - 1)


class _Forgiving:
    """Passes a stream's calls to a screen; ignores control sequences that pyte fails on."""

    def __init__(self, screen: _Screen) -> None:
        self._screen = screen

    def __getattr__(self, name: str) -> Any:
        do = getattr(self._screen, name)

        def call(*args: Any, **kwargs: Any) -> None:
            with suppress(Exception):
                do(*args, **kwargs)

        return call if callable(do) else do


def _spans(line: Any) -> tuple[Span, ...]:
    """Return the cells of a row as spans, without the blanks at its end."""
    last = max(line, default=-1)
    cells = [line[x] for x in range(last + 1)]
    while cells and cells[-1].data == " " and cells[-1].bg == "default" and not cells[-1].reverse:
        cells.pop()
    return tuple(Span("".join(cell.data for cell in group), tone) for tone, group in groupby(cells, _tone))


def _tone(cell: Char) -> str:
    """Return the tone of a cell: `ansi:FOREGROUND:BACKGROUND:ATTRIBUTES`, or `text` for one without."""
    key = cell._replace(data="")
    tone = _STYLES.get(key)
    if tone is None:
        if len(_STYLES) > 10_000:  # a program that goes through all colours
            _STYLES.clear()
        letters = "".join(letter for letter, on in zip("biusrk", cell[3:], strict=False) if on)
        plain = (cell.fg, cell.bg, letters) == ("default", "default", "")
        tone = _STYLES[key] = "text" if plain else f"ansi:{cell.fg}:{cell.bg}:{letters}"
    return tone


def _char_of(tone: str) -> Char:
    """Return a cell of a tone, the inverse of `_tone`."""
    if tone == "text":
        return Char(" ")
    _, fg, bg, letters = tone.split(":")
    return Char(" ", fg, bg, *(letter in letters for letter in "biusrk"))


def cropped(spans: tuple[Span, ...], left: int, width: int, cursor: int = -1) -> Line:
    """Return a row from column `left` on; the cell at column `cursor` is drawn in reverse."""
    room = width - sum(len(text) for text, _ in spans)
    if left == 0 and cursor < 0 and room >= 0 and all(text.isascii() for text, _ in spans):
        return Line((*spans, Span(" " * room)) if room else spans)
    cells = [(letter, tone) for text, tone in spans for letter in _clusters(text)]
    row: list[tuple[str, str]] = []
    at = 0
    for letter, tone in cells:
        size = cell_len(letter)
        if left <= at and at + size <= left + width:
            row.append((letter, _reversed(tone) if at <= cursor < at + size else tone))
        elif at < left < at + size or at < left + width < at + size:
            row.append((" ", tone))
        at += size
    if at <= cursor < left + width:
        row += [(" ", "text")] * (cursor - max(at, left)) + [(" ", _reversed("text"))]
        at = cursor + 1
    row += [(" ", "text")] * (left + width - max(at, left))
    return Line(
        tuple(Span("".join(letter for letter, _ in group), tone) for tone, group in groupby(row, lambda c: c[1]))
    )


def _clusters(text: str) -> list[str]:
    """Return the characters of a text, each with the marks that combine with it."""
    found: list[str] = []
    for letter in text:
        if found and (unicodedata.combining(letter) or not cell_len(letter)):
            found[-1] += letter
        else:
            found.append(letter)
    return found


def _reversed(tone: str) -> str:
    char = _char_of(tone)
    return _tone(char._replace(reverse=not char.reverse))
