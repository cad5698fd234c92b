"""What is known of a key."""

from __future__ import annotations

from typing import NamedTuple


class Key(NamedTuple):
    """A key: what it is called, what it does, and where it is named."""

    id: str
    keys: str
    """Textual's names of the keys, with commas between."""
    shown: str
    label: str
    help: str
    group: str
    priority: bool = False
    """True for a key that works while a line is being typed, too."""
    counts: bool = False
    """True for a key that does what it does as often as the number typed before it says."""
    panel: str = ""
    """The panel whose own key it is: help for that panel names it first; empty for a key of all of them."""
