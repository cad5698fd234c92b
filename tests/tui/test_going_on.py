"""Repeats and scripts on the screen: where they are, what holds them up, and how they go on."""

from __future__ import annotations

import asyncio

import pytest
from fake_session import FakeSession
from msgspec.structs import replace
from stage import stage

from gradstep.steps.language.parse import parse_script
from gradstep.tui.commands.play import RATES
from gradstep.tui.commands.reading import asks_for_key
from gradstep.values.commands import Forward, Load, Step
from gradstep.values.outcomes import Died, Outcome, Problem, Progress, WatchHit


def _why(s):
    return "\n".join(line.plain for line in s.screen.why.surface.lines)


LOADED = ["load mlp seed=0", "show 2.weight[0, 0:10]"]


def run(test):
    asyncio.run(asyncio.wait_for(test(), 60))


class Watched(FakeSession):
    """A session with a watchpoint that is hit by every step."""

    async def execute(self, command):
        outcome = await super().execute(command)
        hit = WatchHit(2, "norm(2.weight)", "1.908", "1.911")
        return replace(outcome, watches=(hit,)) if isinstance(command, Step) else outcome


class Broken(FakeSession):
    """A session whose third forward fails, as an expectation that does not hold."""

    async def execute(self, command):
        if isinstance(command, Forward) and self.lines().count("forward") == 2:
            self.executed.append(command)
            return Outcome(command, self.stop, Problem("raised", "it does not hold", "no", "Try again."))
        return await super().execute(command)


class HeldAfterLoad(FakeSession):
    """A session that holds the command after its load until it is let go."""

    async def execute(self, command):
        outcome = await super().execute(command)
        if isinstance(command, Load):
            self.hold()
        return outcome


async def give(s, line):
    await s.press("colon")
    await s.type(line)
    await s.press("enter")


def test_a_watchpoint_pauses_a_repeat_and_c_goes_on():
    async def test():
        async with stage(Watched()) as s:
            await give(s, "repeat 3 { forward; step; next_batch }")
            assert s.session.lines()[2:] == ["forward", "step"]
            flat = " ".join(s.text().split())
            assert "stopped in turn 1 of 3 by watch 2: norm(2.weight) changed from 1.908 to 1.911; c resumes" in flat
            assert "continue" in s.rows()[-1]
            await s.press("c")
            assert s.session.lines()[2:] == ["forward", "step", "next_batch", "forward", "step"]
            assert "stopped in turn 2 of 3" in s.text()
            await s.press("c", "c")
            assert s.session.lines()[2:] == ["forward", "step", "next_batch"] * 3
            assert "continue" not in s.rows()[-1]
            await s.press("c")
            assert "nothing to continue" in s.text()

    run(test)


def test_a_watchpoint_holds_up_the_keys_that_wait_and_c_lets_them_go():
    async def test():
        async with stage(Watched()) as s:
            s.session.hold()
            for key in "fsbz":
                s.app.simulate_key(key)
            await s.until(lambda: s.session.started.is_set() and s.screen.queue.queued == 3)
            s.session.gate.set()
            await s.idle()
            assert s.session.lines()[2:] == ["forward", "step"]
            assert "stopped by watch 2" in s.text()
            await s.press("c")
            assert s.session.lines()[2:] == ["forward", "step", "backward", "zero_grad"]

    run(test)


def test_esc_in_a_repeat_says_the_turn_and_c_goes_on():
    async def test():
        async with stage() as s:
            await s.press("colon")
            await s.type("repeat 1000000 { forward }")
            s.session.hold()
            s.app.simulate_key("enter")
            await s.until(s.session.started.is_set)
            await s.until(lambda: "turn 1 of 1,000,000" in s.rows()[0])
            s.app.simulate_key("escape")
            s.session.gate.set()
            await s.idle()
            assert s.session.lines()[2:] == ["forward"]
            assert "stopped in turn 1 of 1,000,000; c resumes" in s.text()
            assert "turn" not in s.rows()[0]

    run(test)


def test_a_repeat_that_fails_says_in_which_turn():
    async def test():
        async with stage(Broken()) as s:
            await give(s, "repeat 5 { forward; next_batch }")
            assert "stopped in turn 3 of 5" in s.text()
            assert "it does not hold" in s.text()

    run(test)


SCRIPT = "# What this is about.\n# In two lines.\nsay **Hello** there\nload mlp seed=0\nforward\nbackward\nsay End\n"


