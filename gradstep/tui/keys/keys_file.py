"""The user's `keys.toml`: reading and validating it, and writing the key table in its format.

It is TOML with one id per line: `next_batch = "n"`; several keys separated by spaces: `go_on = "c f5"`; unbound:
`quit = ""`. Ids it does not name keep their default. Each line is parsed by itself, so that a fault affects only it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from gradstep.tui.keys.keyboard import Keyboard
from gradstep.tui.keys.keymap import KEYMAP
from gradstep.tui.keys.names import key_name, written
from gradstep.values.nearest import did_you_mean


def _short(path: Path) -> str:
    """Return a path with the home folder as `~`."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


class _Rebinding(NamedTuple):
    """A line of the file that rebinds an id."""

    number: int
    name: str
    keys: tuple[str, ...]


def keys_path() -> Path:
    """Return the path of the file: `gradstep/keys.toml` in XDG_CONFIG_HOME, by default ~/.config."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    config = Path(home) if os.path.isabs(home) else Path.home() / ".config"
    return config / "gradstep" / "keys.toml"


def read_keyboard(path: Path) -> tuple[Keyboard, list[str]]:
    """Return the key bindings of a file, and its faults, each with its line; without a file, the defaults.

    Faulty lines are skipped: the program starts with the rest.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return Keyboard(), []
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        return Keyboard(), [f"{_short(path)}: {why}: the default keys are used"]
    wrong: list[tuple[int, str]] = []
    changed = _resolve(_rebindings(lines, wrong), wrong)
    return Keyboard(changed), [f"{_short(path)}:{number}: {what}" for number, what in sorted(wrong)]


def _rebindings(lines: list[str], wrong: list[tuple[int, str]]) -> list[_Rebinding]:
    """Return the rebindings of the lines; append faults to `wrong`."""
    defaults = {key.id: key.keys for key in KEYMAP}
    named: dict[str, int] = {}
    rebindings = []
    for number, line in enumerate(lines, 1):
        try:
            parsed = tomllib.loads(line)
        except tomllib.TOMLDecodeError:
            parsed = {"": None}
        if not parsed:
            continue
        [(name, value)] = parsed.items()
        if not isinstance(value, str):
            wrong.append((number, 'not a binding: write an id and its keys, such as next_batch = "n"'))
            continue
        texts = value.split()
        if name not in defaults:
            offer = did_you_mean(name, defaults) or "`gradstep keys` lists the ids"
            wrong.append((number, f"there is no id {name}. {offer}"))
        elif name in named:
            wrong.append((number, f"{name} is already bound on line {named[name]}"))
        else:
            named[name] = number
            keys = tuple(dict.fromkeys(filter(None, map(key_name, texts))))
            unknown = [text for text in texts if not key_name(text)]
            wrong += [(number, f"there is no key {text}: it is ignored for {name}") for text in unknown]
            if ",".join(keys) != defaults[name] and (keys or not unknown):
                rebindings.append(_Rebinding(number, name, keys))
    return rebindings


def _resolve(rebindings: list[_Rebinding], wrong: list[tuple[int, str]]) -> dict[str, str]:
    """Return the keys of each changed id; the first line that binds a key gets it, and the default loses it."""
    taken: dict[str, _Rebinding] = {}
    changed: dict[str, str] = {}
    for rebinding in rebindings:
        for key in rebinding.keys:
            if key in taken:
                first = taken[key]
                wrong.append(
                    (rebinding.number, f"{written(key)} is already bound to {first.name} on line {first.number}")
                )
            else:
                taken[key] = rebinding
        own = [key for key in rebinding.keys if taken[key] is rebinding]
        if own or not rebinding.keys:
            changed[rebinding.name] = ",".join(own)
    for entry in KEYMAP:
        keys = entry.keys.split(",")
        lost = [pressed for pressed in keys if pressed in taken]
        if lost and entry.id not in changed:
            kept = [pressed for pressed in keys if pressed not in lost]
            changed[entry.id] = ",".join(kept)
            left = ", ".join(map(written, kept))
            for pressed in lost:
                rebinding = taken[pressed]
                rest = f"{entry.id} keeps {left}" if left else f"{entry.id} is now unbound"
                wrong.append(
                    (rebinding.number, f"{written(pressed)} moves from {entry.id} to {rebinding.name}: {rest}")
                )
    return changed


def keys_text(keyboard: Keyboard) -> str:
    """Return every key in the format of the file, with its help as a comment."""
    return "".join(f"{line}\n" for line in _lines(keyboard))


def _lines(keyboard: Keyboard) -> Iterator[str]:
    yield f"# Every key of gradstep. Put the lines you change into {keys_path()}"
    yield "# Separate several keys with spaces; an empty string unbinds."
    for group, keys in groupby(keyboard.keys, lambda key: key.group):
        yield f"\n# {group}"
        for key in keys:
            quoted = " ".join(written(pressed) for pressed in key.keys.split(","))
            quote = "'" if '"' in quoted or "\\" in quoted else '"'
            yield f"{f'{key.id} = {quote}{quoted}{quote}':<34}# {key.help}"
