"""The banner of a dead engine, the prompt, and the footer."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.message import Message

from gradstep.tui.keys import keymap
from gradstep.tui.keys.table.key import Key
from gradstep.tui.layout.layouts import LAYOUTS
from gradstep.tui.render.lines import Line, Row, clean
from gradstep.tui.render.surface import Surface


class Banner(Surface):
    """The row that shows how the engine or a script's process died, and the key that restarts it."""

    def __init__(self) -> None:
        super().__init__("banner")
        self.text = ""
        """How it died, as a sentence without a full stop."""
        self.remedy = ""
        """What the restart key does."""

    def compose_lines(self, width: int, _height: int) -> list[Line]:
        """Draw the banner."""
        row = Row(width).add(" ").add(f" {clean(self.text)}. ", "odd")
        row.add(f"  {self.keyboard.key('restart').shown}", "key")
        return [row.add(f" {self.remedy}", "text").line()]


class PromptRow(Surface):
    """The row of the command line while nothing is typed: it shows the last command."""

    class Pressed(Message):
        """The label of a key was clicked."""

        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    def __init__(self) -> None:
        super().__init__("prompt")
        self.last = ""
        self.mark = ""
        """The mark before the input, if that is not a command."""
        self.count = ""
        """The count being typed before a key."""
        self.layout_name = ""
        """The current layout."""
        self._ends: list[tuple[int, str]] = []
        """The column where the name of each layout ends."""

    def compose_lines(self, width: int, _height: int) -> list[Line]:
        """Draw the line."""
        if self.count:
            hint = f"a count, before one of {' '.join(self.keyboard.counted)}"
            return [Row(width).left(1, f"{self.count}…", "bright").add("  ").add(hint, "dim").line()]
        mark = self.mark or self.keyboard.key("command").shown
        row = Row(width).left(1, mark, "key").add(" ").add(clean(self.last), "text")
        names = [(f"{self.keyboard.key(name).shown} ".lstrip(), name) for name in LAYOUTS]
        cells = sum(len(key) + len(name) + 2 for key, name in names) - 1
        room = width - cells if row.at + 3 + cells <= width else width
        hint = "tab completes, up for history"
        if row.at + 3 + len(hint) < room:
            row.left(row.at + 3, hint, "dim")
        self._ends = []
        if room < width:
            row.to(room)
            for i, (key, name) in enumerate(names):
                row.add("  " if i else "").add(key, "key").add(name, "bright" if name == self.layout_name else "dim")
                self._ends.append((row.at, name))
        return [row.line()]

    def click(self, event: events.Click) -> None:
        """Choose the layout whose name is clicked; elsewhere open the command line."""
        start = self._ends[0][0] - 8 if self._ends else self.size.width
        name = next((name for end, name in self._ends if start <= event.x < end), "")
        self.post_message(self.Pressed(name or "command"))


_FOR_SCRIPTS = {"next_batch": "next iteration", "iteration": "whole iteration", "restart": "run again"}
"""What keys are called that do something else to a script."""


class FooterRow(Surface):
    """The row of the keys that apply now; while a command is typed, its completions."""

    ground = "title"

    def __init__(self) -> None:
        super().__init__("footer")
        self.keys: Sequence[str] = keymap.FOOTER
        self.first: Sequence[str] = ()
        """The keys with priority now."""
        self.playing = False
        self.maximised = False
        self.next = ""
        """What space does, for a screen whose phase row has no room for it."""
        self.candidates: Sequence[str] = ()
        self.complaint = ""
        """An error in a file that was read at the start; shown until a key is pressed."""
        self.script = False
        """True while a training script is stepped."""
        self.held = False
        """True while a copy of what a script trains is stepped."""
        self.typing = ""
        """The script that keys go to; empty when they are gradstep's."""
        self.awaits_input = False
        """True while a script waits for something to be typed."""
        self.said = ""
        """A message in place of the keys: an error in the input, or why a key did nothing."""

    def compose_lines(self, width: int, _height: int) -> list[Line]:
        """Draw the keys that fit, or the message."""
        row = Row(width)
        if self.said or self.complaint:
            return [row.left(1, clean(self.said or self.complaint), "bright").line()]
        if self.typing:
            back = self.keyboard.key("pause").shown
            row.left(1, f" typing into {clean(self.typing)} ", "block").add(f"  {back}", "key").add(
                " back to gradstep", "dim"
            )
            return [
                row.add("   ctrl+c", "key")
                .add(" interrupt", "dim")
                .add("   ctrl+d", "key")
                .add(" end of input", "dim")
                .line()
            ]
        for text in self.candidates:
            if row.at + len(text) + 3 > width:
                break
            row.left(row.at + (1 if row.at == 0 else 2), clean(text), "text")
        for key in [] if self.candidates else self._fitting(width):
            row.left(row.at + (1 if row.at == 0 else 3), key.shown, "key").add(f" {self._label(key, width)}", "dim")
        return [row.line()]

    def _label(self, key: Key, width: int) -> str:
        if key.id == "output" and self.awaits_input:
            return "answer"
        if key.id == "hold" and self.held:
            return "back to the script"
        if self.script and key.id in _FOR_SCRIPTS:
            return _FOR_SCRIPTS[key.id]
        if key.id == "play" and self.playing:
            return "stop"
        if key.id == "maximise" and self.maximised:
            return "restore"
        return self.next if key.id == "natural" and self.next and width < 100 else key.label

    def _fitting(self, width: int) -> list[Key]:
        """Return the keys that fit; those with priority are fitted first."""
        room, fitting = width - 1, set()
        needed = (*self.first, *(name for name in keymap.RANKED if name not in self.first))
        for name in sorted(self.keys, key=lambda name: (*needed, name).index(name)):
            key = self.keyboard.key(name)
            cells = len(key.shown) + len(self._label(key, width)) + 4
            if cells <= room + 3:
                room -= cells
                fitting.add(name)
        return [self.keyboard.key(name) for name in self.keys if name in fitting]
