"""The declaration of a key."""

from __future__ import annotations

from typing import NamedTuple

from gradstep.tui.keys.names import shown


class Key(NamedTuple):
    """A key: its id, default bindings, label and help. A controller or a panel handles it, by its id."""

    id: str
    keys: str
    """Textual's names of the keys, separated by commas."""
    label: str
    help: str
    group: str
    priority: bool = False
    """True for a key that also works in an input line."""
    counts: bool = False
    """True for a key that takes a count."""
    panel: str = ""
    """The panel it belongs to, whose help lists it first; empty for a global key."""
    in_palette: bool = True
    """False for a key that is useless in the palette."""

    @property
    def shown(self) -> str:
        """The first of its keys as shown on the screen: `esc`, `↑`; empty when unbound."""
        return shown(self.keys.partition(",")[0])
