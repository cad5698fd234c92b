"""Lanes: the edges of a graph in execution order, drawn beside its rows as `git log --graph` draws commits."""

from __future__ import annotations

from collections.abc import Sequence

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

NODE, LEAF = "●", "◆"


def draw_lanes(edges: Sequence[Sequence[int]], leaves: Sequence[bool]) -> list[str]:
    """Return one string a row: the node on its lane, lanes that pass, and lanes that fork from or join the node.

    Args:
        edges: for each row, the later rows its edges lead to; several edges to one row share a lane.
        leaves: True for the rows drawn as leaves (`◆`).

    A lane belongs to the row it leads to. A node stands on the lane that leads to it; it opens lanes for rows that have
    none yet, the one that runs last straight below it, and joins those that have one.
    """
    lanes: list[int | None] = []
    rows = []
    for row, targets in enumerate(edges):
        own = lanes.index(row) if row in lanes else _free(lanes)
        cells = [UP | DOWN if target is not None else 0 for target in lanes]
        cells += [0] * (own + 1 - len(cells))
        lanes += [None] * (own + 1 - len(lanes))
        lanes[own] = None
        ends = []
        for target in sorted(set(targets), reverse=True):
            if target in lanes:
                ends.append((lanes.index(target), UP | DOWN))
                continue
            place = own if lanes[own] is None else _free(lanes)
            lanes += [None] * (place + 1 - len(lanes))
            cells += [0] * (place + 1 - len(cells))
            lanes[place] = target
            if place != own:
                ends.append((place, DOWN))
        passed = [target is not None for target in lanes]
        for place, through in ends:
            cells[place] |= through
            passed[place] = False
            _connect(cells, own, place)
        rows.append(_line(cells, own, LEAF if leaves[row] else NODE, passed))
        while lanes and lanes[-1] is None:
            lanes.pop()
    return rows


def _free(lanes: list[int | None]) -> int:
    return lanes.index(None) if None in lanes else len(lanes)


def _connect(cells: list[int], one: int, other: int) -> None:
    """Draw a stroke across the cells between two lanes."""
    low, high = min(one, other), max(one, other)
    cells[low] |= RIGHT
    cells[high] |= LEFT
    for place in range(low + 1, high):
        cells[place] |= LEFT | RIGHT


def _line(cells: list[int], own: int, mark: str, passed: list[bool]) -> str:
    """Write the cells two columns apart; the gap is a stroke where one cell reaches right.

    A lane that a stroke only passes over stays whole (`─│─`): `┼` is a lane that the node joins on its way further.
    """
    out = []
    for place, cell in enumerate(cells):
        over = cell == LEFT | RIGHT | UP | DOWN and passed[place]
        out.append(mark if place == own else "│" if over else STROKES[cell])
        out.append("─" if cell & RIGHT else " ")
    return "".join(out).rstrip()
