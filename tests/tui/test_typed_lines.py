"""Lines typed at `:` that go wrong, and those of the screen's own."""

from __future__ import annotations

import asyncio

from fake_session import FakeSession
from stage import stage

from gradstep.values.commands import Print
from gradstep.values.outcomes import Outcome, Problem

UNKNOWN = Problem("wrong", "there is no such name: 2.wight", "2.wight", "Did you mean 2.weight?", subject="2.wight")


def run(test):
    asyncio.run(asyncio.wait_for(test(), 60))


class Nameless(FakeSession):
    """A session in which every `print` names what is not there."""

    async def execute(self, command):
        outcome = await super().execute(command)
        return Outcome(command, self.stop, UNKNOWN) if isinstance(command, Print) else outcome


def test_a_line_that_fails_stays_to_be_mended_and_esc_closes_it():
    async def test():
        async with stage(Nameless()) as s:
            await s.press("colon")
            await s.type("print 2.wight")
            await s.press("enter")
            assert s.screen._line is not None
            assert s.screen._line.value == "print 2.wight"
            assert "Did you mean 2.weight?" in s.text()
            done = s.session.lines()
            await s.type("fbs")  # the next attempt: no keys of the phases
            assert s.screen._line.value == "print 2.wightfbs"
            assert s.session.lines() == done
            await s.press("escape", "f")
            assert s.session.lines() == [*done, "forward"]

    run(test)


def test_a_phase_refused_at_the_prompt_stays_to_be_mended():
    async def test():
        async with stage() as s:
            await s.press("f", "b", "colon")
            await s.type("backward")
            await s.press("enter")
            assert s.screen._line is not None
            assert s.screen._line.value == "backward"

    run(test)


def test_a_line_that_fails_late_does_not_take_the_keys_pressed_since():
    async def test():
        session = Nameless()
        async with stage(session) as s:
            await s.press("colon")
            await s.type("print 2.wight")
            session.hold()
            s.app.simulate_key("enter")
            await s.until(session.started.is_set)
            s.app.simulate_key("2")
            await s.until(lambda: s.screen.focus_panel.title == "Graph")
            session.gate.set()
            await s.idle()
            assert s.screen._line is None

    run(test)


def test_save_refuses_a_file_that_is_there(tmp_path):
    async def test():
        path = tmp_path / "mine.steps"
        path.write_text("precious")
        async with stage() as s:
            await s.press("f", "colon")
            await s.type(f"save {path}")
            await s.press("enter")
            assert s.screen._line is not None
            assert "The file is there already" in s.text()
            assert path.read_text() == "precious"
            await s.press("escape", "colon")
            await s.type(f"save! {path}")
            await s.press("enter")
            assert path.read_text().splitlines()[-1] == "forward"

    run(test)
