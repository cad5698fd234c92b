"""The current key bindings: the table of `keymap.py` with the user's changes."""

from __future__ import annotations

from collections.abc import Mapping

from gradstep.tui.keys.keymap import KEYMAP
from gradstep.tui.keys.names import ARROWS, written
from gradstep.tui.keys.table.key import Key

_NONE = "no-key-"
"""Prefix of the key name that an unbound action gets; no terminal sends it."""


class Keyboard:
    """The current binding of every key.

    Args:
        changed: the keys of each rebound id, as Textual's names separated by commas; empty unbinds it.
    """

    def __init__(self, changed: Mapping[str, str] | None = None) -> None:
        changed = changed or {}
        self.keys = tuple(key._replace(keys=changed[key.id]) if key.id in changed else key for key in KEYMAP)
        self.changed = {name: keys or _NONE + name for name, keys in changed.items()}
        """The changes, for Textual's `App.set_keymap`."""
        self._by_id = {key.id: key for key in self.keys}
        self._by_key = {pressed: key for key in self.keys for pressed in key.keys.split(",") if pressed}

    def key(self, name: str) -> Key:
        """Return a key by its id."""
        return self._by_id[name]

    def named(self, name: str) -> str:
        """Return the key of an id for use in a sentence, e.g. `esc`; `no key` when it is unbound."""
        return self._by_id[name].shown or "no key"

    @property
    def counted(self) -> list[str]:
        """The keys that take a count, as written, one for each action."""
        ways = [[one for one in key.keys.split(",") if self.takes_count(one)] for key in self.keys]
        return [written(pressed[0]) for pressed in ways if pressed]

    def takes_count(self, pressed: str) -> bool:
        """Return whether a key takes a count.

        Arrows do not: they are pressed right after the digit that focuses a panel, to move there.
        """
        key = self.of(pressed)
        return key is not None and key.counts and pressed not in ARROWS

    def of(self, pressed: str) -> Key | None:
        """Return what a key is bound to, by its Textual name."""
        return self._by_key.get(pressed)


DEFAULT_KEYS = Keyboard()
"""The default bindings."""
