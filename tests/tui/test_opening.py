"""What Tensor shows before anything is selected, and what is said where nothing could be loaded."""

from __future__ import annotations

import asyncio

import pytest
from fake_session import FakeSession
from stage import stage

from gradstep.steps.language.parse import parse_script
from gradstep.values.commands import Load
from gradstep.values.outcomes import Outcome, Output, Problem, Progress
from gradstep.values.views import NoView


def run(test):
    asyncio.run(asyncio.wait_for(test(), 60))


def test_a_script_without_show_opens_on_what_the_workload_asks_for_and_stays_as_it_is():
    async def test():
        script = parse_script("load mlp seed=0\nforward\nshow 2.bias\n", "a.steps")
        async with stage(opening=[], script=script) as s:
            await s.until(lambda: "2.weight[0, 0:10]  of 10×256" in s.text())
            await s.press("space")
            assert "2.weight[0, 0:10]  of 10×256" in s.text()
            assert s.session.lines() == ["load mlp seed=0", "forward"]
            await s.press("space")
            assert "2.bias  of" in s.text()

    run(test)


def test_a_workload_handed_over_opens_on_what_it_asks_for():
    async def test():
        async with stage(FakeSession(loaded=True), opening=[]) as s:
            await s.until(lambda: "2.weight[0, 0:10]  of 10×256" in s.text())
            assert s.session.lines() == []

    run(test)


class Empty(FakeSession):
    """A session whose factory raises."""

    async def execute(self, command):
        if isinstance(command, Load) and not self.mended:
            self.executed.append(command)
            problem = Problem("raised", "the factory raised", "ValueError: no data", "Mend it")
            return Outcome(command, self.stop, problem)
        return await super().execute(command)

    async def look(self, requests):
        if not self.stop.number:
            return tuple(NoView(0, "nothing is loaded yet") for _ in requests)
        return await super().look(requests)

    mended = False


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_where_nothing_could_be_loaded_nothing_says_to_press_f_and_R_tries_again(size):
    async def test():
        session = Empty()
        async with stage(session, size=size) as s:
            assert "ValueError: no data" in s.text()
            assert "Nothing is loaded: R retries" in s.text()
            assert "press f" not in s.text()
            assert "nothing is loaded yet" in s.text()
            assert "space" not in s.rows()[-1]
            assert "R restart" in s.rows()[-1]
            assert "t traceback" not in s.rows()[-1]
            session.mended = True
            await s.press("R")
            await s.until(lambda: "stop 1" in s.rows()[0])
            await s.idle()
            assert session.lines() == ["load mlp seed=0"] * 2 + ["show 2.weight[0, 0:10]"]
            assert "space" in s.rows()[-1]
            s.app.simulate_key("q")
            await s.until(lambda: s.app._exit)

    run(test)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_the_first_frame_says_what_is_waited_for(size):
    async def test():
        session = FakeSession()
        session.hold()
        async with stage(session, size=size) as s:
            assert "starting the engine" in s.text()
            assert "Keys that you press meanwhile are queued and run in order." in s.text()
            assert "No tensor yet" in s.text()
            assert "Nothing selected" not in s.text()
            session.gate.set()
            await s.until(lambda: s.screen.showing.frames > 0)
            await s.idle()
            assert "starting the engine" not in s.text()

    run(test)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_a_factory_that_prints_is_asked_about_what_it_printed_is_seen_and_two_esc_stop_it(size):
    async def test():
        session = FakeSession()
        session.hold()
        async with stage(session, size=size, opening=[Load("train.py:main", seed=0)]) as s:
            await s.until(session.started.is_set)
            session.on_event(Progress("building train.py:main"))
            await s.until(lambda: "▶ building train.py:main" in s.text())
            assert "Does this train?" not in s.text()
            session.on_event(Output("epoch 3 loss 0.25\n"))
            await s.until(
                lambda: "Does this train? A factory only builds a Workload. esc, twice, stops it." in s.text()
            )
            assert "│ epoch 3 loss 0.25" in s.text()
            s.app.simulate_key("escape")
            s.app.simulate_key("escape")
            await s.until(lambda: session.interrupts == 1)
            session.gate.set()
            await s.until(lambda: s.screen.showing.frames > 0)
            await s.idle()
            assert "Does this train?" not in s.text()

    run(test)


def test_a_stage_of_gradsteps_own_is_not_asked_about():
    async def test():
        session = FakeSession()
        session.hold()
        async with stage(session, opening=[Load("train.py:main", seed=0)]) as s:
            await s.until(session.started.is_set)
            session.on_event(Output("a warning of torch's\n"))
            session.on_event(Progress("building the optimizer"))
            await s.until(lambda: "│ a warning of torch's" in s.text())
            assert "Does this train?" not in s.text()
            session.gate.set()
            await s.until(lambda: s.screen.showing.frames > 0)

    run(test)
