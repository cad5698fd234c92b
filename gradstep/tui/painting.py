"""Painting a stop: the rows that differ go to the terminal as they are, because surfaces never lie over each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rich.console import Console
from textual._compositor import CompositorUpdate
from textual.screen import Screen
from textual.strip import Strip

from gradstep.tui.panels.surface import Surface


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
