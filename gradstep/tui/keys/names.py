"""Names of keys: Textual's, as people write them, and as the screen shows them."""

from __future__ import annotations

import unicodedata
from functools import cache

from textual.keys import Keys

_CHARACTERS = {"/": "slash", "\\": "backslash", "@": "at", "-": "minus", "+": "plus", "_": "underscore", " ": "space"}
"""Textual's names of characters that differ from their Unicode names."""
_WRITTEN = {"escape": "esc", "pageup": "pgup", "pagedown": "pgdn"}
"""Written names of keys that differ from Textual's."""
ARROWS = {"up": "↑", "down": "↓", "left": "←", "right": "→"}
"""Arrow keys as drawn on the screen."""
_MODIFIERS = ("ctrl", "alt", "shift")


def written(name: str) -> str:
    """Return a key as a person writes it, from its Textual name: `?`, `esc`, `ctrl+p`."""
    *modifiers, last = name.split("+")
    return "+".join([*modifiers, _WRITTEN.get(last) or _BY_NAME.get(last, last)])


@cache
def shown(name: str) -> str:
    """Return a key as the screen shows it, from its Textual name: as `written`, except for arrows and `del`."""
    return ARROWS.get(name) or ("del" if name == "delete" else written(name))


def key_name(text: str) -> str:
    """Return the Textual name of a key as a person writes it; empty when there is no such key."""
    plus = text == "+" or text.endswith("++")
    *modifiers, last = [*filter(None, text.rstrip("+").split("+")), "+"] if plus else text.split("+")
    held = {modifier.lower() for modifier in modifiers}
    name = _NAMED.get(last.lower()) or (_character(last) if len(last) == 1 else last.lower())
    if not name or (len(last) > 1 and name not in _KEYS) or not held <= {*_MODIFIERS}:
        return ""
    return "+".join([*(modifier for modifier in _MODIFIERS if modifier in held), name])


def _character(character: str) -> str:
    """Return the Textual name of the key of a character; empty when there is none."""
    if character.isalnum():
        return character
    name = unicodedata.name(character, "").lower().replace("-", "_").replace(" ", "_")
    return _CHARACTERS.get(character, name)


_BY_NAME = {_character(c): c for c in map(chr, range(33, 127)) if not c.isalnum()}
_NAMED = {text: name for names in (_WRITTEN, ARROWS) for name, text in names.items()} | {"return": "enter"}
_KEYS = {key.value for key in Keys if key.value.replace("_", "").isalnum()} | {*_BY_NAME}
