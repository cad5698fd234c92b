"""The keys as they are bound now: the table of `keymap.py` with what a user has changed in it."""

from __future__ import annotations

from collections.abc import Mapping

from gradstep.tui.keys.keymap import KEYMAP
from gradstep.tui.keys.names import ARROWS, written
from gradstep.tui.keys.table.key import Key

_NONE = "no-key-"
"""Begins the name of the key that an action without one is bound to; no terminal sends it."""


class Keyboard:
    """Every key as it is bound.

    Args:
        changed: the keys of each id that is bound anew, by Textual's names with commas between; empty for none.
    """

    def __init__(self, changed: Mapping[str, str] | None = None) -> None:
        changed = changed or {}
        self.keys = tuple(key._replace(keys=changed[key.id]) if key.id in changed else key for key in KEYMAP)
        self.changed = {name: keys or _NONE + name for name, keys in changed.items()}
        """What Textual's `App.set_keymap` takes."""
        self._by_id = {key.id: key for key in self.keys}
        self._by_key = {pressed: key for key in self.keys for pressed in key.keys.split(",") if pressed}

    def key(self, name: str) -> Key:
        """Return a key by its id."""
        return self._by_id[name]

    def named(self, name: str) -> str:
        """Return how the key of an id is called in a sentence: `esc`; `no key` where it has none."""
        return self._by_id[name].shown or "no key"

    @property
    def counted(self) -> list[str]:
        """The keys that a number goes before, as they are written, one for each thing to do."""
        ways = [[one for one in key.keys.split(",") if self.takes_count(one)] for key in self.keys]
        return [written(pressed[0]) for pressed in ways if pressed]

    def takes_count(self, pressed: str) -> bool:
        """Return whether a number goes before a key.

        Not before arrows: they are pressed right after the digit that is the key of a panel, to move there.
        """
        key = self.of(pressed)
        return key is not None and key.counts and pressed not in ARROWS

    def of(self, pressed: str) -> Key | None:
        """Return what a key is bound to, by Textual's name of it."""
        return self._by_key.get(pressed)


AS_IT_COMES = Keyboard()
"""The table with nothing changed."""
