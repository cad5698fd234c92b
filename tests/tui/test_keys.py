"""Keys pressed in the real app become commands, one at a time and in order."""

from __future__ import annotations

import asyncio

import pytest
from fake_session import FakeSession
from stage import stage
from textual import events

from gradstep.tui.commands.queue import QUEUE
from gradstep.tui.keys.keymap import KEYMAP
from gradstep.values.outcomes import Died, Output, Progress

LOADED = ["load mlp seed=0", "show 2.weight[0, 0:10]"]


def run(test):
    asyncio.run(asyncio.wait_for(test(), 60))


def test_the_five_keys_are_the_five_commands():
    async def test():
        async with stage() as s:
            await s.press("f", "b", "s", "z", "n")
            assert s.session.lines() == [*LOADED, "forward", "backward", "step", "zero_grad", "next_batch"]

    run(test)


def test_space_is_resolved_when_its_turn_comes():
    async def test():
        async with stage() as s:
            await s.press(*["space"] * 5)
            assert s.session.lines()[2:] == ["forward", "backward", "step", "zero_grad", "next_batch", "forward"]

    run(test)


def test_keys_pressed_while_loading_are_kept_and_counted():
    async def test():
        session = FakeSession()
        session.hold()
        async with stage(session) as s:
            await s.until(session.started.is_set)
            session.on_event(Progress("importing torch"))
            for key in "fbs":
                s.app.simulate_key(key)
            await s.until(lambda: s.screen.queue.queued == 3)
            await s.screen.looking.settled()
            assert "importing torch" in s.text()
            assert "3 queued" in s.rows()[0]
            assert session.executed == []
            session.gate.set()
            await s.idle()
            assert session.lines() == [*LOADED, "forward", "backward", "step"]
            assert "queued" not in s.rows()[0]

    run(test)


def test_esc_clears_the_queue_and_a_second_one_interrupts():
    async def test():
        async with stage() as s:
            s.session.hold()
            for key in "fbs":
                s.app.simulate_key(key)
            await s.until(lambda: s.session.started.is_set() and s.screen.queue.queued == 2)
            s.app.simulate_key("escape")
            await s.until(lambda: s.screen.queue.queued == 0)
            assert s.session.interrupts == 0
            s.app.simulate_key("ctrl+c")
            await s.until(lambda: s.session.interrupts == 1)
            s.session.gate.set()
            await s.idle()
            assert s.session.lines() == [*LOADED, "forward"]
            assert s.app.is_running

    run(test)


def test_the_queue_is_bounded_and_says_so():
    async def test():
        async with stage() as s:
            s.session.hold()
            s.app.simulate_key("f")
            await s.until(s.session.started.is_set)
            for _ in range(QUEUE + 1):
                s.app.simulate_key("f")
            await s.until(lambda: "esc clears them" in s.text())
            assert s.screen.queue.queued == QUEUE
            s.app.simulate_key("escape")
            await s.until(lambda: s.screen.queue.queued == 0)
            s.session.gate.set()
            await s.idle()

    run(test)


def test_an_error_is_shown_with_remedy_and_the_users_frames_and_drops_the_queue():
    async def test():
        async with stage() as s:
            await s.press("f", "b")
            s.session.hold()
            for key in "bss":
                s.app.simulate_key(key)
            await s.until(lambda: s.screen.queue.queued == 2)
            s.session.gate.set()
            await s.idle()
            assert s.session.lines()[-1] == "backward"
            text = s.text()
            assert "✗ backward through a freed graph" in text
            assert "2 queued commands were dropped" in text
            assert "Press f for a new graph" in text
            assert "train.py:14" in text
            assert "[red]not markup[/red]" in text
            assert "torch/_tensor.py" not in text
            await s.press("t")
            assert "torch/_tensor.py:581" in s.text()

    run(test)


def test_no_frame_shows_two_stops():
    async def test():
        async with stage(size=(200, 60)) as s:
            seen = set()
            s.session.looks.clear()
            for key in "fbszfbsz":
                before = s.screen.showing.frames
                s.app.simulate_key(key)
                await s.until(lambda before=before: s.screen.showing.frames > before)
                stops = {
                    p.shown_stop
                    for n, p in s.screen.panels.items()
                    if n in s.screen.placements and p.request() is not None
                }
                assert stops == {s.screen.status.stop.number}
                seen |= stops
            assert len(seen) == 8
            # one look for each outcome, with all that is visible in it
            assert all(len(look) >= 5 for look in s.session.looks if len(look) > 1)

    run(test)


def test_moving_in_model_writes_one_show():
    async def test():
        async with stage() as s:
            await s.press("5", "home", "down", "down", "enter")
            assert s.session.lines() == [*LOADED, "show 0.weight"]
            await s.press("down", "f")
            assert s.session.lines()[3:] == ["show 0.bias", "forward"]

    run(test)