def test_narration_before_the_load_is_seen_and_no_loading_that_nobody_waits_for():
    async def test():
        session = FakeSession()
        session.hold()  # its engine is still importing torch
        async with stage(session, opening=[], script=parse_script(SCRIPT, "a.steps")) as s:
            await s.until(lambda: "c those up to the next narration" in s.text())
            session.on_event(Progress("importing torch"))
            await s.screen.looking.settled()
            assert "What this is about. In two lines." in s.text()
            assert "importing torch" not in s.text()
            assert "loading" not in s.rows()[0]
            s.app.simulate_key("space")
            await s.until(lambda: "│ Hello there" in s.text())
            assert session.executed == []
            assert "importing torch" not in s.text()
            s.app.simulate_key("space")
            session.on_event(Progress("building mlp"))
            await s.until(lambda: "▶ building mlp" in s.text())
            session.gate.set()
            await s.idle()
            assert session.lines() == ["load mlp seed=0"]
            assert "building mlp" not in s.text()

    run(test)


def test_c_runs_a_script_up_to_the_next_narration_and_past_its_end_is_no_key_of_the_script():
    async def test():
        text = "load mlp seed=0\nforward\nsay Look:\nsay the loss.\nbackward\nstep\nsay End\n"
        async with stage(opening=[], script=parse_script(text, "a.steps")) as s:
            assert "continue" in s.rows()[-1]
            await s.press("c")
            assert s.session.lines() == ["load mlp seed=0", "forward", "say Look:", "say the loss."]
            assert "│ Look:" in s.text()
            await s.press("c")
            assert s.session.lines()[4:] == ["backward", "step", "say End"]
            assert s.screen.reading.at_end
            assert "continue" not in s.rows()[-1]

    run(test)


def test_space_does_what_is_natural_after_the_last_line_and_the_top_row_says_so():
    async def test():
        async with stage(opening=[], script=parse_script("load mlp seed=0\nforward\n", "a.steps")) as s:
            await s.press("space")
            assert "space  backward" in s.rows()[1]
            await s.press("space", "space")
            assert s.session.lines()[-2:] == ["backward", "step"]

    run(test)


NARRATED = "load mlp seed=0\nsay One **number** says it.\nforward\nprint loss\nexpect loss > 0\nsay Next.\nbackward\n"


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_narration_stays_until_the_next_one_and_what_held_is_said_below_it(size):
    async def test():
        async with stage(opening=[], script=parse_script(NARRATED, "a.steps"), size=size) as s:
            for _ in range(4):
                await s.press("space")
                assert "│ One number says it." in s.text()
            assert "✓ holds: loss > 0" in s.text()
            assert "was stop" not in s.text()
            await s.press("space")
            assert "One number says it." not in _why(s)
            assert "│ Next." in s.text()
            await s.press("space", "f", "s")
            assert "│ Next." in s.text()
            await s.press("escape")
            assert "│ Next." not in s.text()

    run(test)


def test_long_narration_is_seen_whole_in_why_and_in_script():
    words = [f"word{i}" for i in range(60)]

    async def test():
        text = f"load mlp seed=0\nsay {' '.join(words)}\nforward\n"
        async with stage(opening=[], script=parse_script(text, "a.steps"), size=(80, 24)) as s:
            await s.press("space", "space")
            assert all(word in s.text() for word in words)
            assert "forward computed" in s.text() or "was stop" in s.text()
            await s.press("m")
            assert s.screen.focus_panel.title == "Script"
            assert all(word in s.text() for word in words)

    run(test)


def test_narration_that_asks_for_a_key_is_waited_at():
    async def test():
        text = "load mlp seed=0\nsay Press `f` now.\nsay Done?\nforward\nsay Then press space.\nbackward\n"
        async with stage(opening=[], script=parse_script(text, "a.steps")) as s:
            await s.press("c")
            assert s.session.lines()[1:] == ["say Press `f` now."]
            await s.press("space", "f")
            assert s.session.lines()[2:] == ["say Done?", "forward"]
            await s.press(*["greater_than_sign"] * len(RATES))
            s.app.simulate_key("p")
            await s.until(lambda: s.screen.queue.playing is None and "say Then press space." in s.session.lines())
            await s.idle()
            assert s.session.lines()[4:] == ["say Then press space."]
            assert "the script asks you to press a key; p resumes" in s.rows()[-1]

    run(test)


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("Press `i` to step in.", True),
        ("Now press space.", True),
        ("Look, then press F11.", True),
        ("Press any key.", True),
        ("The press of the grape.", False),
        ("Express `f` in terms of x.", False),
        ("Pressure is no key: `f` is.", False),
    ],
)
def test_what_asks_for_a_key(text, asks):
    assert asks_for_key(text) == asks


def test_a_key_that_does_what_the_next_line_says_counts_as_that_line():
    async def test():
        text = "load mlp seed=0\nforward\nbackward\nstep\n"
        async with stage(opening=[], script=parse_script(text, "a.steps")) as s:
            await s.press("f", "space", "z", "space")
            assert s.session.lines()[1:] == ["forward", "backward", "zero_grad", "step"]
            assert s.screen.reading.at_end

    run(test)


