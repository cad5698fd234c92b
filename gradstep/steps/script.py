"""A script as a value: what parsing a `.steps` file gives, and what the runner walks over."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from gradstep.values.commands import FILES, TRAVELS, Break, Check, Command, Into, Screenshot, WhyNone


class Line(Struct, frozen=True):
    """One command, and where it stands.

    `number` is the line in the file and `column` the place in it, both from 1; `text` is the command as written.
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
    """`expect error "TEXT" { ... }`: one of the body's commands must fail with an error that says TEXT."""

    error: str
    body: tuple[Statement, ...]
    number: int
    text: str
    column: int = 1


Statement: TypeAlias = Line | Repeat | ExpectError


class Script(Struct, frozen=True):
    """A whole script: its path as given, its source lines, and its statements in order."""

    path: str
    source: tuple[str, ...]
    statements: tuple[Statement, ...]

    def observes(self) -> bool:
        """Return whether something in it needs what a phase keeps: a stop inside, a picture, `why`, `check`, undo."""
        return self.inside() or any(map(_observes, self.statements))

    def inside(self) -> bool:
        """Return whether it may stop inside a phase."""
        return any(map(_inside, self.statements))

    def travels(self) -> bool:
        """Return whether something in it needs the history: going back, `why`, a file, a picture with the timeline."""
        return any(map(_travels, self.statements))

    def source_of(self, number: int) -> str:
        """Return source line `number`, counted from 1; empty beyond the end."""
        return self.source[number - 1] if 0 < number <= len(self.source) else ""


def _observes(statement: Statement) -> bool:
    if isinstance(statement, Line):
        return isinstance(statement.command, (Screenshot, WhyNone, Check, *TRAVELS, *FILES))
    return isinstance(statement, ExpectError) or any(map(_observes, statement.body))


def _inside(statement: Statement) -> bool:
    if isinstance(statement, Line):
        return isinstance(statement.command, (Into, Break))
    return any(map(_inside, statement.body))


def _travels(statement: Statement) -> bool:
    if isinstance(statement, Line):
        return isinstance(statement.command, (Screenshot, WhyNone, *TRAVELS, *FILES))
    return any(map(_travels, statement.body))
