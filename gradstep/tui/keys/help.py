"""The help: the focused panel, every key as bound, and every command."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from gradstep.tui.keys.keyboard import Keyboard
from gradstep.tui.keys.table.key import Key
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.drawing import Drawing, heading, paragraph, window
from gradstep.tui.render.lines import Line, Row, text_line, wrap
from gradstep.values.views import NoView


def topics() -> list[str]:
    """Return the commands that the help lists."""
    from gradstep.steps.language.words import WORDS
    from gradstep.tui.commands.screen_commands import SCREEN_WORDS

    return [each.word for each in (*WORDS, *SCREEN_WORDS)]


PATH: tuple[tuple[str, str], ...] = (
    ("●", "the phase that just ran: the screen shows its result"),
    ("✓", "ran earlier, since the last zero_grad"),
    ("▶", "running, or stopped inside"),
)
"""The marks of the phases row."""


def help_lines(width: int, keyboard: Keyboard, panel: Panel[Any] | None = None) -> list[Line]:
    """Return the help as rows, with the given panel first."""
    from gradstep.steps.language.words import WORDS
    from gradstep.tui.commands.screen_commands import SCREEN_WORDS

    lines = panel_lines(width, keyboard, panel) if panel is not None else []
    for group, keys in groupby(keyboard.keys, lambda key: key.group):
        general = [key for key in keys if not key.panel]
        lines += [text_line(group, width, "bright"), *_entries(general, width), Line()]
    for name in dict.fromkeys(
        key.panel for key in keyboard.keys if key.panel and (panel is None or key.panel != panel.id)
    ):
        own = [key for key in keyboard.keys if key.panel == name]
        lines += [text_line(f"In {heading(name)}", width, "bright"), *_entries(own, width), Line()]
    lines += [
        text_line("The phases, below the status line", width, "bright"),
        *(line for mark, text in PATH for line in _entry(mark, text, width, 12)),
        Line(),
        text_line("In a training script", width, "bright"),
        *paragraph(_script(keyboard), width, "text", 4),
        Line(),
        text_line("A number before a key", width, "bright"),
        *paragraph(_counts(keyboard), width, "text", 4),
        Line(),
    ]
    lines.append(text_line(f"At {keyboard.key('command').shown} and in .steps scripts", width, "bright"))
    indent = 36 if width >= 90 else 30
    lines += [line for word in WORDS for line in _entry(word.usage, word.help, width, indent)]
    lines += [Line(), text_line(f"At {keyboard.key('command').shown} only", width, "bright")]
    return lines + [line for word in SCREEN_WORDS for line in _entry(word.usage, word.help, width, indent)]


def _script(keyboard: Keyboard) -> str:
    phases = " ".join(keyboard.key(name).shown for name in ("forward", "backward", "step", "zero_grad"))
    keys = {key.id: key.shown for key in keyboard.keys}
    return (
        f"{phases} run it to the end of its next phase of that name, {keys['natural']} to the end of the next phase, "
        f"{keys['next_batch']} to the next iteration, {keys['go_on']} to a breakpoint or its end, and "
        f"{keyboard.named('pause')} pauses it. It cannot be run backward: {keys['timeline']} shows the recorded stops, "
        f"{keys['hold']} copies model, optimizer, batch and loss into a workload that can go back (again: back to the "
        f"script), and {keys['restart']} runs it again, with the same breakpoints. What it prints is in Output; "
        f"{keys['output']} types into it when it waits for input."
    )


def _counts(keyboard: Keyboard) -> str:
    return (
        f"10 {keyboard.key('natural').shown} repeats it ten times; {keyboard.key('pause').shown} stops, "
        f"{keyboard.key('go_on').shown} continues. It works before {' '.join(keyboard.counted)}. A digit by itself "
        "focuses a panel: it is a count when one of those keys follows at once."
    )


def panel_lines(width: int, keyboard: Keyboard, panel: Panel[Any]) -> list[Line]:
    """Return what a panel shows, how to read it, and its own keys."""
    own = [key for key in keyboard.keys if key.panel == panel.id]
    return [
        text_line(f"{panel.title}, the panel in focus", width, "bright"),
        *paragraph(
            panel.help_text.format_map({key.id: keyboard.named(key.id) for key in keyboard.keys}), width, "text", 4
        ),
        *_entries(own, width),
        Line(),
    ]


def _entries(keys: Iterable[Key], width: int) -> list[Line]:
    return [line for key in keys for line in _entry(key.shown or "no key", key.help, width, 12)]


def _entry(name: str, text: str, width: int, indent: int) -> list[Line]:
    first, *more = wrap(text, max(10, width - 5 - indent))
    lines = [Row(width).left(4, name, "key", indent - 2).left(4 + indent, first, "text").line()]
    return lines + [text_line(part, width, indent=4 + indent) for part in more]


class HelpPanel(Panel[NoView]):
    """The help as scrollable rows."""

    title = "Help"

    def __init__(self, keyboard: Keyboard, panel: Panel[Any] | None = None, topic: str = "") -> None:
        """Prepare the help.

        Args:
            keyboard: the key bindings.
            panel: the panel to describe first.
            topic: the command to scroll to; empty for the top.
        """
        super().__init__("help")
        self.keyboard = keyboard
        self._panel, self._topic = panel, topic

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the rows from the first visible one on."""
        lines = help_lines(width, self.keyboard, self._panel)
        if self._topic:
            places = [i for i, line in enumerate(lines) if self._topic in line.plain.split()[:1]]
            self.first, self._topic = (places or [0])[-1], ""
        start, end = window(len(lines), self.first, height)
        return Drawing("esc closes, ↑↓ scroll", lines[start:end], len(lines), start, end - start)


class HelpScreen(ModalScreen[None]):
    """The full-screen help."""

    DEFAULT_CSS = "HelpScreen { background: $background; } HelpScreen > #help { width: 1fr; height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,f1,ctrl+c", "dismiss", "close", show=False, priority=True),
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown,space", "page(1)", show=False),
        Binding("home,g", "page(-1000)", show=False),
        Binding("end,G", "page(1000)", show=False),
    ]

    def __init__(self, keyboard: Keyboard, panel: Panel[Any] | None = None, topic: str = "") -> None:
        """Prepare the screen; `panel` is described first, `topic` is the command to scroll to."""
        super().__init__()
        self._panel = HelpPanel(keyboard, panel, topic)

    def compose(self) -> ComposeResult:
        """Yield the help panel."""
        yield self._panel.surface

    def action_move(self, rows: int) -> None:
        """Scroll by rows."""
        self._panel.scroll_rows(rows)
        self._panel.redraw()

    def action_page(self, pages: int) -> None:
        """Scroll by pages."""
        self.action_move(pages * max(1, self._panel.body - 1))
