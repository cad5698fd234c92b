"""Saving the last session."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from gradstep.steps.record import last_path, save
from gradstep.tui.commands.jobs import to_run_again
from gradstep.values.commands import Checkpoint, Command, Export, Load, Restore, Run, Show


def last_session() -> Path:
    """Return the file of the last session; it may not exist."""
    return last_path()


def keep(commands: Sequence[Command], python: str = "") -> bool:
    """Save a session as the last one, and return whether it was saved.

    A session that only selected tensors does not replace an earlier one. A session without a `load` or a `run`, as of
    `gradstep.open`, could not be replayed and is not saved. Of a training script, which may run for hours, what is
    saved runs it to its first stop, with the breakpoints. A file that a session wrote is not written again, except a
    checkpoint if the session restores one.

    Args:
        commands: the session.
        python: the interpreter of a training script; empty for gradstep's own.
    """
    restores = any(isinstance(command, Restore) for command in commands)
    written = Export if restores else Checkpoint | Export
    commands = [command for command in commands if not isinstance(command, written)]
    run = next((command for command in reversed(commands) if isinstance(command, Run)), None)
    loaded = run is not None or any(isinstance(command, Load) for command in commands)
    only_looked = all(isinstance(command, Load | Run | Show) for command in commands)
    if loaded and not (only_looked and last_path().exists()):
        # an unwritable home must not break the exit
        with suppress(OSError):
            save(last_path(), commands if run is None else to_run_again(run, commands), python)
            return True
    return False
