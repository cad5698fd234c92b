"""The key table: bindings, footer, help and palette all read it."""

from __future__ import annotations

from collections.abc import Callable

from textual.binding import Binding

from gradstep.tui.keys.table.acts import ACTS
from gradstep.tui.keys.table.commands import COMMANDS
from gradstep.tui.keys.table.key import Footer, Key
from gradstep.tui.keys.table.own import OWN
from gradstep.tui.keys.table.panels import PANELS

KEYMAP: tuple[Key, ...] = (*ACTS, *PANELS, *OWN, *COMMANDS)
"""Every key, in the order of the help."""


def _in_footer(place: Callable[[Footer], int]) -> tuple[str, ...]:
    """Return the ids of the keys that have a place on the footer, in its order."""
    named = [key for key in KEYMAP if place(key.footer)]
    return tuple(key.id for key in sorted(named, key=lambda key: place(key.footer)))


FOOTER = _in_footer(lambda footer: footer.place)
"""The keys that the footer names, from the left."""
PLAYING = _in_footer(lambda footer: footer.playing)
"""Those that come before them while playing."""
INSIDE = _in_footer(lambda footer: footer.inside)
"""Those that come before them at a stop inside a phase."""
BETWEEN_ONLY = _in_footer(lambda footer: footer.between_only)
"""Those that are not named at a stop inside a phase."""
RANKED = _in_footer(lambda footer: footer.rank)
"""Those that get room first where there is not enough for all."""

RUNNING = frozenset(
    {
        "forward",
        "backward",
        "step",
        "zero_grad",
        "next_batch",
        "natural",
        "iteration",
        "play",
        "play_iterations",
        "into",
        "over",
        "out",
        "go_on",
    }
)
"""The keys that run the debuggee on."""


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
