"""Going back in time by keys, on the real engine in this process: undo, the past, branches, comparing, trying."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
import torch
from fake_session import FakeSession
from stage import Stage, real_stage, stage

from gradstep.session.local import Session
from gradstep.session.transport.inline import InlineSession
from gradstep.tui.panels.compare import ComparePanel
from gradstep.tui.panels.timeline import TimelinePanel
from gradstep.values.commands import line_of
from gradstep.values.views import Request, View
from gradstep.values.views.timeline import LookTimeline
from gradstep.workload import Workload


class Real(InlineSession):
    """The engine in this process; keeps what it was asked for, and of which moment."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        held = Workload(
            model=torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)),
            loss=torch.nn.functional.mse_loss,
            optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
            batches=[(torch.ones(5, 3), torch.zeros(5, 2))],
        )
        super().__init__(Session(held))
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked: list[tuple[Sequence[Request], int]] = []

    async def look(self, requests: Sequence[Request], at: int = 0) -> tuple[View, ...]:
        self.asked.append((requests, at))
        return await super().look(requests, at)

    def lines(self) -> list[str]:
        return [line_of(command) for command in self.local.log]


def on_stage(test: Callable[[Stage], Coroutine[Any, Any, None]], size: tuple[int, int] = (120, 40)) -> None:
    async def run() -> None:
        async with real_stage(Real(), size) as s:
            await test(s)

    asyncio.run(asyncio.wait_for(run(), 120))


def status(s: Stage) -> str:
    return s.rows()[0].rstrip()


def of_panel(s: Stage, name: str) -> list[str]:
    place = s.screen.placements[name]
    return [row[place.x : place.x + place.width].rstrip() for row in s.rows()[place.y : place.y + place.height]]


def row_of(s: Stage, panel: str, word: str) -> str:
    [row] = [row for row in of_panel(s, panel)[2:] if word in row]
    return " ".join(row.split())


async def iterations(s: Stage, count: int) -> None:
    await s.press(*str(count), "N")


# -- undo and redo -----------------------------------------------------------------------------------------------------
def test_u_and_capital_u_go_back_and_forth_as_often_as_a_number_says() -> None:
    async def test(s: Stage) -> None:
        await iterations(s, 2)
        end = s.session.stop
        assert status(s).endswith(f"stop {end.number}")
        await s.press("u")
        assert status(s).endswith(f"+1 ahead  stop {end.number - 1}")
        await s.press("3", "u")
        assert s.session.lines()[-2:] == ["undo", "undo 3"]
        assert status(s).endswith(f"+4 ahead  stop {end.number - 4}")
        await s.press("2", "U")
        assert s.session.lines()[-1] == "redo 2"
        await s.press("2", "U")
        assert s.session.stop == end
        assert "ahead" not in status(s)

    on_stage(test)


def test_keys_send_the_commands_to_whatever_session_it_is() -> None:
    async def run() -> None:
        async with stage(FakeSession()) as s:
            await s.press("f", "b", "3", "u", "U")
            assert s.session.lines()[-2:] == ["undo 3", "redo"]

    asyncio.run(asyncio.wait_for(run(), 60))


def test_another_branch_is_named_on_the_status_line() -> None:
    async def test(s: Stage) -> None:
        await iterations(s, 1)
        assert "main" not in status(s)
        await s.press("u", "u", "b")
        assert status(s).endswith(f"b2  stop {s.session.stop.number}")
        assert s.screen.loss.branches == ("b2", "main")
        await s.press("colon")
        await s.type("branch slow")
        await s.press("enter")
        assert s.screen.loss.branches == ("slow", "main")
        await s.press("colon")
        await s.type("switch main")
        await s.press("enter")
        assert "  main  stop " in status(s)

    on_stage(test)


# -- the past ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_panels_show_the_stop_under_the_cursor_and_nothing_moves(size: tuple[int, int]) -> None:
    async def test(s: Stage) -> None:
        await iterations(s, 1)
        model = of_panel(s, "model")
        await s.press("z", "f")
        now, lines = s.session.stop, s.session.lines()
        assert model != of_panel(s, "model")
        await s.press("T", "up", "up")
        text = s.text()
        assert "PAST: stop 4 " in of_panel(s, "past")[0]
        assert f"esc back to stop {now.number}" in of_panel(s, "past")[0]
        assert "PAST: stop 4" in of_panel(s, "model")[0]
        assert "stale" in row_of(s, "model", "4×3")
        assert "step() updated the weights" in text
        assert "PAST" not in of_panel(s, "timeline")[0]
        assert s.session.stop == now
        assert s.session.lines() == lines
        await s.press("escape")
        assert "PAST" not in s.text()
        assert "none" in row_of(s, "model", "4×3")
        assert s.session.lines() == lines

    on_stage(test, size)


