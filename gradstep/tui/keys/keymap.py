"""Every key of the screen in one table: the bindings, the footer, the help and the palette all read it."""

from __future__ import annotations

from textual.binding import Binding

from gradstep.tui.keys.table.acts import ACTS
from gradstep.tui.keys.table.commands import COMMANDS
from gradstep.tui.keys.table.key import Key
from gradstep.tui.keys.table.own import OWN
from gradstep.tui.keys.table.panels import PANELS

KEYMAP: tuple[Key, ...] = (*ACTS, *PANELS, *OWN, *COMMANDS)
"""The whole table, in the order of the help."""

FOOTER: tuple[str, ...] = (
    "natural",
    "into",
    "iteration",
    "play",
    "go_on",
    "next_batch",
    "pause",
    "panel",
    "maximise",
    "command",
    "find",
    "help",
    "quit",
)
"""The keys that the footer names, in its order."""
PLAYING: tuple[str, ...] = ("play", "slower", "faster")
"""Those that come before them while something is played."""
INSIDE: tuple[str, ...] = ("into", "over", "out", "go_on", "undo", "break")
"""Those that come before them at a stop inside a phase."""
OUTSIDE: tuple[str, ...] = ("natural", "iteration", "play", "next_batch")
"""Those that are not named there."""
NEEDED: tuple[str, ...] = (
    "restart",
    "traceback",
    "help",
    "command",
    "quit",
    "natural",
    "go_on",
    "panel",
    "pause",
    "maximise",
    "into",
    "next_batch",
    "iteration",
    "play",
    "find",
)
"""The keys that it names first where there is no room for all."""


def bindings() -> list[Binding]:
    """Return the table as Textual's bindings."""
    return [
        Binding(
            key.keys, f"press('{key.id}')", key.label, id=key.id, tooltip=key.help, priority=key.priority, show=False
        )
        for key in KEYMAP
    ]


def key(name: str) -> Key:
    """Return a key by its id."""
    return next(key for key in KEYMAP if key.id == name)