def test_enter_on_a_leaf_of_the_graph_shows_its_parameter():
    async def test():
        async with stage() as s:
            await s.press("f", "2", "home", "down", "down", "down", "enter")
            assert s.session.lines()[-1] == "show 2.bias"

    run(test)


def test_tab_and_numbers_focus_panels_and_m_maximises():
    async def test():
        async with stage() as s:
            assert s.screen.focus_panel.title == "Tensor"
            for key, title in (
                ("2", "Graph"),
                ("3", "Loss"),
                ("4", "Log"),
                ("5", "Model"),
                ("6", "Why"),
                ("tab", "Layers"),
                ("9", "Optimizer"),
                ("0", "Batch"),
                ("tab", "Ledger"),
                ("tab", "Tensor"),
                ("a", "Ledger"),
                ("1", "Tensor"),
            ):
                await s.press(key)
                assert s.screen.focus_panel.title == title
                assert sum("▌" in row for row in s.rows()) == 1
            await s.press("shift+tab")
            assert s.screen.focus_panel.title == "Ledger"
            await s.press("4", "m")
            assert set(s.screen.placements) & set(s.screen.panels) == {"log"}
            await s.press("m")
            assert len(set(s.screen.placements) & set(s.screen.panels)) == 6

    run(test)


def test_a_typed_line_runs_and_stands_in_the_log():
    async def test():
        async with stage() as s:
            await s.press("colon")
            await s.type("repeat 2 { forward; next_batch }")
            await s.press("enter")
            assert s.session.lines()[2:] == ["forward", "next_batch"] * 2
            assert [e.text for e in s.screen.log_panel.entries][-1] == "next_batch"
            await s.press("colon", "up")
            assert s.screen.line is not None
            assert s.screen.line.value == "repeat 2 { forward; next_batch }"
            await s.press("escape", "f")
            assert s.session.lines()[-1] == "forward"

    run(test)


def test_a_wrong_line_says_what_is_wrong_and_carries_nothing_out():
    async def test():
        async with stage() as s:
            await s.press("colon")
            await s.type("bakward")
            await s.press("enter")
            assert s.screen.line is None
            assert "backward" in s.text()
            assert s.session.lines() == LOADED

    run(test)


def test_tab_completes_names():
    async def test():
        async with stage() as s:
            await s.press("colon")
            await s.until(lambda: s.screen.typing._names is not None)
            await s.type("show 2.w")
            await s.press("tab")
            assert s.screen.line is not None
            assert s.screen.line.value.startswith("show 2.weight")

    run(test)


def test_help_names_every_key_and_every_command():
    async def test():
        from gradstep.steps.language.words import WORDS
        from gradstep.tui.keys.help import help_lines
        from gradstep.tui.keys.keyboard import Keyboard

        text = " ".join(" ".join(line.plain for line in help_lines(120, Keyboard())).split())
        assert all(key.help in text for key in KEYMAP)
        assert all(word.help in text for word in WORDS)
        async with stage() as s:
            await s.press("question_mark")
            assert "run optimizer.step(): updates the weights" in s.text()
            await s.press("escape", "f")
            assert s.session.lines()[-1] == "forward"

    run(test)


def test_the_palette_finds_a_key_by_what_it_does():
    async def test():
        async with stage() as s:
            await s.press("ctrl+p")
            await s.until(lambda: "forward" in s.text())
            await s.type("zero")
            await s.until(lambda: "zero_grad" in s.text())
            await s.press("escape")

    run(test)


def test_q_quits_with_0():
    async def test():
        async with stage() as s:
            s.app.simulate_key("q")
            await s.until(lambda: s.app._exit)
            assert s.app.return_code == 0

    run(test)


def test_a_dead_engine_leaves_the_stop_readable_and_R_proves_the_replay():
    async def test():
        async with stage() as s:
            await s.press("f", "b")
            await s.until(lambda: s.screen.queue.mark is not None and s.screen.queue.mark.commands == 4)
            s.session.dead = "killed by SIGKILL"
            s.session.on_event(Died("killed by SIGKILL"))
            await s.press("f")
            text = s.text()
            assert "The engine died: killed by SIGKILL" in text
            assert "2.weight.grad" in text
            assert "R restarts it" in text
            await s.press("R")
            await s.until(lambda: "the same" in s.text())
            assert s.session.lines() == [*LOADED, "forward", "backward"] * 2
            assert "The engine died" not in s.text()
            await s.press("s")
            assert s.session.lines()[-1] == "step"

    run(test)


def test_an_engine_that_died_while_loading_begins_again():
    async def test():
        session = FakeSession()
        session.hold()
        async with stage(session) as s:
            await s.until(session.started.is_set)
            session.dead = "exited with status 3"
            session.on_event(Died("exited with status 3"))
            session.gate.set()
            await s.idle()
            assert "It was running: load mlp seed=0" in s.text()
            await s.press("R")
            await s.until(lambda: s.screen.showing.frames > 0)
            await s.idle()
            assert session.lines() == LOADED
            assert "stop 1" in s.rows()[0]

    run(test)


