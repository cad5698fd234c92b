"""A stop is painted by the rows that differ: together they are what the whole screen would be."""

from __future__ import annotations

import asyncio

import pyte
import pytest
from rich.console import RenderableType
from stage import Stage, stage
from textual._compositor import CompositorUpdate
from textual.screen import Screen

from gradstep.tui.painting import Rows


class Written:
    """What the app writes, as a terminal would show it."""

    def __init__(self, running: Stage, width: int, height: int) -> None:
        self.kinds: list[type] = []
        self._running, self._screen = running, pyte.Screen(width, height)
        self._stream = pyte.Stream(self._screen)
        running.app._display = self._take  # type: ignore[method-assign]

    def _take(self, _screen: Screen[None], update: RenderableType | None) -> None:
        if isinstance(update, CompositorUpdate):
            self.kinds.append(type(update))
            self._stream.feed(update.render_segments(self._running.app.console).replace("\n", "\r\n"))

    def whole(self) -> bool:
        """True when the terminal shows what the screen is."""
        return self._screen.display == [row.ljust(self._screen.columns) for row in self._running.rows()]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_what_is_painted_row_by_row_is_the_whole_screen(size: tuple[int, int]) -> None:
    async def work() -> None:
        async with stage(size=size) as running:
            written = Written(running, *size)
            running.app.refresh(layout=True)
            await running.idle()
            for key in ("f", "b", "s", "2", "f", "b", "z", "f8", "f", "f6", "b"):
                written.kinds.clear()
                await running.press(key)
                await running.until(written.whole)
                assert Rows in written.kinds or key not in "fbsz"

    asyncio.run(work())


def test_a_stop_under_another_screen_is_not_painted_over_it() -> None:
    async def work() -> None:
        async with stage() as running:
            running.app.simulate_key("question_mark")
            await running.until(lambda: running.app.screen is not running.screen)
            written = Written(running, 120, 40)
            running.screen.action_press("forward")
            await running.until(lambda: not running.screen.queue.busy)
            assert Rows not in written.kinds
            running.app.simulate_key("escape")
            await running.until(lambda: running.app.screen is running.screen)
            await running.press("b")
            assert Rows in written.kinds
            await running.until(written.whole)

    asyncio.run(work())
