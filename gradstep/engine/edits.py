"""What-if edits: commands that change what is being trained, each a transaction as a phase is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradstep.values.commands import EditCommand

if TYPE_CHECKING:
    from gradstep.engine.held import Held


def edit(held: Held, command: EditCommand) -> None:
    """Carry out an edit."""
    raise NotImplementedError
