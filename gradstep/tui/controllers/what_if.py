"""Editing what is under the cursor, and `try`: rerunning with something changed."""

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
    """Opens edits, and runs `try`."""

    def __init__(self, screen: Desk, typing: CommandLines) -> None:
        """Attach to the screen; `typing` opens the command line."""
        super().__init__(screen)
        self._typing = typing

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return the handler of each key."""
        return {"edit": self.edit_element, "try": lambda: self._begin("try set lr = ")}

    def commands(self) -> Mapping[str, Callable[[str], object]]:
        """Return the handler of each screen command."""
        return {"try": self.try_again}

    # -- edits --------------------------------------------------------------------------------------------------------
    def edit(self, line: str) -> None:
        """Open the command line with an edit; with a `try` of it when the past is shown."""
        self._begin(line if self.screen.past.row is None else f"try {line}")

    def _begin(self, line: str) -> None:
        if self.screen.queue.stop.script:
            self.screen.say("a script is never edited or rerun: & holds a copy, which can be")
        else:
            self._typing.begin(line)

    def edit_element(self, grad: bool = False) -> None:
        """Open the command line with an edit of the element under Tensor's cursor, or of its `.grad`."""
        view, spot = self.screen.tensor.view, self.screen.tensor.spot
        place = f"[{', '.join(map(str, spot))}]" if spot else ""
        named = view is not None and view.path
        self.edit(f"set {name_line(view.path)}{'.grad' if grad else ''}{place} = " if view and named else "set ")

    # -- trying -------------------------------------------------------------------------------------------------------
    def try_again(self, given: str) -> None:
        """Rerun with something changed; from the past stop being viewed, if any.

        Raises:
            GradstepError: it is not a valid `try`.
        """
        past = self.screen.past.row
        for command in parse_commands(f"try {given}"):
            if isinstance(command, Try) and not command.start and past is not None:
                command = replace(command, start=past.stop)
            self.screen.put(command_job(command))
