"""The declaration of a key."""

from __future__ import annotations

from typing import NamedTuple

from gradstep.tui.keys.names import shown


class Footer(NamedTuple):
    """Where the footer names a key: places from the left, from 1; 0 where it does not."""

    place: int = 0
    rank: int = 0
    """The keys with the lowest rank get room first on a narrow screen; those without one get it last."""
    inside: int = 0
    """Place among the keys that come first at a stop inside a phase."""
    playing: int = 0
    """Place among the keys that come first while playing."""
    between_only: bool = False
    """True for a key that is named between phases only."""


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
    footer: Footer = Footer()

    @property
    def shown(self) -> str:
        """The first of its keys as shown on the screen: `esc`, `↑`; empty when unbound."""
        return shown(self.keys.partition(",")[0])