def test_enter_goes_there() -> None:
    async def test(s: Stage) -> None:
        await iterations(s, 1)
        await s.press("T", "up", "enter")
        assert s.session.lines()[-1] == "goto 3"
        assert "PAST" not in s.text()
        assert "at stop 3" in "".join(of_panel(s, "why"))
        assert "+1 ahead  stop 3" in status(s)
        assert row_of(s, "timeline", "◂ now").startswith("▶ 3 ● backward")
        assert "undone, 4 weights" in row_of(s, "timeline", "[main]")
        await s.press("up")
        assert "at stop 3" not in "".join(of_panel(s, "why"))
        assert "forward computed the loss" in "".join(of_panel(s, "why"))

    on_stage(test)


def test_what_is_chosen_while_the_past_is_looked_at_is_seen_there() -> None:
    async def test(s: Stage) -> None:
        await iterations(s, 1)
        await s.press("T", "up", "up")
        s.screen.panel_keys.focus("model")
        await s.press("home", "down", "down", "enter")
        assert s.session.lines()[-1] == "show 0.weight"
        assert "PAST: stop 2 " in of_panel(s, "past")[0]
        assert "none" in row_of(s, "model", "4×3")
        assert "0.weight" in "".join(of_panel(s, "tensor"))
        assert "PAST: stop 2" in of_panel(s, "tensor")[0]

    on_stage(test)


def test_a_phase_leads_back_to_the_present() -> None:
    async def test(s: Stage) -> None:
        await iterations(s, 1)
        await s.press("T", "up", "up", "z")
        assert s.session.lines()[-1].startswith("zero_grad")
        assert "PAST" not in s.text()
        assert s.session.stop.number == 5
        await s.press("up")
        assert "PAST: stop 4" in s.text()
        await s.press("colon")
        await s.type("branch slow")
        await s.press("enter")
        assert "PAST" not in s.text()
        assert row_of(s, "timeline", "▶").startswith("▶ 5 ●")

    on_stage(test)


def test_the_past_is_looked_at_inside_a_phase() -> None:
    async def test(s: Stage) -> None:
        await iterations(s, 1)
        await s.press("f", "i", "o", "T")
        row = row_of(s, "timeline", "◂ now")
        assert row.startswith("▶ 7 ● backward")
        await s.press("C")
        assert "has not finished" in s.rows()[-1]
        await s.press("up")
        assert "PAST: stop 5 " in of_panel(s, "past")[0]
        assert "goes there" not in of_panel(s, "past")[0]
        assert "PAST: stop 5" in of_panel(s, "model")[0]
        await s.press("up")
        assert "stale" in "".join(of_panel(s, "model"))
        await s.press("enter")
        assert "is in progress" in s.text()
        assert s.session.stop.position is not None
        await s.press("escape")
        assert "PAST" not in s.text()
        await s.press("o")
        assert s.session.stop.position.number == 2

    on_stage(test)


def test_the_timeline_is_asked_for_only_while_it_is_seen() -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "b")
        assert not any(isinstance(each, LookTimeline) for requests, _ in s.session.asked for each in requests)
        await s.press("T")
        assert any(isinstance(each, LookTimeline) for requests, _ in s.session.asked for each in requests)

    on_stage(test)


def test_a_timeline_that_was_out_of_sight_is_up_to_date_when_it_comes_back() -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "T")
        s.screen.panel_keys.focus("tensor")
        s.screen.panel_keys.focus("graph")
        await s.press("b", "u", "T")
        assert "backward" in row_of(s, "timeline", "undone")

    on_stage(test)


def test_a_long_timeline_is_seen_to_its_first_stop() -> None:
    async def test(s: Stage) -> None:
        await s.press("colon")
        await s.type("repeat 500 { train }")
        await s.press("enter", "T")
        timeline = s.screen.panel(TimelinePanel)
        assert timeline.here is not None
        assert timeline.here.stop == 501
        for _ in range(3):
            await s.press("home")
        assert timeline.here.stop == 1
        assert "initial state" in row_of(s, "timeline", "▶")
        await s.press("escape")
        assert timeline.here.stop == 501

    on_stage(test)


