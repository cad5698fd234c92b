"""Lanes: the edges of a graph in execution order, drawn beside its rows as `git log --graph` draws commits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

LEFT, RIGHT, UP, DOWN = 1, 2, 4, 8

STROKES = {
    0: " ",
    LEFT | RIGHT: "─",
    UP | DOWN: "│",
    LEFT | DOWN: "╮",
    RIGHT | DOWN: "╭",
    LEFT | UP: "╯",
    RIGHT | UP: "╰",
    LEFT | UP | DOWN: "┤",
    RIGHT | UP | DOWN: "├",
    LEFT | RIGHT | DOWN: "┬",
    LEFT | RIGHT | UP: "┴",
    LEFT | RIGHT | UP | DOWN: "┼",
}
"""The box-drawing character for a set of directions in which a stroke leaves a cell."""

NODE, LEAF, GROUP = "●", "◆", "■"
DOWN_TO, UP_FROM = "↓", "↑"
"""Marks the number of the row that an edge without a lane leads to, and the row where such an edge ends."""

EVERY = 256
"""Rows between two saved states from which lanes can be drawn."""

_Lanes = list[int]
"""The row that each lane leads to; -1 for a free lane."""


class Lanes:
    """The lanes of one graph: laid out once; drawing a window takes time proportional to its length.

    A lane belongs to the row it leads to. A node stands on the lane that leads to it; it opens lanes for rows that have
    none yet, the one that runs last straight below it, and joins those that have one. Where more than `most` lanes
    would be needed, the rows that run last get none: the edges to them are named by number.

    Args:
        edges: for each row, the later rows its edges lead to; several edges to one row share a lane.
        most: how many lanes there may be.
    """

    def __init__(self, edges: Sequence[Sequence[int]], most: int = 8) -> None:
        self._edges = edges
        self._named = _without_lane(edges, max(1, most))
        self._starts: list[tuple[_Lanes, int]] = []
        lanes: _Lanes = []
        own = -1
        for row, targets in enumerate(edges):
            if not row % EVERY:
                self._starts.append((lanes.copy(), own))
            if len(targets) == 1 and row in lanes and targets[0] not in lanes and targets[0] not in self._named:
                own = lanes.index(row)
                lanes[own] = targets[0]  # what _step would do for most rows
            else:
                own, _, _ = _step(lanes, row, targets, self._named, own)

    def draw(self, first: int, end: int, marks: Sequence[str], names: Sequence[int]) -> list[str]:
        """Return one string a row: the node on its lane, lanes that pass, and lanes that fork from or join the node.

        Args:
            first: the first row.
            end: the row after the last one.
            marks: for each row from `first` on, its symbol: `●`, `◆` or `■`.
            names: the number of each row of the graph.
        """
        if first >= end:
            return []
        start = first - first % EVERY
        lanes, own = self._starts[start // EVERY]
        lanes, drawn = lanes.copy(), []
        for row in range(start, end):
            before = lanes.copy()
            own, ends, named = _step(lanes, row, self._edges[row], self._named, own)
            if row >= first:
                line = _line(before, lanes, own, ends, marks[row - first])
                come = UP_FROM if row in self._named else ""
                notes = come + "".join(f"{DOWN_TO}{names[target]}" for target in sorted(named))
                drawn.append(f"{line} {notes}" if notes else line)
        return drawn


def _without_lane(edges: Sequence[Sequence[int]], most: int) -> frozenset[int]:
    """Return the rows without a lane when there are at most `most`: where there are too many, those that run last.

    So the edges that are drawn are the short ones.
    """
    waiting: set[int] = set()
    without: set[int] = set()

    def leave(room: int) -> None:
        while len(waiting) > room:
            last = max(waiting)
            waiting.remove(last)
            without.add(last)

    for row, targets in enumerate(edges):
        waiting.discard(row)
        if row in without:
            leave(most - 1)  # it uses a free lane
        waiting.update(targets)
        waiting -= without.intersection(targets)
        leave(most)
    return frozenset(without)


def _step(
    lanes: _Lanes, row: int, targets: Sequence[int], without: frozenset[int], above: int
) -> tuple[int, list[tuple[int, int]], list[int]]:
    """Turn the lanes above a row into those below it.

    A row that no lane leads to is not drawn on lane `above`, right below the row before it: they would look joined.

    Returns:
        The lane that the row stands on, the lanes that it reaches sideways with the strokes these have there, and the
        rows that it leads to without a lane.
    """
    if row in lanes:
        own = lanes.index(row)
    else:
        own = next(
            place for place in range(len(lanes) + 2) if place != above and lanes[place : place + 1] in ([], [-1])
        )
        lanes += [-1] * (own + 1 - len(lanes))
    lanes[own] = -1
    ends, named = [], []
    for target in sorted(set(targets), reverse=True) if len(targets) > 1 else targets:
        if target in without:
            named.append(target)
        elif target in lanes:
            ends.append((lanes.index(target), UP | DOWN))
        else:
            place = own if lanes[own] == -1 else _free(lanes)
            if place == len(lanes):
                lanes.append(-1)
            lanes[place] = target
            if place != own:
                ends.append((place, DOWN))
    while lanes and lanes[-1] == -1:
        lanes.pop()
    return own, ends, named


def _free(lanes: _Lanes) -> int:
    return lanes.index(-1) if -1 in lanes else len(lanes)


def _line(before: _Lanes, after: _Lanes, own: int, ends: Sequence[tuple[int, int]], mark: str) -> str:
    """Draw a row from the lanes above and below it, two columns for each lane.

    A lane that a stroke only crosses stays whole (`─│─`): `┼` is a lane that the node joins on its way further.
    """
    cells = [UP | DOWN if target != -1 else 0 for target in before]
    cells += [0] * (max(chain((own, len(after) - 1), (place for place, _ in ends))) + 1 - len(cells))
    passed = {place for place, target in enumerate(after) if target != -1} - {place for place, _ in ends}
    for place, through in ends:
        cells[place] |= through
        low, high = min(own, place), max(own, place)
        cells[low] |= RIGHT
        cells[high] |= LEFT
        for between in range(low + 1, high):
            cells[between] |= LEFT | RIGHT
    out = []
    for place, cell in enumerate(cells):
        over = cell == LEFT | RIGHT | UP | DOWN and place in passed
        out.append(mark if place == own else "│" if over else STROKES[cell])
        out.append("─" if cell & RIGHT else " ")
    return "".join(out).rstrip()
