"""Saving the last session."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from gradstep.steps.record import last_path, save
from gradstep.values.commands import Command, Load, Show


def last_session() -> Path:
    """Return the file of the last session; it may not exist."""
    return last_path()


def keep(commands: Sequence[Command]) -> bool:
    """Save a session as the last one, and return whether it was saved.

    A session that only selected tensors does not replace an earlier one. A session without a `load`, as of
    `gradstep.open`, could not be replayed and is not saved.
    """
    loaded = any(isinstance(command, Load) for command in commands)
    only_looked = all(isinstance(command, Load | Show) for command in commands)
    if loaded and not (only_looked and last_path().exists()):
        # an unwritable home must not break the exit
        with suppress(OSError):
            save(last_path(), commands)
            return True
    return False
