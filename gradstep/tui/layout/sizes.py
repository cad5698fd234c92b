"""Making panels larger and smaller by hand: plain functions from sizes to sizes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from gradstep.tui.layout.places import LEAST_HEIGHT, LEAST_WIDTH, Spot, Wish, spots_of


class Grip(NamedTuple):
    """What can be dragged: the edge below a panel, or the one at its right."""

    panel: str
    across: bool
    """True for the edge at the right."""


def grip_at(width: int, height: int, wish: Wish, x: int, y: int) -> Grip | None:
    """Return what a press of the mouse at a cell takes hold of: a gap, or the title row below one."""
    why, spots = spots_of(width, height, wish)
    if why is not None and spots and why.y + why.height <= y <= spots[0].y:
        return Grip("why", across=False)
    for spot, following in pairwise(spots):
        bottom = spot.y + spot.height
        if spot.column == following.column and bottom <= y <= following.y and spot.x <= x < spot.x + spot.width:
            return Grip(spot.names[0], across=False)
    last = max((spot.column for spot in spots), default=0)
    for spot in spots:
        if spot.column < last and x == spot.x + spot.width and y >= spots[0].y:
            return Grip(spot.names[0], across=True)
    return None


def resized(width: int, height: int, wish: Wish, panel: str, across: int, down: int) -> dict[str, int]:
    """Return the sizes after a panel has become wider and higher by some cells, as far as its neighbours allow it.

    The neighbour at the right gives way, or the one at the left of the last column; that below, or that above the
    last slot. Where a column has one slot only, Why gives way.
    """
    why, spots = spots_of(width, height, wish)
    sizes = dict(wish.sizes)
    own = next((spot for spot in spots if panel in spot.names), None)
    if own is None or wish.maximised:
        return sizes | {"why": max(2, why.height + down)} if why is not None and panel == "why" and down else sizes
    column = [spot for spot in spots if spot.column == own.column]
    if down and len(column) > 1:
        rows = _moved([spot.height for spot in column], column.index(own), down, LEAST_HEIGHT)
        sizes |= {spot.key: cells for spot, cells in zip(column, rows, strict=True)}
    elif down and why is not None:
        sizes["why"] = max(2, why.height - down)
    tops = _tops(spots)
    if across and len(tops) > 1:
        widths = _moved([spot.width for spot in tops], own.column, across, LEAST_WIDTH)
        sizes |= {f"|{i}": cells for i, cells in enumerate(widths)}
    return sizes


def _tops(spots: Sequence[Spot]) -> list[Spot]:
    """Return the first slot of each column."""
    return [
        spot for spot, before in zip(spots, [None, *spots], strict=False) if not before or before.column != spot.column
    ]


def _moved(cells: list[int], at: int, by: int, least: int) -> list[int]:
    """Give `by` cells to one of several from its neighbour, as long as each of the two keeps the least."""
    other = at + 1 if at + 1 < len(cells) else at - 1
    by = max(least - cells[at], min(by, cells[other] - least)) if cells[at] + cells[other] >= 2 * least else 0
    moved = list(cells)
    moved[at] += by
    moved[other] -= by
    return moved
