"""Where everything stands on a screen of any size: a plain function from a size to places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from textual.geometry import Offset, Region, Size, Spacing
from textual.layout import Layout, WidgetPlacement

if TYPE_CHECKING:
    from textual.widget import Widget

PANELS: tuple[str, ...] = (
    "tensor",
    "graph",
    "loss",
    "log",
    "model",
    "why",
    "script",
    "layers",
    "optimizer",
    "batch",
    "ledger",
)
"""The panels in the order of the keys that focus them: 1 is the first, 0 the tenth; the others have letters."""
_SHARED = ("tensor", "graph", "loss", "log", "layers", "optimizer", "batch", "ledger")
"""The panels that take turns where there is one place for all of them."""


class Wish(NamedTuple):
    """What the screen is asked to show."""

    recent: Sequence[str] = ("tensor",)
    """Panels that had the focus, the present one first."""
    script: bool = False
    banner: bool = False
    maximised: bool = False
    matrix: bool = False
    """True when Tensor shows a matrix, which needs the room that others can spare on a wide screen."""
    why: int = 3
    """Rows that Why needs for its text."""
    loaded: bool = True
    """False while there is no model: then Log stands where Ledger will, for what a factory prints."""


class Place(NamedTuple):
    """A rectangle of cells, and for a place that several panels share, all of their names."""

    x: int
    y: int
    width: int
    height: int
    shares: tuple[str, ...] = ()
    titled: bool = True


def plan(width: int, height: int, wish: Wish) -> dict[str, Place]:
    """Return the place of each thing that is visible: `status`, `phases`, `banner`, `prompt`, `footer` and panels."""
    if width <= 0 or height <= 0:
        return {}
    places = {"status": Place(0, 0, width, 1)}
    if height >= 3:
        places["phases"] = Place(0, 1, width, 1)
    roomy = width >= 100 and height >= 34
    if wish.banner and height >= 2:
        places["banner"] = Place(0, 2 if roomy else 1, width, 1)
        if not roomy:
            places.pop("phases", None)
    if height >= 5:
        places["prompt"] = Place(0, height - 2, width, 1)
    if height >= 4:
        places["footer"] = Place(0, height - 1, width, 1)
    top = 3 if roomy else 2 if height >= 3 or "banner" in places else 1
    bottom = height - (3 if roomy else 2 if height >= 5 else 1 if height >= 4 else 0)
    focus = wish.recent[0] if wish.recent else "tensor"
    if wish.maximised:
        return places | _stack((focus,), 0, top, width, bottom - top)
    if height >= 10:
        titled = roomy or height >= 28
        most = max(2, (bottom - top) // (3 if focus != "why" else 2))
        rows = min(max(wish.why + (1 if roomy else 0), 4 if roomy else 3 if titled else 2), most)
        places["why"] = Place(0, top, width, rows + titled, titled=titled)
        top += rows + titled + (1 if roomy else 0)
    return places | _columns(width, top, bottom - top, wish, roomy)


def _columns(width: int, top: int, height: int, wish: Wish, roomy: bool) -> dict[str, Place]:
    """Place the panels below Why: one column on a slim screen, then two, then three."""
    script = ("script",) if wish.script else ()
    slots: list[tuple[int, list[tuple[int, tuple[str, ...]]]]]
    if not roomy and width < 70:
        slots = [(width, [(1, (*script, *_SHARED, "model"))])]
    elif not roomy:
        left = 34 if width < 100 else 46
        slots = [(left, [(1, ("model",))]), (width - left - 1, [(1, (*script, *_SHARED))])]
    elif width < 170:
        left = min(round(width * 0.385), 60)
        upper = (14, (*script, "graph", "layers", "optimizer"))
        slots = [
            (left, [(11, ("model",)), (9, ("loss",)), (6, ("ledger", "log") if wish.loaded else ("log", "ledger"))]),
            (width - left - 1, [upper, (13, ("tensor", "batch"))]),
        ]
    else:
        left = min(round(width * 0.28), 64)
        middle = min(round(width * 0.5), 130) if wish.matrix else min(round(width * 0.42), 96)
        right: list[tuple[int, tuple[str, ...]]] = [(12, ("optimizer",)), (20, ("layers",)), (9, ("log",))]
        right = [(16, script), *right] if script else right
        slots = [
            (left, [(3, ("model",)), (2, ("loss",)), (1, ("ledger",))]),
            (middle, [(1, ("graph",)), (1, ("tensor", "batch"))]),
            (width - left - middle - 2, right),
        ]
    places: dict[str, Place] = {}
    x = 0
    for column, stack in slots:
        for y, rows, names in _heights(stack, height):
            places |= _stack(_by_recency(names, wish.recent), x, top + y, column, rows)
        x += column + 1
    return places


def _heights(stack: list[tuple[int, tuple[str, ...]]], height: int) -> list[tuple[int, int, tuple[str, ...]]]:
    """Share a height among the slots of a column by their weights, a row between them kept free."""
    free = height - (len(stack) - 1)
    total = sum(weight for weight, _ in stack)
    result, y, seen = [], 0, 0
    for weight, names in stack:
        rows = round(free * (seen + weight) / total) - round(free * seen / total)
        result.append((y, rows, names))
        y, seen = y + rows + 1, seen + weight
    return result


def _by_recency(names: tuple[str, ...], recent: Sequence[str]) -> tuple[str, ...]:
    """Put the name that had the focus last first."""
    shown = next((name for name in recent if name in names), names[0])
    return (shown, *(name for name in PANELS if name in names and name != shown))


def _stack(names: tuple[str, ...], x: int, y: int, width: int, height: int) -> dict[str, Place]:
    if width <= 0 or height <= 0:
        return {}
    shares = tuple(name for name in PANELS if name in names) if len(names) > 1 else ()
    return {names[0]: Place(x, y, width, height, shares)}


class PlacesLayout(Layout):
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
