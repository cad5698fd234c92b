"""What if: which commands to re-run with something changed, and the name of their branch."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from itertools import takewhile
from typing import NamedTuple

from gradstep.engine.history.points import TimelinePoint
from gradstep.engine.history.timeline import Timeline
from gradstep.values.commands import Assign, Command, EditCommand, Freeze, PointCommand, line_of
from gradstep.values.expressions import expression_line

_NAME = 24
"""Maximum number of characters in the name of a branch."""


class Again(NamedTuple):
    """What to re-run: from where, which commands, and the end to compare with."""

    start: TimelinePoint
    commands: Sequence[PointCommand]
    end: str
    """A branch, or the number of a stop that is not the last of any branch."""


def again_from(timeline: Timeline, start: int) -> Again:
    """Return the commands since a stop, on the way to the present one; for the present one, those that were undone.

    Args:
        timeline: the history.
        start: a stop, 0 for the first. If it is not on the way to the present one, the commands of its branch.

    Raises:
        GradstepError: there is no such stop, or no history.
    """
    here = timeline.here()
    begin = timeline.at(start or min(timeline.points))
    ends = (here, timeline.branches[timeline.branch], timeline.branches.get(begin.branch, begin))
    way = next(filter(None, (_way(begin, end) for end in ends)), [])
    last = way[-1] if way else begin
    end = next((name for name, point in timeline.branches.items() if point is last), str(last.number))
    return Again(begin, [point.command for point in way if point.command is not None], end)


def _way(begin: TimelinePoint, end: TimelinePoint) -> list[TimelinePoint]:
    """Return the points after `begin` on the way to `end`; empty if it is not on that way."""
    way: list[TimelinePoint] = []
    for point in end.path():
        if point is begin:
            return way[::-1]
        way.append(point)
    return []


def otherwise(
    changes: Sequence[EditCommand], done: Sequence[PointCommand]
) -> tuple[list[EditCommand], Sequence[PointCommand]]:
    """Return the changes to begin with, and the commands to re-run after them.

    The commands may begin with the changes of an earlier trial: those of something else are kept, those of the same
    thing are replaced.
    """
    before = [
        each
        for each in takewhile(lambda command: isinstance(command, EditCommand), done)
        if isinstance(each, EditCommand)
    ]
    changed = set(map(_subject, changes))
    return [*(each for each in before if _subject(each) not in changed), *changes], done[len(before) :]


def _subject(command: EditCommand) -> str:
    """Return what a change applies to."""
    match command:
        case Assign(target):
            return f"set {expression_line(target)}"
        case Freeze(pattern):
            return f"freeze {pattern}"
        case _:
            return type(command).__name__


def changes_line(changes: Sequence[Command]) -> str:
    """Write changes as one line."""
    return "; ".join(map(line_of, changes))


def branch_name(changes: str, taken: Container[str]) -> str:
    """Return an unused name for the branch of some changes, such as `lr-0.01`."""
    words = changes.partition("; ")[0].removeprefix("set ")
    name = re.sub(r"[^\w.+*-]+", "-", words).strip("-")[:_NAME].strip("-") or "otherwise"
    number = 2
    unique = name
    while unique in taken or unique.isdigit() or unique == "now":
        unique, number = f"{name}-{number}", number + 1
    return unique
