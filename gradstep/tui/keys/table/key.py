"""What is known of a key."""

from __future__ import annotations

from typing import NamedTuple

from gradstep.tui.keys.names import shown


class Key(NamedTuple):
    """A key: what it is called, what it does, where it is named. A controller or a panel handles it, by its id."""

    id: str
    keys: str
    """Textual's names of the keys, with commas between."""
    label: str
    help: str
    group: str
    priority: bool = False
    """True for a key that works while a line is being typed, too."""
    counts: bool = False
    """True for a key that does what it does as often as the number typed before it says."""
    panel: str = ""
    """The panel whose own key it is: help for that panel names it first; empty for a key of all of them."""
    in_palette: bool = True
    """False for a key that is of no use in the palette."""

    @property
    def shown(self) -> str:
        """How the first of its keys is shown on the screen: `esc`, `↑`; empty for none."""
        return shown(self.keys.partition(",")[0])
