"""Where everything stands on a screen of any size: plain functions from a size and a layout to places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

from textual.geometry import Offset, Region, Size, Spacing
from textual.layout import Layout as TextualLayout
from textual.layout import WidgetPlacement

from gradstep.tui.layout.layouts import GUESTS, PANELS, Column, Slot, hidden_guests, layout_of

if TYPE_CHECKING:
    from textual.widget import Widget

LEAST_WIDTH, LEAST_HEIGHT = 20, 3
"""Cells that a column, and rows that a slot, keep when others are made larger."""
_BELOW = 7
"""Rows that long narration leaves to the panels below Why."""


class Wish(NamedTuple):
    """What the screen is asked to show."""

    recent: Sequence[str] = ("tensor",)
    """Panels that had the focus, the present one first."""
    script: bool = False
    banner: bool = False
    maximised: bool = False
    matrix: bool = False
    """True when Tensor shows a matrix."""
    why: int = 3
    """Rows that Why needs for its text."""
    account: bool = True
    """False before the first backward: the Ledger has nothing to say, and the Log stands where they take turns."""
    inside: str = ""
    """The phase that is stopped inside: its stack has a row. Empty between phases."""
    layout: str = "inspect"
    sizes: Mapping[str, int] = {}
    """What was made larger or smaller by hand: cells of a column (`|0`), rows of a slot (its first panel) or of Why."""
    past: bool = False
    """True while the past is looked at: a row says so."""
    said: int = 0
    """Rows of the narration, all of which are seen where there is room, with two of Why below them."""


class Place(NamedTuple):
    """A rectangle of cells, and for a place that several panels share, all of their names."""

    x: int
    y: int
    width: int
    height: int
    tabs: tuple[str, ...] = ()
    titled: bool = True


class Spot(NamedTuple):
    """A slot with its place on the screen."""

    column: int
    key: str
    names: tuple[str, ...]
    x: int
    y: int
    width: int
    height: int


def size_class(width: int, height: int) -> str:
    """Name the class of a size: `narrow`, `slim`, `roomy` or `wide`."""
    if width >= 100 and height >= 34:
        return "wide" if width >= 170 else "roomy"
    return "slim" if width >= 70 else "narrow"


def plan(width: int, height: int, wish: Wish) -> dict[str, Place]:
    """Return the place of each thing that is visible: `status`, `phases`, `banner`, `prompt`, `footer` and panels."""
    if width <= 0 or height <= 0:
        return {}
    roomy = _is_roomy(width, height)
    places = {"status": Place(0, 0, width, 1)}
    if height >= 3:
        places["phases"] = Place(0, 1, width, 1)
    if wish.banner and height >= 2:
        places["banner"] = Place(0, 2 if roomy else 1, width, 1)
        if not roomy:
            places.pop("phases", None)
    elif (wish.inside or wish.past) and height >= 3:
        places["past" if wish.past else "position"] = Place(0, 2 if roomy else 1, width, 1)
        if not roomy:
            # what is running is all that can go on: the path of phases says no more than the stack
            places.pop("phases", None)
    if height >= 5:
        places["prompt"] = Place(0, height - 2, width, 1)
    if height >= 4:
        places["footer"] = Place(0, height - 1, width, 1)
    why, spots = spots_of(width, height, wish)
    if why is not None:
        places["why"] = why
    for spot in spots:
        places |= _stack(_by_recency(spot.names, wish), spot)
    return places


def _is_roomy(width: int, height: int) -> bool:
    return size_class(width, height) in ("roomy", "wide")


def spots_of(width: int, height: int, wish: Wish) -> tuple[Place | None, list[Spot]]:
    """Return the place of Why and those below it, between the rows at the top and those at the bottom."""
    roomy = _is_roomy(width, height)
    top = 3 if roomy else 2 if height >= 3 or (wish.banner and height >= 2) else 1
    bottom = height - (3 if roomy else 2 if height >= 5 else 1 if height >= 4 else 0)
    if wish.maximised:
        names = (wish.recent[0] if wish.recent else "tensor",)
        return None, [Spot(0, "", names, 0, top, width, bottom - top)]
    why = None
    if height >= 10:
        titled = roomy or height >= 28
        rows = titled + _why_rows(bottom - top, roomy, titled, wish)
        why = Place(0, top, width, rows, titled=titled)
        top += rows + roomy
    return why, _below(width, top, bottom - top, size_class(width, height), wish)


def _why_rows(height: int, roomy: bool, titled: bool, wish: Wish) -> int:
    asked = wish.sizes.get("why")
    told = wish.said + 2 if wish.said else 0
    if asked is not None:
        return max(1, min(max(asked - titled, told), height // 2))
    most = max(2, height // (2 if wish.recent and wish.recent[0] == "why" else 3), min(told, height - _BELOW))
    return min(max(wish.why + roomy, told, 4 if roomy else 3 if titled else 2), most)


@lru_cache(maxsize=64)
def columns_of(layout: str, size: str, script: bool, matrix: bool, inside: str = "") -> tuple[Column, ...]:
    """Return the columns of a layout without what is there for an open script, when none is."""
    chosen = layout_of(layout, inside)
    columns: tuple[Column, ...] = (matrix and size == "wide" and chosen.matrix) or getattr(chosen, size)
    if script:
        return columns
    return tuple(c._replace(slots=tuple(s for s in c.slots if s.names != ("script",))) for c in columns)


@lru_cache(maxsize=64)
def _panels_of(slot: Slot, columns: tuple[Column, ...], script: bool, hidden: frozenset[str]) -> tuple[str, ...]:
    """Return who takes turns in a slot, the guests by their names but for those that are hidden."""
    named = {name for column in columns for other in column.slots for name in other.names}
    guests = tuple(name for name in PANELS if name not in {*named, *hidden, "why", "script"})
    names = [n for name in slot.names for n in (guests if name == GUESTS else (name,))]
    return tuple(name for name in names if script or name != "script")


def _below(width: int, top: int, height: int, size: str, wish: Wish) -> list[Spot]:
    """Share the room below Why among the columns, and each column's among its slots."""
    columns = columns_of(wish.layout, size, wish.script, wish.matrix, wish.inside)
    hidden = hidden_guests(bool(wish.inside), wish.recent)
    gap = 1 if size in ("roomy", "wide") else 0
    spots: list[Spot] = []
    x = 0
    for i, (column, cells) in enumerate(zip(columns, _widths(columns, width, wish.sizes), strict=True)):
        weights = [wish.sizes.get(slot.key, slot.weight) for slot in column.slots]
        for slot, (y, rows) in zip(column.slots, _heights(weights, height, gap), strict=True):
            names = _panels_of(slot, columns, wish.script, hidden)
            spots.append(Spot(i, slot.key, names, x, top + y, cells, rows))
        x += cells + 1
    return spots


