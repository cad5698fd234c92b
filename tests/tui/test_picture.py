"""Pictures of an open session, and NO_COLOR."""

from __future__ import annotations

import asyncio

from fake_session import FakeSession
from stage import stage

from gradstep.tui.app import GradstepApp
from gradstep.tui.picture import draw
from gradstep.values.commands import Forward, Screenshot


def test_a_picture_shows_the_session_and_is_the_same_each_time(tmp_path):
    session = FakeSession(loaded=True)
    for name in ("one.svg", "two.svg"):
        draw(session, tmp_path / name, (120, 40), [Forward()])
    one = (tmp_path / "one.svg").read_text(encoding="utf-8")
    assert one == (tmp_path / "two.svg").read_text(encoding="utf-8")
    assert "203,530" in one
    assert "tab&#160;completes" in one
    assert session.executed == []


def test_a_picture_needs_nothing_of_the_network_and_is_in_the_layout_that_a_script_opens_in(tmp_path):
    draw(FakeSession(loaded=True), tmp_path / "one.svg")
    text = (tmp_path / "one.svg").read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert "http" not in text
    assert "url(" not in text.replace("url(#", "")  # its own clip paths
    assert "monospace" in text
    draw(FakeSession(loaded=True), tmp_path / "learn.svg", layout="learn")
    assert (tmp_path / "learn.svg").read_text("utf-8") == (tmp_path / "one.svg").read_text("utf-8")


def test_a_screenshot_line_draws_the_screen_as_it_is(tmp_path):
    from gradstep.tui.commands.jobs import command_job

    async def test():
        async with stage() as s:
            path = tmp_path / "now.svg"
            s.screen.queue.put(command_job(Screenshot(str(path))))
            await s.idle()
            assert "203,530" in path.read_text(encoding="utf-8")
            assert "https" not in path.read_text(encoding="utf-8")
            s.screen.queue.put(command_job(Screenshot(str(tmp_path / "no" / "where.svg"))))
            await s.idle()
            assert "the screenshot could not be written" in s.text()

    asyncio.run(asyncio.wait_for(test(), 60))


def test_with_no_color_nothing_is_coloured(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    async def test():
        app = GradstepApp(FakeSession(loaded=True), rest=0.0)
        async with app.run_test(size=(120, 40)) as pilot:
            await app.step_screen.queue.idle.wait()
            for key in ("f", "colon", "escape", "ctrl+p"):
                app.simulate_key(key)
                await pilot.pause(0)
                for strip in app.screen._compositor.render_strips():
                    for filter_ in app._filters:
                        strip = strip.apply_filter(filter_, app.screen.background_colors[1])
                    for segment in strip:
                        style = segment.style
                        assert style is None or style.color is None or style.color.is_default
                        assert style is None or style.bgcolor is None or style.bgcolor.is_default

    asyncio.run(asyncio.wait_for(test(), 60))
