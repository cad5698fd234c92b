"""The last session: where it is kept, and keeping it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from gradstep.steps.record import last_path, save
from gradstep.values.commands import Command


def last_session() -> Path:
    """Return the file that the last session is kept in; it may not exist."""
    return last_path()


def keep(commands: Sequence[Command]) -> None:
    """Keep a session as the last one. One in which nothing was done is not worth the one before it."""
    if commands:
        # a home that can't be written to must not spoil the end of a session
        with suppress(OSError):
            save(last_path(), commands)
