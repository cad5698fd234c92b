"""Lanes: the edges of a graph in execution order, drawn beside its rows as `git log --graph` draws commits."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import chain
from typing import Protocol

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
"""Nodes between two saved states from which lanes can be drawn."""

_Lanes = list[int]
"""The row that each lane leads to; -1 for a free lane."""


class Rows(Protocol):
    """The rows of a graph, each named by its first node."""

    def node_of(self, row: int) -> int:
        """Return the first node of a row."""
        ...

    def walk(self, start: int) -> Iterator[tuple[int, Sequence[int]]]:
        """Yield the rows that begin at node `start` or after it, each with the later rows that its edges lead to."""
        ...


class Lanes:
    """The lanes of one graph: laid out once; drawing a window takes time proportional to its length.

    A lane belongs to the row it leads to. A node stands on the lane that leads to it; it opens lanes for rows that have
    none yet, the one that runs last straight below it, and joins those that have one. Where more than `most` lanes
    would be needed, the rows that run last get none: the edges to them are named by number.

    Args:
        rows: the rows and their edges; several edges to one row share a lane.
        most: how many lanes there may be.
        like: lanes of the same graph folded otherwise, with as many lanes at most: only what differs is laid out.
        differ: from which node to which other one the rows are not those of `like`.
    """

    def __init__(self, rows: Rows, most: int = 8, like: Lanes | None = None, differ: tuple[int, int] = (0, 0)) -> None:
        self._rows, self._most = rows, max(1, most)
        self._waits: list[tuple[frozenset[int], frozenset[int]]] = []
        """At every `EVERY`-th node, the rows further on that edges lead to: those that have a lane, and the others."""
        self._named: dict[int, int] = {}
        """The rows without a lane, and for each of them the row at which there were too many."""
        self._starts: list[tuple[_Lanes, int]] = []
        """At every `EVERY`-th node, the lanes above the first row that begins there or later, and the lane before."""
        low, high = differ
        if like is not None:
            # rows before those that differ, but with edges into them, differ too
            low = min(low // EVERY, len(like._waits) - 1)
            while low and not all(_outside(rows, differ) for rows in like._waits[low]):
                low -= 1
            self._waits, self._starts = like._waits[:low], like._starts[:low]
            self._named = {row: at for row, at in like._named.items() if at < low * EVERY}
        self._choose_named(like, high)
        if like is not None and (changed := self._named.keys() ^ like._named.keys()):
            self._starts, high = [], max(high, max(changed) + 1)
        self._lay_out(like, high)

    def _choose_named(self, like: Lanes | None, high: int) -> None:
        """Choose the rows without a lane: where there are too many for `most` lanes, those that run last.

        So the edges that are drawn are the short ones.
        """
        most, waits = self._most, self._waits
        low = len(waits)
        waiting, without = map(set, like._waits[low]) if like is not None and low else (set(), set())

        def leave(room: int, row: int) -> None:
            while len(waiting) > room:
                last = max(waiting)
                waiting.remove(last)
                without.add(last)
                self._named[last] = row

        for row, targets in self._rows.walk(low * EVERY):
            while len(waits) * EVERY <= row:
                now = frozenset(waiting), frozenset(without)
                if like is not None and len(waits) * EVERY >= high and now == like._waits[len(waits)]:
                    self._named |= {row: at for row, at in like._named.items() if at >= len(waits) * EVERY}
                    waits += like._waits[len(waits) :]
                    return
                waits.append(now)
            waiting.discard(row)
            if row in without:
                without.remove(row)
                leave(most - 1, row)  # it uses a free lane
            waiting.update(targets)
            if without:
                waiting -= without
            if len(waiting) > most:
                leave(most, row)

    def _lay_out(self, like: Lanes | None, high: int) -> None:
        """Give every row its lane."""
        starts, named = self._starts, self._named
        low = len(starts)
        lanes, own = like._starts[low] if like is not None and low else ([], -1)
        lanes = lanes.copy()
        for row, targets in self._rows.walk(low * EVERY):
            while len(starts) * EVERY <= row:
                now = lanes.copy(), own
                if like is not None and len(starts) * EVERY >= high and now == like._starts[len(starts)]:
                    starts += like._starts[len(starts) :]
                    return
                starts.append(now)
            if len(targets) == 1 and row in lanes and targets[0] not in lanes and targets[0] not in named:
                own = lanes.index(row)
                lanes[own] = targets[0]  # what _step would do for most rows
            else:
                own, _, _ = _step(lanes, row, targets, named, own)

    def draw(self, first: int, end: int, marks: Sequence[str]) -> list[str]:
        """Return one string a row: the node on its lane, lanes that pass, and lanes that fork from or join the node.

        Args:
            first: the first row.
            end: the row after the last one.
            marks: for each row from `first` on, its symbol: `●`, `◆` or `■`.
        """
        if first >= end:
            return []
        place = self._rows.node_of(first)
        start = place // EVERY
        lanes, own = self._starts[start]
        lanes, drawn = lanes.copy(), list[str]()
        for row, targets in self._rows.walk(start * EVERY):
            before = lanes.copy()
            own, ends, named = _step(lanes, row, targets, self._named, own)
            if row >= place:
                line = _line(before, lanes, own, ends, marks[len(drawn)])
                come = UP_FROM if row in self._named else ""
                notes = come + "".join(f"{DOWN_TO}{target}" for target in sorted(named))
                drawn.append(f"{line} {notes}" if notes else line)
                if len(drawn) == end - first:
                    break
        return drawn


def _outside(rows: Iterable[int], differ: tuple[int, int]) -> bool:
    """Return whether no row begins in a range of nodes."""
    return not any(differ[0] <= row < differ[1] for row in rows)


def _step(
    lanes: _Lanes, row: int, targets: Sequence[int], without: Container[int], above: int
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
