"""Helpers for the tests of the screen: open it on a fake session, press keys, wait for what they did."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from fake_session import FakeSession
from textual import events
from textual.pilot import Pilot

from gradstep.session.transport.inline import InlineSession
from gradstep.tui.app import GradstepApp
from gradstep.tui.screen import StepScreen
from gradstep.values.commands import Load


class Stage:
    """A running app, its session, and what tests do with them."""

    def __init__(self, app: GradstepApp, session: FakeSession, pilot: Pilot[None]) -> None:
        self.app, self.session, self.pilot = app, session, pilot

    @property
    def screen(self) -> StepScreen:
        return self.app.step_screen

    async def press(self, *keys: str) -> None:
        """Press keys and wait until everything that they asked for is done and painted."""
        for key in keys:
            self.app.simulate_key(key)
            await self.pilot.pause(0)
        await self.idle()

    async def type(self, text: str) -> None:
        for letter in text:
            self.app.post_message(events.Key("space" if letter == " " else letter, letter))
        await self.pilot.pause(0)
        await self.idle()

    async def idle(self) -> None:
        await self.until(lambda: not self.screen.queue.busy)
        await self.screen.looking.settled()

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait, one turn of the loop at a time, until something is true."""
        for _ in range(500):
            if true():
                return
            await self.pilot.pause(0)
        pytest.fail("it never came true")

    def rows(self) -> list[str]:
        """Return what is on the screen, as plain text."""
        top = self.app.screen._compositor
        return ["".join(segment.text for segment in strip) for strip in top.render_strips()]

    def text(self) -> str:
        return "\n".join(self.rows())


@asynccontextmanager
async def stage(
    session: FakeSession | None = None, size: tuple[int, int] = (120, 40), **options: object
) -> AsyncIterator[Stage]:
    """Open the app on a fake session with the workload of the drawing, and wait until it can be stepped."""
    session = session or FakeSession()
    options.setdefault("opening", [Load("mlp", seed=0)])
    options.setdefault("rest", 0.0)
    app = GradstepApp(session, **options)  # type: ignore[arg-type]
    async with app.run_test(size=size) as pilot:
        running = Stage(app, session, pilot)
        if session.gate.is_set():
            await running.until(lambda: app.step_screen.showing.frames > 0)
            await running.idle()
        yield running


@asynccontextmanager
async def real_stage(session: InlineSession, size: tuple[int, int] = (120, 40)) -> AsyncIterator[Stage]:
    """Open the app on the engine in this process, in the layout *inspect*; afterwards its session is closed."""
    try:
        async with stage(session, size, opening=[]) as running:  # type: ignore[arg-type]
            await running.press("f7")
            yield running
    finally:
        session.local.close()  # a phase that is left inside would keep its hooks on every module
