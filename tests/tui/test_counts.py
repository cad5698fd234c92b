"""A number before a key: how often it does what it does; a digit by itself is the key of a panel."""

from __future__ import annotations

import asyncio

from fake_session import FREED, FakeSession
from stage import stage

from gradstep.steps.record import script_text
from gradstep.tui.controllers.counting import PATIENCE, Count
from gradstep.values.commands import Backward

LOADED = ["load mlp seed=0", "show 2.weight[0, 0:10]"]
LOOP = ["forward", "backward", "step", "zero_grad", "next_batch"]


def run(test):
    asyncio.run(asyncio.wait_for(test(), 60))


def test_digits_count_for_as_long_as_they_are_typed_on():
    count = Count()
    count.add("1", 10.0, "tensor")
    count.add("0", 10.0 + 0.9 * PATIENCE, "batch")
    assert (count.digits, count.home) == ("10", "tensor")
    assert count.take(10.0 + 1.8 * PATIENCE) == 10
    assert count.take(10.0 + 1.8 * PATIENCE) == 0
    count.add("5", 20.0, "graph")
    assert not count.waits(20.1 + PATIENCE)
    assert count.take(20.1 + PATIENCE) == 0
    count.add("5", 30.0, "graph")
    count.add("7", 31.0 + PATIENCE, "model")
    assert (count.digits, count.home) == ("7", "model")


def test_ten_spaces_are_one_job_that_says_how_far_it_is_and_is_recorded_as_its_lines():
    async def test():
        async with stage() as s:
            await s.press("2", "m", "m", "1", "0", "space")
            assert s.session.lines() == [*LOADED, *(LOOP * 3)[:12]]
            assert s.screen.focus_panel.title == "Graph"
            text = script_text(s.screen.queue.history)
            assert "repeat 2 { forward; backward; step; zero_grad; next_batch }" in text

    run(test)


def test_the_turn_is_shown_and_esc_stops_after_the_present_phase_and_c_goes_on():
    async def test():
        async with stage() as s:
            s.session.hold()
            for key in ("4", "n"):
                s.app.simulate_key(key)
            await s.until(s.session.started.is_set)
            await s.until(lambda: "turn 1 of 4" in s.rows()[0])
            assert s.screen.queue.queued == 0
            s.app.simulate_key("escape")
            await s.until(lambda: s.screen.queue._stopping)
            s.session.gate.set()
            await s.idle()
            assert s.session.lines()[2:] == ["next_batch"]
            assert "stopped in turn 1 of 4; c resumes" in s.text()
            await s.press("c")
            assert s.session.lines()[2:] == ["next_batch"] * 4

    run(test)


def test_a_turn_that_fails_ends_the_others():
    async def test():
        async with stage() as s:
            carry_out = s.session._phase
            s.session._phase = lambda command: FREED if isinstance(command, Backward) else carry_out(command)
            await s.press("5", "space")
            assert s.session.lines()[2:] == ["forward", "backward"]
            assert "stopped in turn 2 of 5" in s.text()

    run(test)


def test_the_digits_stand_in_the_prompt_until_they_are_used_or_let_go():
    async def test():
        async with stage() as s:
            await s.press("1", "2")
            assert s.rows()[-2].startswith(" 12…")
            assert "space" in s.rows()[-2]
            await s.press("b")
            assert "12…" not in s.rows()[-2]
            await s.press("3")
            assert s.rows()[-2].startswith(" 3…")
            s.screen.counting.over()
            await s.idle()
            assert s.rows()[-2].startswith(" :")

    run(test)


def test_a_digit_goes_to_its_panel_at_once_and_stays_there_when_nothing_is_counted():
    async def test():
        async with stage() as s:
            await s.press("5")
            assert s.screen.focus_panel.title == "Model"
            await s.press("down", "2")
            assert s.screen.focus_panel.title == "Graph"
            await s.press("m", "m", "f")
            assert s.screen.focus_panel.title == "Graph"
            assert s.session.lines()[-1:] == ["forward"]
            await s.press("0")
            assert s.screen.focus_panel.title == "Batch"
            assert s.screen.prompt.count == ""

    run(test)


def test_the_four_phases_are_not_counted_so_that_a_glance_at_a_panel_runs_none_twice():
    async def test():
        async with stage() as s:
            await s.press("f", "2", "b")
            assert s.session.lines()[2:] == ["forward", "backward"]
            assert s.screen.focus_panel.title == "Graph"

    run(test)


def test_letters_that_move_are_counted_and_arrows_are_not():
    async def test():
        async with stage() as s:
            await s.press("5", "home", "3", "j")
            assert s.screen.focus_panel is s.screen.model
            assert s.screen.model.at == 3
            await s.press("home", "5", "down")
            assert s.screen.model.at == 1

    run(test)


def test_a_count_of_lines_is_of_the_open_script_and_ends_with_it():
    async def test():
        from gradstep.steps.language.parse import parse_script

        script = parse_script("load mlp seed=0\nforward\nbackward\nstep\n", "a.steps")
        async with stage(opening=[], script=script) as s:
            await s.press("2", "space")
            assert s.session.lines()[1:] == ["forward", "backward"]
            await s.press("9", "space")
            assert s.session.lines()[1:] == ["forward", "backward", "step"]

    run(test)


def test_an_iteration_ends_with_the_step_wherever_it_was_begun():
    async def test():
        async with stage() as s:
            await s.press("N")
            assert s.session.lines()[2:] == ["forward", "backward", "step"]
            await s.press("z", "N")
            assert s.session.lines()[5:] == ["zero_grad", "next_batch", "forward", "backward", "step"]
            await s.press("3", "N")
            assert s.session.stop.iteration == 5

    run(test)


def test_an_iteration_that_is_paused_goes_on_to_its_step():
    class HeldAfterForward(FakeSession):
        async def execute(self, command):
            outcome = await super().execute(command)
            if outcome.stop.phase == "forward":
                self.hold()
            return outcome

    async def test():
        async with stage(HeldAfterForward()) as s:
            s.app.simulate_key("N")
            await s.until(lambda: "forward" in s.session.lines())
            await s.until(s.session.started.is_set)
            s.app.simulate_key("escape")
            await s.until(lambda: s.screen.queue._stopping)
            s.session.gate.set()
            await s.idle()
            assert s.session.lines()[2:] == ["forward", "backward"]
            await s.press("c")
            assert s.session.lines()[2:] == ["forward", "backward", "step"]

    run(test)
