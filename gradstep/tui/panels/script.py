"""The panel *Script*: the open `.steps` file, with the next line and the errors."""

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
"""Minimum width for wrapped narration."""


class OpenScript(NamedTuple):
    """An open script and its progress."""

    name: str
    text: Sequence[str]
    """The lines of the file."""
    next: int = 0
    """The number of the next line, from 1; 0 at the end."""
    done: frozenset[int] = frozenset()
    """The numbers of the lines that have run."""
    problems: Mapping[int, Problem] = {}
    """The errors by line number."""


def draw(
    script: OpenScript | None, width: int, height: int, first: int = -1, keyboard: Keyboard = DEFAULT_KEYS
) -> Drawing:
    """Draw the script from its row `first` on; -1 centres the next line."""
    if script is None:
        return Drawing("", paragraph("No script is open: gradstep FILE.steps opens one.", width, "dim")[:height])
    lines: list[Line] = []
    centre = 0
    for number, text in enumerate(script.text, 1):
        if number == script.next:
            centre = len(lines)
        lines += _lines(script, number, text, width)
        if number in script.problems:
            lines += problem_lines(script.problems[number], width, keyboard=keyboard)
            if not script.next:
                centre = len(lines) - 1
    if not script.next and not script.problems:
        centre = len(lines)
    start, end = window(len(lines), centre - height // 2 if first < 0 else first, height)
    place = f"line {script.next} of {len(script.text)}" if script.next else "at its end"
    return Drawing(f"{clean(script.name)}  {place}", lines[start:end], len(lines), start, end - start)


def _lines(script: OpenScript, number: int, text: str, width: int) -> list[Line]:
    """Draw a line of the file; narration is rendered and wrapped."""
    here, failed = number == script.next, number in script.problems
    row = cursor(Row(width, here), here)
    row.left(1, "✗" if failed else "✓" if number in script.done else " ", "bad" if failed else "good")
    row.right(3 + len(str(len(script.text))), str(number), "dim").add("  ")
    told = text.lstrip().startswith(("say ", "#"))
    tone = "bright" if here else "dim" if told and number not in script.done else "text"
    if not text.startswith("say ") or width - row.at < _LEAST:
        return [row.add(clean(text), tone).line()]
    first, *others = markdown_lines(text.removeprefix("say "), width - row.at + GUTTER, tone)
    start = (Span(" " * row.at),)
    return [
        Line((*row.spans, *first.spans[1:]), here),
        *(Line((*start, *line.spans[1:]), here) for line in others),
    ]


class ScriptPanel(Panel[NoView]):
    """The open script; it follows the next line until it is scrolled."""

    title = "Script"
    help_text = "The open script. ▶ is the line that runs next, ✓ has run, ✗ failed."

    def __init__(self) -> None:
        super().__init__("script")
        self.script: OpenScript | None = None
        self._follows = True

    def show(self, script: OpenScript) -> None:
        """Show the script at its next line."""
        self.script, self._follows = script, True

    @property
    def timeless(self) -> bool:
        """Always True: the panel is about the whole session."""
        return True

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        return draw(self.script, width, height, -1 if self._follows else self.first, self.keyboard)

    def scroll_rows(self, rows: int) -> None:
        """Scroll; the next line is then no longer followed."""
        if self._follows and self.script is not None:
            self.first = max(0, self.script.next - 1 - self.body // 2)
            self._follows = False
        super().scroll_rows(rows)
