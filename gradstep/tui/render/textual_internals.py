"""All uses of private names of Textual, as of version 8.2.

If a later Textual lacks one of them, the screen is repainted in the ordinary way, a few milliseconds slower.
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
    """A strip and the screen position where it begins."""

    x: int
    y: int
    strip: Strip


class RowsUpdate(CompositorUpdate):
    """An update that writes rows, each at its position."""

    def __init__(self, rows: Iterable[PlacedRow]) -> None:
        self._rows = rows

    def render_segments(self, console: Console) -> str:
        """Return the rows as terminal escape sequences."""
        return "".join(f"\x1b[{y + 1};{x + 1}H{strip.render(console)}" for x, y, strip in self._rows)


def paint(screen: Screen[None], surfaces: Iterable[Surface]) -> None:
    """Redraw surfaces and paint the rows that differ at once, not with the next frame.

    Textual's compositor cuts every row at the edges of each widget and joins the pieces again, which takes as long as
    drawing them all. It is needed only if something covers a surface, or a new layout is due.
    """
    surfaces = tuple(surfaces)
    try:
        _paint_rows(screen, surfaces)
    except AttributeError:  # a private name is gone; an AttributeError of a surface is raised again here
        for surface in surfaces:
            surface.redraw()
            surface.refresh()


def _paint_rows(screen: Screen[None], surfaces: Iterable[Surface]) -> None:
    seen = screen._compositor.visible_widgets
    still = not screen._layout_required and not screen.app._batch_count
    bare = still and screen.app.screen is screen and all(isinstance(each, Surface | Screen) for each in seen)
    rows: list[PlacedRow] = []
    for surface in surfaces:
        if surface not in seen:
            continue
        region = seen[surface][0]
        changed = surface.redrawn(region.size)
        if not changed:
            continue
        if not bare:
            surface.repaint(changed)
        else:
            strips = surface.strips(changed, region.width)
            rows += [PlacedRow(region.x, region.y + y, strip) for y, strip in zip(changed, strips, strict=True)]
    if rows:
        screen.app._display(screen, RowsUpdate(rows))  # type: ignore[arg-type]  # asks only render_segments of an update
    elif not bare and screen.is_current and still:
        screen._dirty_widgets.update(surface for surface in surfaces if surface in seen)
        screen._on_timer_update()


def painted(app: App[Any]) -> list[Strip]:
    """Return the rows of the current screen."""
    return app.screen._compositor.render_strips()


async def press_bound(app: App[Any], key: str) -> None:
    """Run the binding of a key at the focus at once; priority bindings first."""
    if not await app._check_bindings(key, priority=True):
        await app._check_bindings(key)


def add_filter(app: App[Any], line_filter: LineFilter) -> None:
    """Apply a filter to every line before it is written."""
    app._filters.append(line_filter)