def test_c_stops_at_the_line_that_fails_and_goes_on_after_it():
    async def test():
        text = "load mlp seed=0\nrepeat 2 { forward }\nforward\nbackward\n"
        async with stage(Broken(), opening=[], script=parse_script(text, "a.steps")) as s:
            await s.press("c")
            assert s.session.lines()[-3:] == ["forward"] * 3
            assert "stopped at line 3" in s.text()
            assert "✗" in s.text()
            await s.press("c")
            assert s.session.lines()[-1] == "backward"

    run(test)


def test_a_watchpoint_pauses_the_rest_of_a_script():
    async def test():
        text = "load mlp seed=0\nforward\nstep\nbackward\n"
        async with stage(Watched(), opening=[], script=parse_script(text, "a.steps")) as s:
            await s.press("c")
            assert s.session.lines()[1:] == ["forward", "step"]
            assert "stopped at line 3 by watch 2" in s.text()
            await s.press("c")
            assert s.session.lines()[1:] == ["forward", "step", "backward"]

    run(test)


KEPT = "load mlp seed=0\nshow 2.bias\nrepeat 3 { forward; next_batch }\n"


def test_a_kept_session_is_replayed_to_its_end():
    async def test():
        async with stage(opening=[], resumed=parse_script(KEPT, "last.steps")) as s:
            assert s.session.lines() == ["load mlp seed=0", "show 2.bias", *["forward", "next_batch"] * 3]
            assert "The session is resumed: 8 commands replayed" in s.text()
            assert s.screen.reading is None
            assert s.screen.opening.whole
            await s.press("s")
            assert len(s.screen.queue.history) == 9

    run(test)


def test_a_replay_of_a_kept_session_shows_where_it_is_and_esc_pauses_it():
    async def test():
        session = HeldAfterLoad()
        session.hold()
        async with stage(session, opening=[], resumed=parse_script(KEPT, "last.steps")) as s:
            session.gate.set()
            await s.until(lambda: "command 2 of 8" in s.rows()[0])
            s.app.simulate_key("escape")
            session.gate.set()
            await s.idle()
            assert "stopped at command 2 of 8; c resumes" in s.text()
            assert not s.screen.opening.whole
            await s.press("c")
            assert len(session.lines()) == 8
            assert s.screen.opening.whole

    run(test)


def test_a_watchpoint_does_not_hold_up_a_session_that_is_brought_back():
    async def test():
        kept = "load mlp seed=0\nrepeat 2 { forward; step; next_batch }\n"
        async with stage(Watched(), opening=[], resumed=parse_script(kept, "last.steps")) as s:
            assert s.session.lines()[1:] == ["forward", "step", "next_batch"] * 2
            assert s.screen.opening.whole
            await s.press("f", "s")
            assert "watch 2: norm(2.weight) changed" in s.text()

    run(test)


def test_the_command_that_the_engine_died_of_is_marked_and_none_is_counted_twice():
    async def test():
        async with stage() as s:
            await s.press("f", "4", "m", "m")
            s.session.hold()
            s.app.simulate_key("b")
            await s.until(s.session.started.is_set)
            s.session.dead = "killed by SIGKILL"
            s.session.on_event(Died("killed by SIGKILL"))
            s.session.gate.set()
            await s.idle()
            assert "✗ backward" in s.text()
            assert "R restart" in s.rows()[-1]
            assert "space" not in s.rows()[-1]
            assert "was stop" not in s.text()  # what Why said of the forward before
            assert "4 commands" in s.text()
            await s.press("R")
            await s.until(lambda: "replayed 3 of 3" in s.text())
            await s.idle()
            assert "4 commands" in s.text()

    run(test)


def test_lines_of_narration_in_a_row_are_one_text_and_one_press_of_space():
    async def test():
        script = parse_script(
            "load mlp seed=0\nsay First *this*.\nsay\nsay Then that.\nforward\nsay And now?\n", "a.steps"
        )
        async with stage(opening=[], script=script) as s:
            await s.press("space")
            assert s.session.lines()[1:] == ["say First *this*.", "say ", "say Then that."]
            rows = [row.strip() for row in s.rows()]
            place = next(i for i, row in enumerate(rows) if row.startswith("│ First this."))
            assert rows[place + 1 : place + 3] == ["│", "│ Then that."]
            await s.press("space", "space")
            assert s.session.lines()[4:] == ["forward", "say And now?"]
            why = "\n".join(line.plain for line in s.screen.why.surface.lines)
            assert "And now?" in why
            assert "Then that." not in why

    run(test)
