"""A stop is painted by the rows that differ: together they are what the whole screen would be."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pyte
import pytest
from rich.console import RenderableType
from stage import Stage, stage
from textual._compositor import CompositorUpdate
from textual.screen import Screen

from gradstep.tui.render import textual_internals
from gradstep.tui.render.textual_internals import RowsUpdate
from gradstep.values.commands import Forward


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
                assert RowsUpdate in written.kinds or key not in "fbsz"

    asyncio.run(work())


def test_a_stop_under_another_screen_is_not_painted_over_it() -> None:
    async def work() -> None:
        async with stage() as running:
            running.app.simulate_key("question_mark")
            await running.until(lambda: running.app.screen is not running.screen)
            written = Written(running, 120, 40)
            running.screen.action_press("forward")
            await running.until(lambda: not running.screen.queue.busy)
            assert RowsUpdate not in written.kinds
            running.app.simulate_key("escape")
            await running.until(lambda: running.app.screen is running.screen)
            await running.press("b")
            assert RowsUpdate in written.kinds
            await running.until(written.whole)

    asyncio.run(work())


def test_where_textual_has_other_names_stops_are_painted_in_the_ordinary_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise AttributeError("visible_widgets")

    async def work() -> None:
        async with stage() as running:
            monkeypatch.setattr(textual_internals, "_paint_rows", gone)
            written = Written(running, 120, 40)
            running.app.refresh(layout=True)
            await running.press("f", "b")
            await running.until(written.whole)
            assert "b backward ●" in running.text()
            assert RowsUpdate not in written.kinds

    asyncio.run(work())


def test_time_that_passes_between_commands_redraws_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        async with stage() as running:
            await running.press("f")
            redrawn: list[str] = []
            monkeypatch.setattr(running.screen.status, "redraw", lambda: redrawn.append("status"))
            monkeypatch.setattr(running.screen.queue, "since", running.screen.queue.since - 10)
            running.screen.showing.activity()
            assert redrawn == []
            running.screen.queue.running = Forward()
            running.screen.showing.activity()
            assert redrawn == ["status"]
            running.screen.queue.running = None

    asyncio.run(work())


def test_only_one_file_leans_on_what_textual_keeps_to_itself() -> None:
    room = Path(textual_internals.__file__)
    private = re.compile(r"textual\._|\._(compositor|check_bindings|filters|display|dirty_widgets|layout_required)\b")
    others = [path for path in room.parent.rglob("*.py") if path != room]
    assert [path.name for path in others if private.search(path.read_text("utf-8"))] == []
    assert private.search(room.read_text("utf-8"))
