"""What keys are called: Textual's names of them, how a person writes them, and how the screen shows them."""

from __future__ import annotations

import unicodedata

from textual.keys import Keys

_CHARACTERS = {"/": "slash", "\\": "backslash", "@": "at", "-": "minus", "+": "plus", "_": "underscore", " ": "space"}
"""Textual's names of characters where that is not their name in Unicode."""
_WRITTEN = {"escape": "esc", "pageup": "pgup", "pagedown": "pgdn"}
"""How keys are written where that is not Textual's name of them."""
ARROWS = {"up": "↑", "down": "↓", "left": "←", "right": "→"}
"""How they are drawn on the screen."""
_MODIFIERS = ("ctrl", "alt", "shift")


def written(name: str) -> str:
    """Return how a person writes a key, by Textual's name of it: `?`, `esc`, `ctrl+p`."""
    *modifiers, last = name.split("+")
    return "+".join([*modifiers, _WRITTEN.get(last) or _BY_NAME.get(last, last)])


def shown(name: str) -> str:
    """Return how the screen shows a key, by Textual's name of it: as `written`, but for arrows and `del`."""
    return ARROWS.get(name) or ("del" if name == "delete" else written(name))


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
_NAMED = {text: name for names in (_WRITTEN, ARROWS) for name, text in names.items()} | {"return": "enter"}
_KEYS = {key.value for key in Keys if key.value.replace("_", "").isalnum()} | {*_BY_NAME}
