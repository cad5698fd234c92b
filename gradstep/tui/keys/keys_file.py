"""The file in which a user binds keys anew: reading it, what is wrong with it, and writing the table in its format.

It is TOML, one id a line: `next_batch = "n"`, several keys with blanks between: `go_on = "c f5"`, none: `quit = ""`.
What it does not name stays as it is. Each line is read by itself, so that a faulty one leaves the others valid.
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
    """Return a path as a shell may write it, so that it leaves room on a line."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


class _Wish(NamedTuple):
    """A line of the file that is to change something."""

    number: int
    name: str
    keys: tuple[str, ...]


def keys_path() -> Path:
    """Return where the file is looked for: `gradstep/keys.toml` in XDG_CONFIG_HOME, by default ~/.config."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    config = Path(home) if os.path.isabs(home) else Path.home() / ".config"
    return config / "gradstep" / "keys.toml"


def read_keyboard(path: Path) -> tuple[Keyboard, list[str]]:
    """Return the keys as a file binds them, and what is wrong with it, each with its line; without a file, the table.

    What is wrong is left out: the program starts with the rest.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return Keyboard(), []
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        return Keyboard(), [f"{_short(path)}: {why}: every key is as it comes"]
    wrong: list[tuple[int, str]] = []
    changed = _resolve(_wishes(lines, wrong), wrong)
    return Keyboard(changed), [f"{_short(path)}:{number}: {what}" for number, what in sorted(wrong)]


def _wishes(lines: list[str], wrong: list[tuple[int, str]]) -> list[_Wish]:
    """Return what the lines are to change, those that are wrong left out."""
    as_it_comes = {key.id: key.keys for key in KEYMAP}
    named: dict[str, int] = {}
    wishes = []
    for number, line in enumerate(lines, 1):
        try:
            parsed = tomllib.loads(line)
        except tomllib.TOMLDecodeError:
            parsed = {"": None}
        if not parsed:
            continue
        [(name, value)] = parsed.items()
        if not isinstance(value, str):
            wrong.append((number, 'this is not readable: write an id and its keys, such as next_batch = "n"'))
            continue
        texts = value.split()
        if name not in as_it_comes:
            offer = did_you_mean(name, as_it_comes) or "`gradstep keys` lists the ids"
            wrong.append((number, f"there is no {name}. {offer}"))
        elif name in named:
            wrong.append((number, f"{name} has its keys already, from line {named[name]}"))
        else:
            named[name] = number
            keys = tuple(dict.fromkeys(filter(None, map(key_name, texts))))
            unknown = [text for text in texts if not key_name(text)]
            wrong += [(number, f"there is no key {text}: {name} goes without it") for text in unknown]
            if ",".join(keys) != as_it_comes[name] and (keys or not unknown):
                wishes.append(_Wish(number, name, keys))
    return wishes


def _resolve(wishes: list[_Wish], wrong: list[tuple[int, str]]) -> dict[str, str]:
    """Return the keys of each id that changes: of two wishes for a key the first is granted, before the table's own."""
    granted: dict[str, _Wish] = {}
    changed: dict[str, str] = {}
    for wish in wishes:
        for key in wish.keys:
            if key in granted:
                first = granted[key]
                wrong.append((wish.number, f"{written(key)} is for {first.name} already, by line {first.number}"))
            else:
                granted[key] = wish
        own = [key for key in wish.keys if granted[key] is wish]
        if own or not wish.keys:
            changed[wish.name] = ",".join(own)
    for entry in KEYMAP:
        keys = entry.keys.split(",")
        lost = [pressed for pressed in keys if pressed in granted]
        if lost and entry.id not in changed:
            kept = [pressed for pressed in keys if pressed not in lost]
            changed[entry.id] = ",".join(kept)
            left = ", ".join(map(written, kept))
            for pressed in lost:
                wish = granted[pressed]
                rest = f"{entry.id} keeps {left}" if left else f"{entry.id} has no key now"
                wrong.append((wish.number, f"{written(pressed)} was for {entry.id}: it is for {wish.name} now, {rest}"))
    return changed


def keys_text(keyboard: Keyboard) -> str:
    """Return every key in the format of the file, with what it does behind it."""
    return "".join(f"{line}\n" for line in _lines(keyboard))


def _lines(keyboard: Keyboard) -> Iterator[str]:
    yield f"# Every key of gradstep. What you change goes into {keys_path()}"
    yield "# Several keys stand in one pair of quotes with blanks between; nothing in it is no key."
    for group, keys in groupby(keyboard.keys, lambda key: key.group):
        yield f"\n# {group}"
        for key in keys:
            quoted = " ".join(written(pressed) for pressed in key.keys.split(","))
            quote = "'" if '"' in quoted or "\\" in quoted else '"'
            yield f"{f'{key.id} = {quote}{quoted}{quote}':<34}# {key.help}"
