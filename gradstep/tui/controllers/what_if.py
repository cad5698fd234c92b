"""Changing what is under the cursor, and doing the same again with something changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from gradstep.tui.commands.jobs import command_job
from gradstep.tui.controllers.command_line import CommandLines
from gradstep.tui.controllers.training import parse_commands
from gradstep.tui.desk import Controller, Desk
from gradstep.values.commands import Try
from gradstep.values.expressions import name_line


class WhatIf(Controller):
    """Begins changes, and does the same again with something changed."""

    def __init__(self, screen: Desk, typing: CommandLines) -> None:
        """Hold the screen; `typing` begins to type."""
        super().__init__(screen)
        self._typing = typing

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return what each key does."""
        return {"edit": self.edit_element, "try": lambda: self._typing.begin("try set lr = ")}

    def commands(self) -> Mapping[str, Callable[[str], object]]:
        """Return what each command of the screen's own does."""
        return {"try": self.try_again}

    # -- edits --------------------------------------------------------------------------------------------------------
    def edit(self, line: str) -> None:
        """Begin to type a change; in the past, one to do the same again with."""
        self._typing.begin(line if self.screen.past.row is None else f"try {line}")

    def edit_element(self, grad: bool = False) -> None:
        """Begin to type a change of the element under the cursor of Tensor, or of its `.grad`."""
        view, spot = self.screen.tensor.view, self.screen.tensor.spot
        place = f"[{', '.join(map(str, spot))}]" if spot else ""
        named = view is not None and view.path
        self.edit(f"set {name_line(view.path)}{'.grad' if grad else ''}{place} = " if view and named else "set ")

    # -- doing it again -----------------------------------------------------------------------------------------------
    def try_again(self, given: str) -> None:
        """Do the same again with something changed; from the past stop that is looked at, when one is.

        Raises:
            GradstepError: it is no `try`.
        """
        past = self.screen.past.row
        for command in parse_commands(f"try {given}"):
            if isinstance(command, Try) and not command.start and past is not None:
                command = replace(command, start=past.stop)
            self.screen.put(command_job(command))
