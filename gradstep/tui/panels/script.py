"""The panel *Script*: the text of the open `.steps` file, the line that comes next, and what failed where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gradstep.tui.keys.keyboard import DEFAULT_KEYS, Keyboard
from gradstep.tui.panels.panel import Panel
from gradstep.tui.panels.why import problem_lines
from gradstep.tui.render.drawing import GUTTER, Drawing, cursor, paragraph, window
from gradstep.tui.render.lines import Line, Row, Span, clean
from gradstep.tui.render.markdown import markdown_lines
from gradstep.values.outcomes import Problem
from gradstep.values.views import NoView

_LEAST = 16
"""Columns below which narration is one row of the file."""


class Page(NamedTuple):
    """An open script, as far as it has been run."""

    name: str
    text: Sequence[str]
    """The lines of the file."""
    next: int = 0
    """The line that runs next, from 1; 0 when the script is at its end."""
    done: frozenset[int] = frozenset()
    """Lines that have been run, from 1."""
    problems: Mapping[int, Problem] = {}
    """What went wrong, by line from 1."""


def draw(page: Page | None, width: int, height: int, first: int = -1, keyboard: Keyboard = DEFAULT_KEYS) -> Drawing:
    """Draw the script from its row `first` on; -1: so that the next line is in the middle."""
    if page is None:
        return Drawing("", paragraph("No script is open: gradstep FILE.steps opens one.", width, "dim")[:height])
    lines: list[Line] = []
    centre = 0
    for number, text in enumerate(page.text, 1):
        if number == page.next:
            centre = len(lines)
        lines += _lines(page, number, text, width)
        if number in page.problems:
            lines += problem_lines(page.problems[number], width, keyboard=keyboard)
            if not page.next:
                centre = len(lines) - 1
    if not page.next and not page.problems:
        centre = len(lines)
    start, end = window(len(lines), centre - height // 2 if first < 0 else first, height)
    place = f"line {page.next} of {len(page.text)}" if page.next else "at its end"
    return Drawing(f"{clean(page.name)}  {place}", lines[start:end], len(lines), start, end - start)


def _lines(page: Page, number: int, text: str, width: int) -> list[Line]:
    """Draw a line of the file; of narration, as it reads, as many rows as it takes."""
    here, failed = number == page.next, number in page.problems
    row = cursor(Row(width, here), here)
    row.left(1, "✗" if failed else "✓" if number in page.done else " ", "bad" if failed else "good")
    row.right(3 + len(str(len(page.text))), str(number), "dim").add("  ")
    told = text.lstrip().startswith(("say ", "#"))
    tone = "bright" if here else "dim" if told and number not in page.done else "text"
    if not text.startswith("say ") or width - row.at < _LEAST:
        return [row.add(clean(text), tone).line()]
    first, *others = markdown_lines(text.removeprefix("say "), width - row.at + GUTTER, tone)
    start = (Span(" " * row.at),)
    return [
        Line((*row.spans, *first.spans[1:]), here),
        *(Line((*start, *line.spans[1:]), here) for line in others),
    ]


class ScriptPanel(Panel[NoView]):
    """The open script; it follows the line that comes next until it is scrolled."""

    title = "Script"
    help_text = "The open script. ▶ is the line that runs next, ✓ has run, ✗ failed."

    def __init__(self) -> None:
        super().__init__("script")
        self.page: Page | None = None
        self._follows = True

    def turn(self, page: Page) -> None:
        """Take the script as it stands now, and go to the line that comes next."""
        self.page, self._follows = page, True

    @property
    def timeless(self) -> bool:
        """Always True: the panel is about the whole session."""
        return True

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        return draw(self.page, width, height, -1 if self._follows else self.first, self.keyboard)

    def scroll_rows(self, rows: int) -> None:
        """Scroll away from the next line."""
        if self._follows and self.page is not None:
            self.first = max(0, self.page.next - 1 - self.body // 2)
            self._follows = False
        super().scroll_rows(rows)
