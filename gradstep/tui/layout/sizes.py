"""Resizing of panels by key and mouse, as functions of the layout state."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from gradstep.tui.layout.plan import LEAST_HEIGHT, LEAST_WIDTH, LayoutState, SlotPlacement, slots_of


class Divider(NamedTuple):
    """An edge that can be dragged: the one below a panel, or the one at its right."""

    panel: str
    across: bool
    """True for the edge at the right."""


def divider_at(width: int, height: int, state: LayoutState, x: int, y: int) -> Divider | None:
    """Return the divider at a cell, which is in a gap or in the title row below one; None for none."""
    why, slots = slots_of(width, height, state)
    if why is not None and slots and why.y + why.height <= y <= slots[0].y:
        return Divider("why", across=False)
    for slot, following in pairwise(slots):
        bottom = slot.y + slot.height
        if slot.column == following.column and bottom <= y <= following.y and slot.x <= x < slot.x + slot.width:
            return Divider(slot.names[0], across=False)
    last = max((slot.column for slot in slots), default=0)
    for slot in slots:
        if slot.column < last and x == slot.x + slot.width and y >= slots[0].y:
            return Divider(slot.names[0], across=True)
    return None


def resized(width: int, height: int, state: LayoutState, panel: str, across: int, down: int) -> dict[str, int]:
    """Return the sizes after a panel was made wider and higher by some cells, within the minimum of its neighbour.

    The neighbour that shrinks is the one at the right, for the last column the one at the left; and the one below, for
    the last slot the one above. If a column has only one slot, Why shrinks.
    """
    why, slots = slots_of(width, height, state)
    sizes = dict(state.sizes)
    own = next((slot for slot in slots if panel in slot.names), None)
    if own is None or state.maximised:
        return sizes | {"why": max(2, why.height + down)} if why is not None and panel == "why" and down else sizes
    column = [slot for slot in slots if slot.column == own.column]
    if down and len(column) > 1:
        rows = _moved([slot.height for slot in column], column.index(own), down, LEAST_HEIGHT)
        sizes |= {slot.key: cells for slot, cells in zip(column, rows, strict=True)}
    elif down and why is not None:
        sizes["why"] = max(2, why.height - down)
    tops = _tops(slots)
    if across and len(tops) > 1:
        widths = _moved([slot.width for slot in tops], own.column, across, LEAST_WIDTH)
        sizes |= {f"|{i}": cells for i, cells in enumerate(widths)}
    return sizes


def _tops(slots: Sequence[SlotPlacement]) -> list[SlotPlacement]:
    """Return the first slot of each column."""
    return [
        slot for slot, before in zip(slots, [None, *slots], strict=False) if not before or before.column != slot.column
    ]


def _moved(cells: list[int], at: int, by: int, least: int) -> list[int]:
    """Move `by` cells from a neighbour to the one at index `at`; both keep `least`."""
    other = at + 1 if at + 1 < len(cells) else at - 1
    by = max(least - cells[at], min(by, cells[other] - least)) if cells[at] + cells[other] >= 2 * least else 0
    moved = list(cells)
    moved[at] += by
    moved[other] -= by
    return moved