# -- branches ----------------------------------------------------------------------------------------------------------
def test_six_keys_do_the_same_again_with_another_rate_and_compare() -> None:
    async def test(s: Stage) -> None:
        await iterations(s, 3)
        first, loss = len(s.session.lines()), s.session.stop.loss
        done = [line.split()[0] for line in s.session.lines()]
        await s.press("W")
        await s.type("0.01")
        await s.press("enter")
        lines = s.session.lines()[first:]
        assert lines[:3] == ["goto 1", "branch lr-0.01", "set lr = 0.01"]
        assert [line.split()[0] for line in lines[3:]] == done
        assert s.session.stop.branch == "lr-0.01"
        assert s.session.stop.lr == (0.01,)
        assert s.session.stop.loss != loss
        assert s.screen.focus_panel.title == "Compare"
        text = "\n".join(of_panel(s, "compare"))
        assert "× main, stop 12" in text
        assert "● lr-0.01, stop 24" in text
        assert "lr: 0.1 and 0.01" in text
        assert "● lr-0.01 " in of_panel(s, "loss")[-1]
        assert f"× main {loss:.4f}" in of_panel(s, "loss")[-1]
        assert sum(row.count("×") for row in of_panel(s, "loss")) >= 3

    on_stage(test)


def test_it_begins_at_the_past_stop_that_is_looked_at() -> None:
    async def test(s: Stage) -> None:
        await iterations(s, 2)
        first = len(s.session.lines())
        await s.press("T", "up", "up", "up", "W")
        await s.type("1")
        await s.press("enter")
        lines = s.session.lines()[first:]
        assert lines[:3] == ["goto 5", "branch lr-1", "set lr = 1"]
        assert lines[3:] == ["forward", "backward", "step"]

    on_stage(test)


def test_a_trial_after_a_trial_is_of_the_same_start() -> None:
    async def test(s: Stage) -> None:
        await iterations(s, 1)
        for value in ("0.01", "1"):
            await s.press("W")
            await s.type(value)
            await s.press("enter")
        await s.press("colon")
        await s.type("try seed 7")
        await s.press("enter")
        lines = s.session.lines()
        second = lines[lines.index("branch lr-1") + 1 : lines.index("branch seed-7")]
        assert second == ["set lr = 1", "forward", "backward", "step", "goto 1"]
        assert lines[lines.index("branch seed-7") + 1 :] == ["set lr = 1", "seed 7", "forward", "backward", "step"]

    on_stage(test)


def test_a_change_that_is_refused_leads_back_to_where_it_was() -> None:
    async def test(s: Stage) -> None:
        await iterations(s, 1)
        before = s.session.stop
        await s.press("colon")
        await s.type("try set momentumm = 3")
        await s.press("enter")
        assert (s.session.stop.number, s.session.stop.branch) == (before.number, "main")

    on_stage(test)


def test_what_changes_nothing_is_not_tried() -> None:
    async def test(s: Stage) -> None:
        await s.press("colon")
        await s.type("try forward")
        await s.press("enter")
        assert "`try` needs an edit" in s.rows()[-1]

    on_stage(test)


def test_enter_at_the_end_of_another_branch_switches_to_it() -> None:
    async def test(s: Stage) -> None:
        await iterations(s, 1)
        await s.press("u", "u", "b", "T", "up", "enter")
        assert s.session.lines()[-1] == "switch main"
        assert s.session.stop.branch == "main"
        rows = [" ".join(row.split()) for row in of_panel(s, "timeline")]
        assert any(row.startswith("2 ○─╮ forward") for row in rows)
        assert any(row.startswith("5 ○ backward [b2]") for row in rows)

    on_stage(test)


