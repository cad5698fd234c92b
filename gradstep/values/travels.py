"""Commands that go back and forth in time, and what they are as lines."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from gradstep.values.edits import EditCommand, edit_line
from gradstep.values.expressions import Expression, expression_line

HISTORY = 1 << 30
"""Bytes that may be kept to go back in time with, unless told."""


class Undo(Struct, frozen=True, tag=True):
    """Go back by some commands; with `phase`, to the start of the phase that is stopped inside."""

    count: int = 1
    phase: bool = False


class Redo(Struct, frozen=True, tag=True):
    """Go forth again by some commands that were undone on this branch."""

    count: int = 1


class Goto(Struct, frozen=True, tag=True):
    """Go to a stop by its number, on whatever branch it is."""

    stop: int


class BackUntil(Struct, frozen=True, tag=True):
    """Go back to the last stop before this one at which a condition held."""

    condition: Expression


class WhoWrote(Struct, frozen=True, tag=True):
    """Say which command last changed a tensor or a part of one; goes nowhere."""

    what: Expression


class Branch(Struct, frozen=True, tag=True):
    """Give what is done from here on a name of its own."""

    name: str


class Switch(Struct, frozen=True, tag=True):
    """Go to the end of a branch."""

    name: str


class Compare(Struct, frozen=True, tag=True):
    """Say in what two points differ: each a stop's number, a branch, or `now`."""

    first: str
    second: str = "now"


class Diff(Struct, frozen=True, tag=True):
    """Say where what led to two points parts first; each a stop's number, a branch, or `now`."""

    first: str
    second: str = "now"


class Try(Struct, frozen=True, tag=True):
    """Do the same again with something changed, on a branch of its own, so that the two can be compared.

    It goes back to the stop `start` (0: the first), makes the changes, and carries out again what came after that stop
    on the way to here.
    """

    changes: tuple[EditCommand, ...]
    start: int = 0


TravelCommand: TypeAlias = Undo | Redo | Goto | BackUntil | WhoWrote | Branch | Switch | Compare | Diff


def travel_line(command: TravelCommand | Try) -> str:
    """Write a command as the line of a `.steps` script that replays it."""
    match command:
        case Undo(count, phase):
            return "undo phase" if phase else _counted("undo", count)
        case Redo(count):
            return _counted("redo", count)
        case Goto(stop):
            return f"goto {stop}"
        case BackUntil(condition):
            return f"back until {expression_line(condition)}"
        case WhoWrote(what):
            return f"who wrote {expression_line(what)}"
        case Branch(name):
            return f"branch {name}"
        case Switch(name):
            return f"switch {name}"
        case Compare(first, second):
            return f"compare {first} {second}"
        case Diff(first, second):
            return f"diff {first} {second}"
        case Try(changes, start):
            head = f"try from={start}" if start else "try"
            lines = "; ".join(map(edit_line, changes))
            return f"{head} {lines}" if len(changes) == 1 else f"{head} {{ {lines} }}"


def _counted(word: str, count: int) -> str:
    return word if count == 1 else f"{word} {count}"
