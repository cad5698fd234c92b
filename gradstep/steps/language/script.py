"""A parsed script."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import TypeAlias

from msgspec import Struct

from gradstep.values.commands import Command, Run, syntax_of


class StepsLine(Struct, frozen=True):
    """A command and its position.

    `number` is the line in the file and `column` the column, both from 1; `text` is the command as written.
    """

    command: Command
    number: int
    text: str
    column: int = 1


class Repeat(Struct, frozen=True):
    """`repeat COUNT { ... }`. The count is at least 1 and the body is never empty."""

    count: int
    body: tuple[Statement, ...]
    number: int
    text: str
    column: int = 1


class ExpectError(Struct, frozen=True):
    """`expect error "TEXT" { ... }`: a command of the body must fail with an error that contains TEXT."""

    error: str
    body: tuple[Statement, ...]
    number: int
    text: str
    column: int = 1


Statement: TypeAlias = StepsLine | Repeat | ExpectError


class Script(Struct, frozen=True):
    """A script: its path as given, its source lines, and its statements in order."""

    path: str
    source: tuple[str, ...]
    statements: tuple[Statement, ...]

    def observes(self) -> bool:
        """Return whether any command needs phases to be observed: stepping, screenshots, `why`, `check`, undo."""
        return _needs(self.statements, {"inside", "graph", "history"}) or any(map(_expects_error, self.statements))

    def runs(self) -> bool:
        """Return whether it runs a training script, rather than a workload."""
        return any(isinstance(each, StepsLine) and isinstance(each.command, Run) for each in self.statements)

    def inside(self) -> bool:
        """Return whether it may stop inside a phase."""
        return _needs(self.statements, {"inside"})

    def travels(self) -> bool:
        """Return whether any command needs the history: time travel, `why`, files, screenshots."""
        return _needs(self.statements, {"history"})

    def source_of(self, number: int) -> str:
        """Return source line `number`, counted from 1; empty beyond the end."""
        return self.source[number - 1] if 0 < number <= len(self.source) else ""


def _needs(statements: Iterable[Statement], what: Container[str]) -> bool:
    return any(
        syntax_of(each.command).needs in what if isinstance(each, StepsLine) else _needs(each.body, what)
        for each in statements
    )


def _expects_error(statement: Statement) -> bool:
    return isinstance(statement, ExpectError) or (
        isinstance(statement, Repeat) and any(map(_expects_error, statement.body))
    )