def test_a_replay_that_leads_elsewhere_says_so():
    async def test():
        async with stage() as s:
            await s.press("f")
            await s.until(lambda: s.screen.queue.mark is not None and s.screen.queue.mark.commands == 3)
            s.session.dead = "exited with status 3"
            s.session.on_event(Died("exited with status 3"))
            s.session.digest = "beef"
            await s.press("R")
            await s.until(lambda: "DIFFERS" in s.text())

    run(test)


def test_output_of_the_debuggee_is_shown_without_its_control_sequences():
    async def test():
        async with stage() as s:
            assert "4 Log  a Ledger" in s.text()
            s.session.on_event(Output("loss \x1b[31mred\x1b[0m [bold]x[/bold]\n"))
            s.session.on_event(Output("half a "))
            s.session.on_event(Output("line\n"))
            await s.until(lambda: "half a line" in s.text())
            assert "│ loss red [bold]x[/bold]" in s.text()
            await s.press("a", "1")
            s.session.on_event(Output("more\n"))
            await s.press("f")
            assert "│ loss red" not in s.text()

    run(test)


def test_a_session_that_holds_its_workload_is_shown_at_once():
    async def test():
        async with stage(FakeSession(loaded=True), opening=[]) as s:
            assert s.session.executed == []
            assert "stop 1" in s.rows()[0]

    run(test)


@pytest.mark.parametrize("key", [key.keys.split(",")[0] for key in KEYMAP if key.id not in {"quit", "suspend"}])
def test_every_key_works_before_and_after_the_first_stop(key):
    async def test():
        session = FakeSession()
        session.hold()
        async with stage(session) as s:
            s.app.simulate_key(key)
            await s.pilot.pause(0)
            if s.app.screen is not s.screen or s.screen.line is not None:
                s.app.simulate_key("escape")
            session.gate.set()
            await s.until(lambda: s.screen.showing.frames > 0)
            await s.press("f", "b", key)
            assert s.app.return_code is None
            assert s.app.is_running

    run(test)


@pytest.mark.parametrize("way", ["enter", "escape"])
def test_a_burst_of_keys_is_taken_one_key_after_the_other(way):
    """Nothing is awaited between the keys: each must see what the one before has opened or closed."""

    async def test():
        async with stage() as s:
            line = ["space" if letter == " " else letter for letter in "repeat 2 { forward }"]
            for key in ["n", "colon", *line, way, "b", "s", "colon", "z", "backspace", "backspace", "z"]:
                s.app.post_message(key_event(key))
            await s.until(lambda: "zero_grad" in s.session.lines())
            await s.idle()
            typed = ["forward"] * 2 if way == "enter" else []
            assert s.session.lines()[2:] == ["next_batch", *typed, "backward", "step", "zero_grad"]
            assert s.screen.line is None

    run(test)


def test_a_burst_of_two_lines_is_two_lines_and_what_is_pasted_goes_between():
    async def test():
        async with stage() as s:
            for event in (
                *map(key_event, ["colon", *"for"]),
                events.Paste("ward\nbackward"),
                *map(key_event, ["enter", "colon", *"step", "enter", "b"]),
            ):
                s.app.post_message(event)
            await s.until(lambda: "backward" in s.session.lines())
            assert s.session.lines()[2:] == ["forward", "step", "backward"]

    run(test)


def key_event(key):
    return events.Key(key, " " if key == "space" else key if len(key) == 1 else None)


def test_help_names_the_layouts_and_the_marks_of_the_path():
    from gradstep.tui.keys.help import help_lines
    from gradstep.tui.keys.keyboard import Keyboard
    from gradstep.tui.layout.layouts import LAYOUTS

    lines = [" ".join(line.plain.split()) for line in help_lines(120, Keyboard())]
    for name in LAYOUTS:
        assert any(f" layout {name}: " in f" {line}" for line in lines)
    assert {line[0] for line in lines if line[:2] in ("● ", "✓ ", "▶ ")} == {"●", "✓", "▶"}


def test_help_on_a_command_begins_with_it_and_home_and_end_go_to_the_ends():
    async def test():
        async with stage() as s:
            await s.press("colon")
            await s.type("help break")
            await s.press("enter")
            rows = s.rows()
            assert rows[0].startswith(" Help")
            assert rows[1].split()[0] == "break"
            await s.press("home")
            assert "break" not in s.rows()[1]
            await s.press("end")
            assert any(row.split()[:1] == ["quit"] for row in s.rows())
            await s.press("escape", "colon")
            await s.type("help brk")
            await s.press("enter")
            assert "There is no help on brk" in s.text()
            assert "break" in s.text()

    run(test)