def _widths(columns: Sequence[Column], width: int, sizes: Mapping[str, int]) -> list[int]:
    """Share a width among columns, a cell between them kept free; the last takes what the others leave."""
    free = width - (len(columns) - 1)
    asked = [sizes.get(f"|{i}", 0) for i in range(len(columns))]
    widths: list[int] = []
    for i, column in enumerate(columns[:-1]):
        if all(asked):
            cells = round(free * asked[i] / sum(asked))
        else:
            cells = max(column.least, min(round(width * column.share), column.most))
        left = len(columns) - 1 - i
        widths.append(max(1, min(cells, free - sum(widths) - LEAST_WIDTH * left)))
    return [*widths, free - sum(widths)]


def _heights(weights: Sequence[int], height: int, gap: int) -> list[tuple[int, int]]:
    """Share a height among the slots of a column by their weights, `gap` rows between them kept free."""
    free = max(0, height - gap * (len(weights) - 1))
    ends = [round(free * seen / sum(weights)) for seen in accumulate(weights)]
    rows = [end - before for before, end in pairwise([0, *ends])]
    least = min(LEAST_HEIGHT, free // len(rows)) if rows else 0
    while (low := min(rows, default=least)) < least:
        rows[rows.index(low)] += 1
        rows[rows.index(max(rows))] -= 1
    tops = accumulate(rows, lambda y, cells: y + cells + gap, initial=0)
    return list(zip(tops, rows, strict=False))


def _by_recency(names: tuple[str, ...], wish: Wish) -> tuple[str, ...]:
    """Put the name that had the focus last first."""
    front = names[0]
    if front == "ledger" and "log" in names and not wish.account:
        front = "log"
    shown = next((name for name in wish.recent if name in names), front)
    return (shown, *(name for name in PANELS if name in names and name != shown))


def _stack(names: tuple[str, ...], spot: Spot) -> dict[str, Place]:
    if spot.width <= 0 or spot.height <= 0:
        return {}
    shares = tuple(name for name in PANELS if name in names) if len(names) > 1 else ()
    return {names[0]: Place(spot.x, spot.y, spot.width, spot.height, shares)}


class PlacesLayout(TextualLayout):
    """Puts each child where the plan has a place for its `id`; a child without one is not drawn."""

    name = "places"

    def __init__(self, places: Callable[[int, int], dict[str, Place]]) -> None:
        self._places = places

    def arrange(
        self,
        parent: Widget,  # noqa: ARG002
        children: list[Widget],
        size: Size,
        greedy: bool = True,  # noqa: ARG002
    ) -> list[WidgetPlacement]:
        """Return the placements for a screen of this size."""
        places = self._places(size.width, size.height)
        return [
            WidgetPlacement(Region(*places[child.id][:4]), Offset(), Spacing(), child)
            for child in children
            if child.id in places
        ]
