"""The help: every key from the keymap, every command from the words of the steps language."""

from __future__ import annotations

from itertools import groupby
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from gradstep.tui.keymap import KEYMAP
from gradstep.tui.lines import Line, Row, text_line, wrap
from gradstep.tui.panels.drawing import Drawing, window
from gradstep.tui.panels.panel import Panel
from gradstep.values.views import Request

CONSOLE: tuple[tuple[str, str], ...] = (
    ("save FILE.steps", "Write the session so far as a script that replays it; save! overwrites a file."),
    ("help", "Show every key and every command."),
    ("quit", "Quit, and keep the session for gradstep --last."),
)
"""Commands of the screen's own, which are no lines of a script."""


def help_lines(width: int) -> list[Line]:
    """Return the whole help as rows."""
    from gradstep.steps.words import WORDS

    lines: list[Line] = []
    for group, keys in groupby(KEYMAP, lambda key: key.group):
        lines.append(text_line(group, width, "bright"))
        lines += [line for k in keys for line in _entry(k.shown, k.help, width, 12)] + [Line()]
    lines.append(text_line("At : and in .steps scripts", width, "bright"))
    indent = 36 if width >= 90 else 30
    lines += [line for word in WORDS for line in _entry(word.usage, word.help, width, indent)]
    lines += [Line(), text_line("At : only", width, "bright")]
    return lines + [line for usage, text in CONSOLE for line in _entry(usage, text, width, indent)]


def _entry(name: str, text: str, width: int, indent: int) -> list[Line]:
    first, *more = wrap(text, max(10, width - 5 - indent))
    lines = [Row(width).left(4, name, "key", indent - 2).left(4 + indent, first, "text").line()]
    return lines + [text_line(part, width, indent=4 + indent) for part in more]


class HelpPanel(Panel):
    """The help as rows that scroll."""

    title = "Help"

    def request(self) -> Request | None:
        """Ask for nothing."""
        return None

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the rows from the first visible one on."""
        lines = help_lines(width)
        start, end = window(len(lines), self.first, height)
        return Drawing("esc closes, ↑↓ scroll", lines[start:end], len(lines))


class HelpScreen(ModalScreen[None]):
    """The help over the whole screen."""

    DEFAULT_CSS = "HelpScreen { background: $background; } HelpScreen > #help { width: 1fr; height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,f1,ctrl+c", "dismiss", "close", show=False, priority=True),
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown,space", "page(1)", show=False),
    ]

    def compose(self) -> ComposeResult:
        """Show the one panel."""
        yield HelpPanel("help")

    def action_move(self, rows: int) -> None:
        """Scroll by rows."""
        panel = self.query_one(HelpPanel)
        panel.scroll_rows(rows)
        panel.redraw()

    def action_page(self, pages: int) -> None:
        """Scroll by pages."""
        self.action_move(pages * max(1, self.query_one(HelpPanel).body - 1))
