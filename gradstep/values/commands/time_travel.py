"""Commands that go back and forth in time, and compare one way with another."""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

from msgspec import Struct

from gradstep.values.commands.arguments import Argument, Option, count, expression, flag, name, whole, word
from gradstep.values.commands.edits import Assign, Clip, Freeze, Mode, Seed, UseOptimizer
from gradstep.values.commands.files import Restore
from gradstep.values.commands.misfit import MisfitError, place, positive
from gradstep.values.commands.syntax import Form, Syntax, Word, line_of
from gradstep.values.expressions import Expression

HISTORY = 1 << 30
"""Bytes that may be kept to go back in time with, unless told."""
EditCommand: TypeAlias = Assign | Freeze | Clip | UseOptimizer | Mode | Seed | Restore
"""Those that change something: each leads to a new point of the timeline."""
_POINTS = ("@branches", "now")


class Undo(Struct, frozen=True, tag=True):
    """Go back by some commands; with `phase`, to the start of the phase that is stopped inside."""

    syntax: ClassVar = Syntax(
        Word("undo", "undo 3", "Go back by one command, or by several; `undo phase` when it is stopped inside one."),
        Form(count("count", optional=True)),
        Form(flag("phase", "phase")),
        role="travel",
        needs="history",
    )
    count: int = 1
    phase: bool = False


class Redo(Struct, frozen=True, tag=True):
    """Go forth again by some commands that were undone on this branch."""

    syntax: ClassVar = Syntax(
        Word("redo", "redo 3", "Go forward again by one command that was undone, or by several."),
        Form(count("count", optional=True)),
        role="travel",
        inside=False,
        needs="history",
    )
    count: int = 1


class Goto(Struct, frozen=True, tag=True):
    """Go to a stop by its number, on whatever branch it is."""

    syntax: ClassVar = Syntax(
        Word("goto", "goto 12", "Go to a stop by its number, on whatever branch it is."),
        Form(whole("stop")),
        role="travel",
        inside=False,
        needs="history",
    )
    stop: int


class BackUntil(Struct, frozen=True, tag=True):
    """Go back to the last stop before this one at which a condition held."""

    syntax: ClassVar = Syntax(
        Word("back", "back until loss < 1", "Go back to the last stop at which a condition held."),
        Form(word("until"), expression("condition")),
        role="travel",
        inside=False,
        needs="history",
    )
    condition: Expression


class WhoWrote(Struct, frozen=True, tag=True):
    """Name the command that last changed a tensor or a part of one; goes nowhere."""

    syntax: ClassVar = Syntax(
        Word("who", "who wrote 2.weight.grad", "Name the command that last changed a tensor, or a part of one."),
        Form(word("wrote"), expression("what")),
        role="tell",
        needs="history",
    )
    what: Expression


class Branch(Struct, frozen=True, tag=True):
    """Give what is done from here on a name of its own."""

    syntax: ClassVar = Syntax(
        Word("branch", "branch slow", "Give what is done from here on a name of its own."),
        Form(name("name")),
        role="note",
        inside=False,
        needs="history",
    )
    name: str


class Switch(Struct, frozen=True, tag=True):
    """Go to the end of a branch."""

    syntax: ClassVar = Syntax(
        Word("switch", "switch main", "Go to the end of a branch."),
        Form(name("name", offers=("@branches",))),
        role="travel",
        inside=False,
        needs="history",
    )
    name: str


class Compare(Struct, frozen=True, tag=True):
    """List in what two points differ: each a stop's number, a branch, or `now`."""

    syntax: ClassVar = Syntax(
        Word("compare", "compare main slow", "List in what two stops or branches differ; `now` is this one."),
        Form(name("first", _POINTS), name("second", _POINTS, optional=True)),
        role="tell",
        needs="history",
    )
    first: str
    second: str = "now"


class Diff(Struct, frozen=True, tag=True):
    """Find where what led to two points first differs; each a stop's number, a branch, or `now`."""

    syntax: ClassVar = Syntax(
        Word("diff", "diff main slow", "Find where two branches first differ: command, tensor, module or node."),
        Form(name("first", _POINTS), name("second", _POINTS, optional=True)),
        role="tell",
        inside=False,
        needs="history",
    )
    first: str
    second: str = "now"


NO_CHANGE = ("It makes a change, and does the same again after it.", "Write, for instance: try set lr = 0.01")
"""What is said of a `try` that changes nothing, and the remedy."""


def _try(first: str, fields: dict[str, Any]) -> Try:
    if not all(isinstance(change, EditCommand) for change in fields["changes"]):
        raise MisfitError("`try` takes a change", *NO_CHANGE, *place(first))
    return Try(**fields)


def _changes_line(changes: tuple[EditCommand, ...]) -> str:
    lines = "; ".join(map(line_of, changes))
    return lines if len(changes) == 1 else f"{{ {lines} }}"


class Try(Struct, frozen=True, tag=True):
    """Do the same again with something changed, on a branch of its own, so that the two can be compared.

    It goes back to the stop `start` (0: the first), makes the changes, and carries out again what came after that stop
    on the way to here.
    """

    syntax: ClassVar = Syntax(
        Word(
            "try",
            "try set lr = 0.01",
            "Do the same again with something changed, on a branch of its own, and compare; from=12 from that stop on.",
        ),
        Form(
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
