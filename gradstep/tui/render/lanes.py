"""The branches of a timeline as lanes beside its rows, as `git log --graph` draws them: forks go to the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gradstep.values.views.timeline import TimelineRow

MOST = 6
"""Lanes that are drawn beside each other; branches beyond that share the last one."""


class Lanes(NamedTuple):
    """The lanes at one row: what stands before the point, the lane of the point, and what stands behind it."""

    before: str
    lane: int
    after: str


class _Way(NamedTuple):
    """One lane's line: the row it forks off at (-1: above all), its last row, and the lane it forks off from."""

    start: int
    end: int
    lane: int


def lanes_of(rows: Sequence[TimelineRow]) -> list[Lanes]:
    """Return the lanes beside rows, which are in the order in which they were made; the present branch is on the first.

    The line of a branch that ends in none of the rows goes on below the last.
    """
    place = {row.stop: i for i, row in enumerate(rows)}
    keys = ["" if row.way else row.branch for row in rows]
    last = {key: i for i, key in enumerate(keys)}
    ended = {name for row in rows for name in row.ends}
    ways: dict[str, _Way] = {}
    for row, key in zip(rows, keys, strict=True):
        if key not in ways:
            start, end = place.get(row.parent, -1), last[key] if not key or key in ended else len(rows)
            parent = ways[keys[start]].lane if start >= 0 else 0
            ways[key] = _Way(start, end, _free(ways, start, end, parent) if key else 0)
    return [_at(i, ways[key].lane, ways) for i, key in enumerate(keys)]


def _free(ways: dict[str, _Way], start: int, end: int, parent: int) -> int:
    taken = {way.lane for way in ways.values() if way.start <= end and start <= way.end}
    return min(next(lane for lane in range(parent + 1, parent + len(ways) + 2) if lane not in taken), MOST - 1)


def _at(i: int, lane: int, ways: dict[str, _Way]) -> Lanes:
    """Draw one row: lines that pass it, and those that begin at its point."""
    passing = {way.lane for way in ways.values() if way.start < i <= way.end and way.lane != lane}
    begin = {way.lane for way in ways.values() if way.start == i and way.lane > lane}
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
    return Lanes(before, lane, after)
