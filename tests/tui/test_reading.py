"""An open script and what is done by hand beside it, on the real engine: undo, goto, redo, and stops inside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from stage import Stage, stage

from gradstep.session.local import Session
from gradstep.session.transport.inline import InlineSession
from gradstep.steps.language.parse import parse_script
from gradstep.values.commands import line_of


class Real(InlineSession):
    """The engine in this process."""

    def __init__(self) -> None:
        super().__init__(Session())
        self.gate = asyncio.Event()
        self.gate.set()


def on_script(text: str, test: Callable[[Stage], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        script = parse_script(f"load mlp seed=0 device=cpu\n{text}", "a.steps")
        async with stage(Real(), opening=[], script=script) as s:  # type: ignore[arg-type]
            await test(s)

    asyncio.run(asyncio.wait_for(run(), 120))


def following(s: Stage) -> str:
    """Return the command of the script's next line; empty at its end."""
    assert s.screen.reading is not None
    command = s.screen.reading.next
    return "" if command is None else line_of(command)


def test_undo_takes_the_script_back_to_the_line_whose_command_it_undid() -> None:
    async def test(s: Stage) -> None:
        await s.press(*["space"] * 4)
        assert following(s) == "say Then."
        await s.press("space")
        assert "│ Then." in s.text()
        await s.press("u")
        assert following(s) == "forward"
        assert "│ First." in s.text()
        assert "✓  3" not in s.text()
        await s.press(*["space"] * 6)  # what is run again is a let, too
        assert following(s) == ""
        assert s.screen.queue.stop.iteration == 1
        assert "✗" not in s.text()

    on_script("say First.\nforward\nlet before = loss\nexpect loss == before\nsay Then.\nbackward\nstep\n", test)


def test_undo_of_what_was_done_by_hand_leaves_the_script_where_it_is() -> None:
    async def test(s: Stage) -> None:
        await s.press("space", "z", "z", "u")
        assert following(s) == "backward"
        await s.press("u")
        assert following(s) == "backward"
        await s.press("u")
        assert following(s) == "forward"

    on_script("forward\nbackward\n", test)


def test_goto_and_redo_take_it_forth_again_and_a_repeat_knows_its_turn() -> None:
    async def test(s: Stage) -> None:
        await s.press(*["space"] * 5)
        assert s.screen.script_panel.script is not None
        assert "turn 3 of 3" in s.screen.script_panel.script.name
        await s.press("u", "u")
        assert "turn 2 of 3" in s.screen.script_panel.script.name
        assert following(s) == "backward"
        await s.press("U", "U")
        assert "turn 3 of 3" in s.screen.script_panel.script.name
        assert following(s) == "backward"
        await s.press("colon")
        await s.type("goto 3")
        await s.press("enter")
        assert "turn 2 of 3" in s.screen.script_panel.script.name

    on_script("repeat 3 { forward; backward }\nstep\n", test)


def test_undo_inside_a_phase_goes_back_line_by_line() -> None:
    async def test(s: Stage) -> None:
        await s.press(*["space"] * 4)
        assert following(s) == "let v = node.in"
        await s.press("space", "u")
        assert following(s) == "over"
        assert s.screen.queue.stop.position is not None
        assert s.screen.queue.stop.position.number == 1
        await s.press("space", "space")
        assert following(s) == "out phase"
        await s.press("u", "u", "u")
        assert following(s) == "into backward"
        assert s.screen.queue.stop.position is None

    on_script("forward\ninto backward\nover\nover\nlet v = node.in\nout phase\n", test)


def test_a_travel_of_the_scripts_own_does_not_move_it() -> None:
    async def test(s: Stage) -> None:
        await s.press("space", "space", "space")
        assert following(s) == "backward"
        await s.press("space", "space")
        assert following(s) == ""

    on_script("forward\nundo\nforward\nbackward\nundo\n", test)


def test_the_keys_inside_a_phase_count_as_the_lines_and_the_footer_names_space() -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "i")
        assert following(s) == "over"
        assert "space next" in s.rows()[-1]
        await s.press("o", "i")
        assert following(s) == "out phase"
        await s.press("O", "space")
        assert following(s) == ""
        assert s.screen.queue.stop.position is None

    on_script("forward\ninto backward\nover\ninto\nout phase\n", test)
