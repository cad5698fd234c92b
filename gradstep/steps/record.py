"""Write a session as a script that replays to the same state."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from msgspec.structs import replace

from gradstep.values.commands import Break, Checkpoint, Command, Export, Load, Restore, Run, Show, line_of, role_of
from gradstep.values.files import write_text
from gradstep.values.repeats import repeats

_SHORTEST = 4
"""Least commands that are folded into a repeat."""

HEADER = "# Recorded by gradstep. Replay it with `gradstep replay`, or open it with `gradstep FILE.steps`.\n"


PYTHON = "# python: "
"""What the line begins with that names the interpreter of a training script."""


def script_text(commands: Sequence[Command], folder: str = "", python: str = "") -> str:
    """Return a session's history as a script.

    Repeated phases become `repeat N { ... }`, and of consecutive `show`s only the last is kept.

    Args:
        commands: the executed commands; failed ones are not among them.
        folder: where the script will be, so that `load FILE.py:factory` is found from there.
        python: the interpreter of a training script; empty for gradstep's own.
    """
    kept = [c for c, following in _pairs(commands) if not (isinstance(c, Show) and isinstance(following, Show))]
    header = f"{HEADER}{PYTHON}{python}\n" if python else HEADER
    return header + "".join(f"{line}\n" for line in _folded(kept, folder))


def save(path: str | Path, commands: Sequence[Command], python: str = "") -> None:
    """Write a session's history as a script, atomically.

    Raises:
        OSError: it cannot be written.
    """
    target = Path(path).absolute()
    write_text(target, script_text(commands, str(target.parent), python), folders=True)


def last_path() -> Path:
    """Return the path of the last session: `gradstep/last.steps` in XDG_STATE_HOME, by default ~/.local/state."""
    home = os.environ.get("XDG_STATE_HOME", "")
    state = Path(home) if os.path.isabs(home) else Path.home() / ".local" / "state"
    return state / "gradstep" / "last.steps"


class Recorder:
    """Writes each command to a file as it happens, so that a crash loses nothing.

    Args:
        path: the script to write; an existing file is overwritten.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        write_text(self.path, HEADER, folders=True)
        self._file: TextIO = self.path.open("a", encoding="utf-8")

    def add(self, command: Command) -> None:
        """Append the line of an executed command."""
        self._file.write(f"{_line(command, str(self.path.parent))}\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _pairs(commands: Sequence[Command]) -> Iterator[tuple[Command, Command | None]]:
    return zip(commands, [*commands[1:], None], strict=False)


def _line(command: Command, folder: str) -> str:
    """Return the line of a command, with paths relative to a script in `folder`."""
    if isinstance(command, Load):
        file, colon, factory = command.target.rpartition(":")
        if colon and file.endswith(".py"):
            command = replace(command, target=f"{_moved_path(file, command.folder, folder)}:{factory}")
    elif isinstance(command, (Checkpoint, Restore, Export)):
        command = replace(command, path=_moved_path(command.path, command.folder, folder))
    elif isinstance(command, Break) and command.kind == "line":
        file, _, line = command.what.rpartition(":")
        if os.path.isfile(file) and " " not in (moved := _moved_path(file, "", folder)):
            command = replace(command, what=f"{moved}:{line}")
    elif isinstance(command, Run) and (there := _moved_path("", command.folder, folder)) != ".":
        return f"run -C {shlex.quote(there)} {line_of(command).removeprefix('run ')}"
    return line_of(command)


def _folds(command: Command) -> bool:
    """Return whether a command can be part of a `repeat` that the recorder writes."""
    return role_of(command) == "act"


def _moved_path(path: str, before: str, folder: str) -> str:
    """Return a path relative to one folder as it must be written in a script in another."""
    place = os.path.abspath(os.path.join(before, os.path.expanduser(path)))
    base = os.path.abspath(folder or before)
    return os.path.relpath(place, base) if os.path.commonpath([place, base]) == base else place


def _folded(commands: Sequence[Command], folder: str) -> Iterator[str]:
    for block, turns in repeats(commands, _folds, _SHORTEST):
        if turns > 1:
            yield f"repeat {turns} {{ {'; '.join(map(line_of, block))} }}"
        else:
            yield from (_line(command, folder) for command in block)
