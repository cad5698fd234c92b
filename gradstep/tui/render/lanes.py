"""The branches of a timeline as lanes beside its rows, like `git log --graph`; branches fork to the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gradstep.values.views.timeline import TimelineRow

MOST = 6
"""Maximum number of lanes; further branches share the last one."""


class LaneRow(NamedTuple):
    """The lanes at one row: the text before the point, the lane of the point, and the text after it."""

    before: str
    lane: int
    after: str


class _Branch(NamedTuple):
    """The line of one branch: the row where it forks (-1: above all rows), its last row, and its lane."""

    start: int
    end: int
    lane: int


def lanes_of(rows: Sequence[TimelineRow]) -> list[LaneRow]:
    """Return the lanes for rows in chronological order; the current branch has the first lane.

    The line of a branch that does not end in these rows continues below the last.
    """
    place = {row.stop: i for i, row in enumerate(rows)}
    keys = ["" if row.way else row.branch for row in rows]
    last = {key: i for i, key in enumerate(keys)}
    ended = {name for row in rows for name in row.ends}
    branches: dict[str, _Branch] = {}
    for row, key in zip(rows, keys, strict=True):
        if key not in branches:
            start, end = place.get(row.parent, -1), last[key] if not key or key in ended else len(rows)
            parent = branches[keys[start]].lane if start >= 0 else 0
            branches[key] = _Branch(start, end, _free(branches, start, end, parent) if key else 0)
    return [_at(i, branches[key].lane, branches) for i, key in enumerate(keys)]


def _free(branches: dict[str, _Branch], start: int, end: int, parent: int) -> int:
    taken = {branch.lane for branch in branches.values() if branch.start <= end and start <= branch.end}
    return min(next(lane for lane in range(parent + 1, parent + len(branches) + 2) if lane not in taken), MOST - 1)


def _at(i: int, lane: int, branches: dict[str, _Branch]) -> LaneRow:
    """Draw one row: the lines that pass it, and the branches that fork at its point."""
    passing = {branch.lane for branch in branches.values() if branch.start < i <= branch.end and branch.lane != lane}
    begin = {branch.lane for branch in branches.values() if branch.start == i and branch.lane > lane}
    furthest = max(begin, default=lane)
    before = "".join("│ " if other in passing else "  " for other in range(lane))
    after = ""
    for other in range(lane + 1, max([furthest, *passing], default=lane) + 1):
        after += "─" if other <= furthest else " "
        if other in begin:
            after += "╮" if other == furthest else "┬"
        elif other in passing:
            after += "┼" if other < furthest else "│"
        else:
            after += "─" if other < furthest else " "
    return LaneRow(before, lane, after)
