"""The keys as they are bound now: the table of `keymap.py` with what a user has changed in it."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from textual.keys import Keys

from gradstep.tui.keys.keymap import KEYMAP
from gradstep.tui.keys.table.key import Key

_CHARACTERS = {"/": "slash", "\\": "backslash", "@": "at", "-": "minus", "+": "plus", "_": "underscore", " ": "space"}
"""Textual's names of characters where that is not their name in Unicode."""
_WRITTEN = {"escape": "esc", "pageup": "pgup", "pagedown": "pgdn"}
"""How keys are written where that is not Textual's name of them."""
_ARROWS = {"up": "↑", "down": "↓", "left": "←", "right": "→"}
"""How they are drawn on the screen."""
_MODIFIERS = ("ctrl", "alt", "shift")
_NONE = "no-key-"
"""Begins the name of the key that an action without one is bound to; no terminal sends it."""


class Keyboard:
    """Every key as it is bound.

    Args:
        changed: the keys of each id that is bound anew, by Textual's names with commas between; empty for none.
    """

    def __init__(self, changed: Mapping[str, str] | None = None) -> None:
        changed = changed or {}
        self.keys = tuple(_rebound(key, changed[key.id]) if key.id in changed else key for key in KEYMAP)
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
        return key is not None and key.counts and pressed not in _ARROWS

    def of(self, pressed: str) -> Key | None:
        """Return what a key is bound to, by Textual's name of it."""
        return self._by_key.get(pressed)


AS_IT_COMES = Keyboard()
"""The table with nothing changed."""


def _rebound(key: Key, keys: str) -> Key:
    first = keys.partition(",")[0]
    return key._replace(keys=keys, shown=_ARROWS.get(first) or written(first))


def written(name: str) -> str:
    """Return how a person writes a key, by Textual's name of it: `?`, `esc`, `ctrl+p`."""
    *modifiers, last = name.split("+")
    return "+".join([*modifiers, _WRITTEN.get(last) or _BY_NAME.get(last, last)])


def key_name(text: str) -> str:
    """Return Textual's name of a key as a person writes it; empty when there is no such key."""
    plus = text == "+" or text.endswith("++")
    *modifiers, last = [*filter(None, text.rstrip("+").split("+")), "+"] if plus else text.split("+")
    held = {modifier.lower() for modifier in modifiers}
    name = _NAMED.get(last.lower()) or (_character(last) if len(last) == 1 else last.lower())
    if not name or (len(last) > 1 and name not in _KEYS) or not held <= {*_MODIFIERS}:
        return ""
    return "+".join([*(modifier for modifier in _MODIFIERS if modifier in held), name])


def _character(character: str) -> str:
    """Return Textual's name of the key that writes a character; empty when none does."""
    if character.isalnum():
        return character
    name = unicodedata.name(character, "").lower().replace("-", "_").replace(" ", "_")
    return _CHARACTERS.get(character, name)


_BY_NAME = {_character(c): c for c in map(chr, range(33, 127)) if not c.isalnum()}
_NAMED = {text: name for names in (_WRITTEN, _ARROWS) for name, text in names.items()} | {"return": "enter"}
_KEYS = {key.value for key in Keys if key.value.replace("_", "").isalnum()} | {*_BY_NAME}
