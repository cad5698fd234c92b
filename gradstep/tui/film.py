"""Frames of the screen of a session that is driven elsewhere."""

from __future__ import annotations

import asyncio

from rich.color import Color
from rich.segment import Segment
from rich.style import Style

from gradstep.session.protocol import FrontSession
from gradstep.steps.page import Frame, StyledRun
from gradstep.tui.app import GradstepApp
from gradstep.tui.layout.preferences import Appearance
from gradstep.tui.render.textual_internals import painted
from gradstep.tui.render.tones import THEMES
from gradstep.values.outcomes import Outcome

_BELOW = 2
"""Rows at the bottom left out of a frame: prompt and footer."""


class Film:
    """Shows outcomes on a headless screen, and returns its frames.

    Args:
        session: the session, driven by the caller.
        size: columns and rows.
        appearance: how the screen looks.
    """

    def __init__(self, session: FrontSession, size: tuple[int, int], appearance: Appearance) -> None:
        self._app = GradstepApp(session, rest=1e9, appearance=appearance)
        self._size, self._theme = size, appearance.theme
        self._loop = asyncio.new_event_loop()
        self._wanted: asyncio.Queue[tuple[Outcome, bool] | None] = asyncio.Queue()
        self._shown = asyncio.Event()
        self._task = self._loop.create_task(self._live())
        self._wait()

    @property
    def colours(self) -> dict[str, str]:
        """The theme's colours for the page around the screen, as CSS."""
        theme = THEMES[self._theme]
        return {name: theme.grounds[name] for name in ("screen", "panel", "title", "here")} | {
            name: theme.hues[name] for name in ("text", "bright", "dim", "line", "now", "good", "bad")
        }

    def show(self, outcome: Outcome, *, painted: bool = True) -> None:
        """Take an outcome; with `painted`, also wait until every panel shows it."""
        self._wanted.put_nowait((outcome, painted))
        self._wait()

    def frame(self) -> Frame:
        """Return the screen row by row, without prompt and footer."""
        rows = painted(self._app)[: self._size[1] - _BELOW]
        return tuple(tuple(map(_piece, strip)) for strip in rows)

    def close(self) -> None:
        """Close the screen; the session stays open."""
        self._wanted.put_nowait(None)
        self._loop.run_until_complete(self._task)
        self._loop.close()

    def _wait(self) -> None:
        shown = self._loop.create_task(self._shown.wait())
        self._loop.run_until_complete(asyncio.wait([shown, self._task], return_when=asyncio.FIRST_COMPLETED))
        self._shown.clear()
        if self._task.done():
            self._task.result()

    async def _live(self) -> None:
        async with self._app.run_test(size=self._size) as pilot:
            screen = self._app.step_screen
            await screen.queue.idle.wait()
            await pilot.pause()
            self._shown.set()
            while (wanted := await self._wanted.get()) is not None:
                await screen.queue.watch(*wanted)
                if wanted[1]:
                    await screen.looking.settled()
                self._shown.set()


def _piece(segment: Segment) -> StyledRun:
    style = segment.style or Style.null()
    fore, back = (None if each is None or each.is_default else each.get_truecolor().hex for each in _pair(style))
    css = [f"color:{fore}"] * bool(fore) + [f"background:{back}"] * bool(back)
    css += ["font-weight:bold"] * bool(style.bold) + ["text-decoration:underline"] * bool(style.underline)
    return StyledRun(segment.text, ";".join(css))


def _pair(style: Style) -> tuple[Color | None, Color | None]:
    return (style.bgcolor, style.color) if style.reverse else (style.color, style.bgcolor)
