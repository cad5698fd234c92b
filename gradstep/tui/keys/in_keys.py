"""Replace commands in sentences by their keys: views say "run `forward`", the screen says "press f"."""

from __future__ import annotations

import re
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from gradstep.tui.commands.jobs import SIMPLE
from gradstep.tui.keys.keyboard import Keyboard

_COMMANDS = {name: name for name in SIMPLE} | {"continue": "go_on"}
"""The key id of each command that a sentence may name: phases, and stepping commands."""
_NAMED = re.compile(rf"(?:\b(?P<run>[Rr])un )?`(?P<command>{'|'.join(_COMMANDS)})`")
_SENTENCES = ("note", "why", "sentence", "more", "no_grad")
"""The fields of views that contain sentences."""

ViewT = TypeVar("ViewT", bound=Struct)


def in_keys(text: str, keyboard: Keyboard) -> str:
    """Return a sentence with each command in backquotes replaced by its key: "run `forward`" becomes "press f".

    A command without a key is given as it is typed: "run `:forward`".
    """
    return _NAMED.sub(lambda found: _named(found, keyboard), text) if "`" in text else text


def _named(found: re.Match[str], keyboard: Keyboard) -> str:
    name, run = found["command"], found["run"]
    key = keyboard.key(_COMMANDS[name]).shown
    if not key:
        return f"{run}un " * bool(run) + f"`{keyboard.key('command').shown}{name}`"
    return {"R": "Press ", "r": "press "}.get(run, "") + key


def view_in_keys(view: ViewT, keyboard: Keyboard) -> ViewT:
    """Return a view with the commands in its sentences replaced by keys; the view itself when it names none."""
    changed: dict[str, object] = {}
    for name in _SENTENCES:
        before = getattr(view, name, "")
        after = (
            tuple(in_keys(text, keyboard) for text in before)
            if isinstance(before, tuple)
            else in_keys(before, keyboard)
        )
        if after != before:
            changed[name] = after
    return replace(view, **changed) if changed else view
