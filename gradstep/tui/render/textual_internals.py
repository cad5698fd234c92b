"""What leans on names that Textual keeps to itself, as they are in 8.2: nothing else of gradstep's does.

Where a later Textual has one no more, a screen is repainted in the ordinary way, which takes some milliseconds longer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from rich.console import Console
from textual._compositor import CompositorUpdate
from textual.app import App
from textual.filter import LineFilter
from textual.screen import Screen
from textual.strip import Strip

from gradstep.tui.render.surface import Surface


class PlacedRow(NamedTuple):
    """A row of cells and where on the screen it begins."""

    x: int
    y: int
    strip: Strip


class Rows(CompositorUpdate):
    """What Textual writes: rows, each from where it begins."""

    def __init__(self, rows: Iterable[PlacedRow]) -> None:
        self._rows = rows

    def render_segments(self, console: Console) -> str:
        """Return the rows as what a terminal understands."""
        return "".join(f"\x1b[{y + 1};{x + 1}H{strip.render(console)}" for x, y, strip in self._rows)


def paint(screen: Screen[None], surfaces: Iterable[Surface]) -> None:
    """Draw surfaces again and paint the rows that differ, now: not in the turns of the loop, up to a frame later.

    Textual's compositor cuts every row where any widget begins or ends and puts the pieces together again, which takes
    as long as drawing them all. It is needed only where something lies over a surface, or is about to move one.
    """
    surfaces = tuple(surfaces)
    try:
        _paint_rows(screen, surfaces)
    except AttributeError:  # of Textual's; what a surface itself lacks is raised again here
        for surface in surfaces:
            surface.redraw()
            surface.refresh()


def _paint_rows(screen: Screen[None], surfaces: Iterable[Surface]) -> None:
    seen = screen._compositor.visible_widgets
    still = not screen._layout_required and not screen.app._batch_count
    bare = still and screen.app.screen is screen and all(isinstance(each, Surface | Screen) for each in seen)
    rows: list[PlacedRow] = []
    for surface in surfaces:
        changed = surface.redrawn()
        if not changed:
            continue
        if not bare:
            surface.repaint(changed)
        elif surface in seen:
            left, top, *_ = seen[surface][0]
            rows += [PlacedRow(left, top + y, strip) for y, strip in zip(changed, surface.strips(changed), strict=True)]
    if rows:
        screen.app._display(screen, Rows(rows))  # type: ignore[arg-type]  # asks only render_segments of an update
    elif not bare and screen.is_current and still:
        screen._dirty_widgets.update(surface for surface in surfaces if surface in seen)
        screen._on_timer_update()


def painted(app: App[Any]) -> list[Strip]:
    """Return the rows of the screen that is seen."""
    return app.screen._compositor.render_strips()


async def press_bound(app: App[Any], key: str) -> None:
    """Do what a key is bound to where the focus is, at once; bindings that have priority first."""
    if not await app._check_bindings(key, priority=True):
        await app._check_bindings(key)


def add_filter(app: App[Any], line_filter: LineFilter) -> None:
    """Have every line go through a filter before it is written."""
    app._filters.append(line_filter)
