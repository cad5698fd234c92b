"""Draw the screen of a session to an SVG file, without a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from gradstep.session.protocol import FrontSession
from gradstep.tui.app import GradstepApp
from gradstep.tui.layout.preferences import Appearance
from gradstep.tui.render.svg import svg_of
from gradstep.values.commands import Command
from gradstep.values.files import write_text

_LEARN = Appearance(layout="learn")
"""As the screen opens a script."""


async def picture(
    session: FrontSession, size: tuple[int, int], history: Sequence[Command] = (), appearance: Appearance = _LEARN
) -> str:
    """Return the screen of an open session as SVG, `size` columns by rows; the same session gives the same picture."""
    app = GradstepApp(session, history=history, rest=1e9, appearance=appearance)
    async with app.run_test(size=size) as pilot:
        await app.step_screen.queue.idle.wait()
        await pilot.pause()
        await app.step_screen.looking.settled()
        return svg_of(app)


def draw(
    session: FrontSession,
    path: str | Path,
    size: tuple[int, int] = (120, 40),
    history: Sequence[Command] = (),
    layout: str = _LEARN.layout,
    theme: str = _LEARN.theme,
) -> None:
    """Draw the screen of an open session to a file, with `history` in its log; the user's layout and theme are ignored.

    Raises:
        OSError: the file cannot be written.
    """
    write_text(Path(path), asyncio.run(picture(session, size, history, Appearance(layout, theme))))