# -- comparing ---------------------------------------------------------------------------------------------------------
def test_two_marked_stops_are_compared_and_enter_shows_what_differs_most() -> None:
    async def test(s: Stage) -> None:
        await iterations(s, 1)
        await s.press("T", "up", "C")
        assert "stop 3 is marked (*): C on another one compares the two" in s.rows()[-1]
        await s.press("down", "C")
        assert "PAST" not in s.text()
        text = "\n".join(of_panel(s, "compare"))
        assert "4 of " in text
        assert "× stop 3" in text
        assert "● stop 4" in text
        panel = s.screen.panel(ComparePanel)
        assert panel.here is not None
        name, at = panel.here.name, panel.here.at
        done, element = s.session.lines(), s.screen.tensor.element
        await s.press("enter")
        assert s.screen.focus_panel.title == "Tensor"
        view = s.screen.tensor.view
        assert view is not None
        assert view.pair is not None
        assert (view.path, view.pair.first, view.pair.second) == (name, "stop 3", "stop 4")
        assert tuple(s.screen.tensor.at) == at
        text = " ".join(" ".join(of_panel(s, "tensor")).split())
        assert "DIFFERENCE" in text
        assert f"{name}: stop 4 − stop 3 of 4×3, float32" in text
        # it selects nothing, and what is selected is what the others are about
        assert (s.session.lines(), s.screen.tensor.element) == (done, element)

    on_stage(test)


def test_esc_goes_back_from_a_difference_and_a_selection_takes_its_place() -> None:
    async def test(s: Stage) -> None:
        await iterations(s, 1)
        await s.press("T", "up", "C", "down", "C")
        await s.press("enter")
        assert "DIFFERENCE" in "\n".join(of_panel(s, "tensor"))
        await s.press("escape")
        assert s.screen.focus_panel.title == "Compare"
        text = "\n".join(of_panel(s, "tensor"))
        assert "DIFFERENCE" not in text
        assert "2.weight  of 2×4" in text
        await s.press("enter")
        assert "DIFFERENCE" in "\n".join(of_panel(s, "tensor"))
        await s.press("colon")
        await s.type("show 0.bias")
        await s.press("enter")
        assert "DIFFERENCE" not in "\n".join(of_panel(s, "tensor"))

    on_stage(test)


def test_the_keys_of_tensor_work_on_a_difference() -> None:
    async def test(s: Stage) -> None:
        await iterations(s, 1)
        await s.press("T", "up", "C", "down", "C")
        await s.press("down", "enter")
        tensor = s.screen.tensor
        assert tensor.view is not None
        assert tensor.view.quantity == "change"
        await s.press("home", "g")
        await s.type("abs")
        await s.press("enter")
        differing = s.screen.panel(ComparePanel).here
        assert differing is not None
        assert tuple(tensor.at) == differing.at
        assert "stop 4 − stop 3: the largest magnitude is" in s.rows()[-1]
        await s.press("v")
        assert tensor.view.quantity == "ratio"
        await s.press("v")
        assert tensor.view.quantity == "change"

    on_stage(test)


def test_a_difference_is_of_two_moments_whatever_past_is_looked_at() -> None:
    async def test(s: Stage) -> None:
        await iterations(s, 1)
        await s.press("T", "up", "C", "down", "C")
        await s.press("enter")
        before = s.screen.tensor.view
        await s.press("T", "up", "up")
        assert s.screen.panels["model"].badge == "PAST: stop 2"
        assert s.screen.tensor.badge == "DIFFERENCE"
        await s.press("f7")
        assert before is not None
        assert s.screen.tensor.view is not None
        assert s.screen.tensor.view.pair == before.pair

    on_stage(test)


def test_a_mark_is_taken_away_by_the_same_key() -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "T")
        await s.press("C", "C")
        assert "stop 2 is no longer marked" in s.rows()[-1]

    on_stage(test)


def test_without_a_pair_compare_says_how_to_get_one() -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "C")
        assert "Nothing to compare yet" in " ".join(of_panel(s, "compare"))

    on_stage(test)


# -- edits -------------------------------------------------------------------------------------------------------------
def test_e_begins_a_change_of_what_is_under_the_cursor() -> None:
    async def begun(s: Stage, panel: str, *keys: str) -> str:
        s.screen.panel_keys.focus(panel)
        await s.press(*keys)
        await s.press("e")
        assert s.screen.line is not None
        line = s.screen.line.value
        await s.press("escape")
        return line

    async def test(s: Stage) -> None:
        await s.press("f", "b")
        s.screen.panel_keys.focus("model")
        await s.press("home", "down", "down", "enter")
        assert await begun(s, "tensor", "down", "right") == "set 0.weight[1, 1] = "
        assert await begun(s, "ledger") == "set 0.weight.grad[1, 1] = "
        assert await begun(s, "model") == "set 0.weight = "
        assert await begun(s, "optimizer") == "set lr = "
        assert await begun(s, "graph", "end") == "set 0.weight.grad = 0"
        assert await begun(s, "timeline", "up") == "try set 0.weight[1, 1] = "

    on_stage(test)
