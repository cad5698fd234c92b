"""Playing by itself, and starting over."""

from __future__ import annotations

import asyncio
import math

from fake_session import FREED, FakeSession
from msgspec.structs import replace
from stage import stage

from gradstep.steps.language.parse import parse_script
from gradstep.tui.commands.play import RATES, Play
from gradstep.values.commands import Backward, Load, Step
from gradstep.values.outcomes import Outcome, Problem, WatchHit

LOADED = ["load mlp seed=0", "show 2.weight[0, 0:10]"]


def run(test):
    asyncio.run(asyncio.wait_for(test(), 60))


async def fast(s):
    """Choose the greatest speed."""
    await s.press(*["greater_than_sign"] * len(RATES))


def test_a_speed_is_one_of_the_list_and_its_words_say_what_is_played():
    play = Play("phase", lambda: None, 2.0)
    assert play.words == "▶ 2 phases/s"
    assert play.at(-1).words == "▶ 1 phase/s"
    assert play.at(-9) == play.at(-2)
    assert play.at(-2).seconds == 2.0
    assert play.at(99).words == "▶ phases, full speed"
    assert play.at(99).seconds == 0
    assert sorted(RATES)[-1] == math.inf


def test_p_plays_the_natural_phases_until_p_stops_them():
    async def test():
        async with stage() as s:
            await fast(s)
            assert s.screen.queue.playing is None
            s.app.simulate_key("p")
            await s.until(lambda: s.session.stop.iteration >= 3)
            assert "▶ phases, full speed" in s.rows()[0]
            assert "p stop" in s.rows()[-1]
            s.app.simulate_key("p")
            await s.until(lambda: s.screen.queue.playing is None)
            await s.idle()
            lines = s.session.lines()[2:]
            assert lines[:6] == ["forward", "backward", "step", "zero_grad", "next_batch", "forward"]
            assert "▶" not in s.rows()[0]
            await s.press("f")
            assert s.session.lines()[2:] == [*lines, "forward"]

    run(test)


def test_P_plays_iterations_and_a_key_pressed_meanwhile_is_done_between_two_of_them():
    async def test():
        async with stage() as s:
            await fast(s)
            s.app.simulate_key("P")
            await s.until(lambda: s.session.stop.iteration >= 2)
            for key in ("5", "home", "down", "down", "enter"):
                s.app.simulate_key(key)
            await s.until(lambda: "show 0.weight" in s.session.lines())
            before = s.session.stop.iteration
            await s.until(lambda: s.session.stop.iteration > before + 2)
            s.app.simulate_key("escape")
            await s.until(lambda: s.screen.queue.playing is None)
            await s.idle()
            place = s.session.lines().index("show 0.weight")
            assert s.session.lines()[place - 1] == "step"

    run(test)


def test_an_error_stops_it():
    class Broken(FakeSession):
        async def execute(self, command):
            if isinstance(command, Backward) and self.stop.iteration == 1:
                return Outcome(command, self.stop, FREED)
            return await super().execute(command)

    async def test():
        async with stage(Broken()) as s:
            await fast(s)
            s.app.simulate_key("p")
            await s.until(lambda: s.screen.queue.playing is None and s.session.stop.iteration == 1)
            await s.idle()
            assert "backward through a freed graph" in s.text()
            assert "stopped playing" in s.text()

    run(test)


def test_a_watchpoint_stops_it():
    class Watched(FakeSession):
        async def execute(self, command):
            outcome = await super().execute(command)
            hit = WatchHit(2, "norm(2.weight)", "1.908", "1.911")
            return replace(outcome, watches=(hit,)) if isinstance(command, Step) else outcome

    async def test():
        async with stage(Watched()) as s:
            await fast(s)
            s.app.simulate_key("p")
            await s.until(lambda: s.session.stop.iteration == 1 and s.screen.queue.playing is None)
            await s.idle()
            assert s.session.lines()[-1] == "step"
            assert "stopped playing by watch 2: norm(2.weight) changed" in s.text()

    run(test)


def test_with_a_script_open_its_lines_are_played_to_its_end():
    async def test():
        script = parse_script("load mlp seed=0\nforward\nbackward\nsay done\n", "a.steps")
        async with stage(opening=[], script=script) as s:
            await fast(s)
            s.app.simulate_key("p")
            await s.until(lambda: s.session.lines()[1:] == ["forward", "backward", "say done"])
            await s.until(lambda: s.screen.queue.playing is None)

    run(test)


def test_starting_over_asks_and_loads_the_same_with_the_same_seed_and_keeps_what_is_shown():
    async def test():
        async with stage() as s:
            await s.press("f", "b", "colon")
            await s.type("show 0.bias")
            await s.press("enter", "r")
            assert "start over with load mlp seed=0?" in s.rows()[-1]
            await s.press("s", "r")
            assert s.session.lines()[-1] == "step"
            await s.press("r")
            assert s.session.lines()[-2:] == ["load mlp seed=0", "show 0.bias"]
            assert "Starting over: load mlp seed=0" in "\n".join(e.text for e in s.screen.log_panel.entries)
            assert "stop 1" in s.rows()[0]

    run(test)


def test_any_other_key_answers_no_to_starting_over_one_that_does_nothing_too():
    async def test():
        async with stage() as s:
            for other in ("Q", "7", "down"):
                assert other != "Q" or s.screen.keyboard.of(other) is None
                await s.press("r", other, "r")
                assert "start over with load mlp seed=0?" in s.rows()[-1]
                await s.press("escape")
            assert sum(line.startswith("load") for line in s.session.lines()) == 1

    run(test)


def test_what_a_program_handed_over_is_not_started_over():
    async def test():
        async with stage(FakeSession(loaded=True), opening=[]) as s:
            await s.press("r")
            assert "there is no load command" in s.rows()[-1]
            assert s.session.executed == []

    run(test)


class FailsFirst(FakeSession):
    """A session whose first load fails."""

    async def execute(self, command):
        if isinstance(command, Load) and not self.restarts and not self.stop.number:
            self.executed.append(command)
            return Outcome(command, self.stop, Problem("raised", "the factory raised", "no", "Mend it."))
        return await super().execute(command)


def test_R_tries_the_load_of_a_script_again():
    async def test():
        script = parse_script("say Look at this.\nload mlp seed=0\nforward\nbackward\n", "a.steps")
        async with stage(FailsFirst(), opening=[], script=script) as s:
            await s.press("space", "space")
            assert "the factory raised" in s.text()
            assert "R retries" in " ".join(s.text().split())
            await s.press("R")
            await s.until(lambda: s.session.stop.number == 1)
            await s.idle()
            assert s.session.restarts == 1
            assert "line 3 of 4" in s.text()
            await s.press("space")
            assert s.session.lines()[-1] == "forward"

    run(test)


def test_starting_over_begins_an_open_script_again():
    async def test():
        script = parse_script("load mlp seed=0\nforward\nbackward\n", "a.steps")
        async with stage(opening=[], script=script) as s:
            await s.press("space", "space", "r", "r")
            assert s.session.lines() == ["load mlp seed=0", "forward", "backward", "load mlp seed=0"]
            await s.press("space")
            assert s.session.lines()[-1] == "forward"

    run(test)
