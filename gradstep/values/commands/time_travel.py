"""Commands that go back and forward in time, and compare points and branches."""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

from msgspec import Struct

from gradstep.values.commands.arguments import Argument, Option, count, expression, flag, name, whole, word
from gradstep.values.commands.edits import Assign, Clip, Freeze, Mode, Seed, UseOptimizer
from gradstep.values.commands.files import Restore
from gradstep.values.commands.statement_error import StatementError, place, positive
from gradstep.values.commands.syntax import CommandForm, Syntax, Word, line_of
from gradstep.values.expressions import Expression

HISTORY = 1 << 30
"""Default memory budget of the history, in bytes."""
HISTORY_TIME = 0.2
"""Default time budget of the history, as a share of the time of the commands themselves."""
EditCommand: TypeAlias = Assign | Freeze | Clip | UseOptimizer | Mode | Seed | Restore
"""The edits; each is added to the timeline."""
_POINTS = ("@branches", "now")


class Undo(Struct, frozen=True, tag=True):
    """Go back by `count` commands; with `phase`, to the start of the phase stopped inside."""

    syntax: ClassVar = Syntax(
        Word(
            "undo",
            "undo 3",
            "Go back by one command, or several; `undo phase`: to the start of the phase stopped inside.",
        ),
        CommandForm(count("count", optional=True)),
        CommandForm(flag("phase", "phase")),
        role="travel",
        needs="history",
    )
    count: int = 1
    phase: bool = False


class Redo(Struct, frozen=True, tag=True):
    """Redo `count` commands that were undone on this branch."""

    syntax: ClassVar = Syntax(
        Word("redo", "redo 3", "Redo one command that was undone, or several."),
        CommandForm(count("count", optional=True)),
        role="travel",
        inside=False,
        needs="history",
    )
    count: int = 1


class Goto(Struct, frozen=True, tag=True):
    """Go to a stop by its number, on any branch."""

    syntax: ClassVar = Syntax(
        Word("goto", "goto 12", "Go to a stop by its number, on any branch."),
        CommandForm(whole("stop")),
        role="travel",
        inside=False,
        needs="history",
    )
    stop: int


class BackUntil(Struct, frozen=True, tag=True):
    """Go back to the last earlier stop at which a condition held."""

    syntax: ClassVar = Syntax(
        Word("back", "back until loss < 1", "Go back to the last earlier stop at which a condition held."),
        CommandForm(word("until"), expression("condition")),
        role="travel",
        inside=False,
        needs="history",
    )
    condition: Expression


class WhoWrote(Struct, frozen=True, tag=True):
    """Name the command that last changed a tensor or a part of one, without going there."""

    syntax: ClassVar = Syntax(
        Word("who", "who wrote 2.weight.grad", "Name the command that last changed a tensor, or a part of one."),
        CommandForm(word("wrote"), expression("what")),
        role="output",
        needs="history",
    )
    what: Expression


class Branch(Struct, frozen=True, tag=True):
    """Name the branch that continues from here."""

    syntax: ClassVar = Syntax(
        Word("branch", "branch slow", "Name the branch that continues from here."),
        CommandForm(name("name")),
        role="note",
        inside=False,
        needs="history",
    )
    name: str


class Switch(Struct, frozen=True, tag=True):
    """Go to the end of a branch."""

    syntax: ClassVar = Syntax(
        Word("switch", "switch main", "Go to the end of a branch."),
        CommandForm(name("name", offers=("@branches",))),
        role="travel",
        inside=False,
        needs="history",
    )
    name: str


class Compare(Struct, frozen=True, tag=True):
    """List the differences of two points: each a stop's number, a branch, or `now`."""

    syntax: ClassVar = Syntax(
        Word(
            "compare", "compare main slow", "List the differences of two stops or branches; `now` is the current stop."
        ),
        CommandForm(name("first", _POINTS), name("second", _POINTS, optional=True)),
        role="output",
        needs="history",
    )
    first: str
    second: str = "now"


class Diff(Struct, frozen=True, tag=True):
    """Find where the runs that led to two points first diverge; each is a stop's number, a branch, or `now`."""

    syntax: ClassVar = Syntax(
        Word("diff", "diff main slow", "Find where two branches first diverge: command, tensor, module or node."),
        CommandForm(name("first", _POINTS), name("second", _POINTS, optional=True)),
        role="output",
        inside=False,
        needs="history",
    )
    first: str
    second: str = "now"


NO_CHANGE = ("It applies an edit, and reruns what followed.", "Write, for instance: try set lr = 0.01")
"""Explanation and remedy for a `try` without an edit."""


def _try(first: str, fields: dict[str, Any]) -> Try:
    if not all(isinstance(change, EditCommand) for change in fields["changes"]):
        raise StatementError("`try` needs an edit", *NO_CHANGE, *place(first))
    return Try(**fields)


def _changes_line(changes: tuple[EditCommand, ...]) -> str:
    lines = "; ".join(map(line_of, changes))
    return lines if len(changes) == 1 else f"{{ {lines} }}"


class Try(Struct, frozen=True, tag=True):
    """Rerun on a new branch with something changed, so that the two branches can be compared.

    It goes back to the stop `start` (0: the first), applies the edits, and reruns the commands from that stop to here.
    """

    syntax: ClassVar = Syntax(
        Word(
            "try",
            "try set lr = 0.01",
            "Rerun on a new branch with an edit, and compare; from=12 reruns from that stop.",
        ),
        CommandForm(
            Option("from", positive, field="start"),
            Argument("change", "changes", read=lambda change: (change,), write=_changes_line, offers=("@commands",)),
        ),
        role="travel",
        inside=False,
        needs="history",
        make=_try,
    )
    changes: tuple[EditCommand, ...]
    start: int = 0


TravelCommand: TypeAlias = Undo | Redo | Goto | BackUntil | WhoWrote | Branch | Switch | Compare | Diff
