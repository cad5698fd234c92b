"""Lines typed at `:` that go wrong, and those of the screen's own."""

from __future__ import annotations

import asyncio

from fake_session import FakeSession
from stage import stage

from gradstep.values.commands import Print
from gradstep.values.outcomes import Died, Outcome, Problem

UNKNOWN = Problem("wrong", "there is no such name: 2.wight", "2.wight", "Did you mean 2.weight?", subject="2.wight")


def run(test):
    asyncio.run(asyncio.wait_for(test(), 60))


class Nameless(FakeSession):
    """A session in which every `print` names what is not there."""

    async def execute(self, command):
        outcome = await super().execute(command)
        return Outcome(command, self.stop, UNKNOWN) if isinstance(command, Print) else outcome


def test_a_line_that_is_wrong_closes_the_prompt_keys_are_keys_and_up_brings_it_back():
    async def test():
        async with stage() as s:
            done = s.session.lines()
            await s.press("colon")
            await s.type("fowrad")
            await s.press("enter")
            assert s.screen.line is None
            assert "`fowrad`" in s.text()
            assert ": then ↑ recalls the line" in s.rows()[-1]
            await s.press("f")
            assert s.session.lines() == [*done, "forward"]
            await s.press("colon", "up")
            assert s.screen.line.value == "fowrad"
            await s.press("escape")
            s.app.simulate_key("q")
            await s.until(lambda: s.app._exit)

    run(test)


def test_a_line_whose_command_fails_closes_the_prompt_too_and_says_what_is_wrong():
    async def test():
        async with stage(Nameless()) as s:
            await s.press("colon")
            await s.type("print 2.wight")
            await s.press("enter")
            assert s.screen.line is None
            assert "Did you mean 2.weight?" in s.text()
            assert "recalls the line" in s.rows()[-1]
            await s.press("f", "b", "colon")
            await s.type("backward")  # refused: the graph is freed
            await s.press("enter", "s")
            assert s.session.lines()[-2:] == ["backward", "step"]
            await s.press("colon", "up", "up")
            assert s.screen.line.value == "print 2.wight"

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
            s.app.simulate_key("colon")
            s.app.simulate_key("o")
            await s.until(lambda: s.screen.line is not None and s.screen.line.value == "o")
            session.gate.set()
            await s.idle()
            assert s.screen.line.value == "o"

    run(test)


def test_try_without_its_set_says_what_was_meant():
    async def test():
        async with stage() as s:
            await s.press("f", "colon")
            await s.type("try lr 0.01")
            await s.press("enter")
            assert "Did you mean `try set lr = 0.01`?" in s.text()
            await s.press("colon")
            await s.type("try fowrad")
            await s.press("enter")
            assert "Did you mean `try forward`?" in s.text()

    run(test)


def test_a_picture_is_drawn_over_none_unless_told_or_replayed(tmp_path):
    async def test():
        path = tmp_path / "mine.svg"
        path.write_text("precious")
        async with stage() as s:
            for line in (f"screenshot {path}", f"screenshot! {path}"):
                await s.press("colon")
                await s.type(line)
                assert path.read_text() == "precious"
                await s.press("enter")
                await s.idle()
            assert path.read_text().startswith("<svg")
            s.session.dead = "killed by SIGKILL"
            s.session.on_event(Died("killed by SIGKILL"))
            path.write_text("not so precious")
            await s.press("R")
            await s.until(lambda: path.read_text().startswith("<svg"))

    run(test)


def test_save_refuses_a_file_that_is_there(tmp_path):
    async def test():
        path = tmp_path / "mine.steps"
        path.write_text("precious")
        async with stage() as s:
            await s.press("f", "colon")
            await s.type(f"save {path}")
            await s.press("enter")
            assert "the file already exists" in s.text()
            assert path.read_text() == "precious"
            await s.press("colon")
            await s.type(f"save! {path}")
            await s.press("enter")
            assert path.read_text().splitlines()[-1] == "forward"

    run(test)
