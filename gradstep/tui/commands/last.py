"""The last session: where it is kept, and keeping it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from gradstep.steps.record import last_path, save
from gradstep.values.commands import Command, Load, Show


def last_session() -> Path:
    """Return the file that the last session is kept in; it may not exist."""
    return last_path()


def keep(commands: Sequence[Command]) -> bool:
    """Keep a session as the last one; tell whether it is. One that only looked is not worth the one before it.

    What `gradstep.open` was given no line can load, so it is not kept either.
    """
    loaded = any(isinstance(command, Load) for command in commands)
    only_looked = all(isinstance(command, Load | Show) for command in commands)
    if loaded and not (only_looked and last_path().exists()):
        # a home that can't be written to must not spoil the end of a session
        with suppress(OSError):
            save(last_path(), commands)
            return True
    return False
