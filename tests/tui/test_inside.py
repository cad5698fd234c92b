"""Stepping inside a phase by keys, on the real engine in this process: position, lit rows, breakpoints, panels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import torch
from stage import Stage, real_stage

from gradstep.session.local import Session
from gradstep.session.transport.inline import InlineSession
from gradstep.tui.panels.graph.panel import GraphPanel
from gradstep.tui.panels.model import ModelPanel
from gradstep.values.commands import Command, line_of
from gradstep.values.outcomes import Outcome
from gradstep.values.views import Request, View
from gradstep.workload import Workload

SIZES = [(80, 24), (120, 40), (200, 60)]


class Real(InlineSession):
    """The engine in this process, with a gate before each command."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        held = Workload(
            model=model,
            loss=torch.nn.functional.mse_loss,
            optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
            batches=[(torch.ones(5, 3), torch.zeros(5, 2))],
        )
        super().__init__(Session(held))
        self.gate = asyncio.Event()
        self.gate.set()
        self.started = asyncio.Event()
        self.interrupts = 0

    async def execute_and_look(self, command: Command, requests: Any) -> tuple[Outcome, tuple[View, ...]]:
        self.started.set()
        await self.gate.wait()
        return await super().execute_and_look(command, requests)

    def interrupt(self) -> None:
        self.interrupts += 1

    def lines(self) -> list[str]:
        return [line_of(command) for command in self.local.log]


def on_stage(test: Callable[[Stage], Coroutine[Any, Any, None]], size: tuple[int, int] = (120, 40)) -> None:
    async def run() -> None:
        async with real_stage(Real(), size) as s:
            await test(s)

    asyncio.run(asyncio.wait_for(run(), 120))


async def at(s: Stage, panel: str) -> None:
    """Go to a panel; its digit would count what is pressed next."""
    s.screen.panel_keys.focus(panel)
    await s.idle()


def position(s: Stage) -> str:
    [row] = [row for row in s.rows()[:3] if row.startswith("▶ ")]
    return row.strip()


def lit(s: Stage, panel: str) -> str:
    """Return the row of a panel that has the mark of what runs, without what stands beside the panel."""
    place = s.screen.placements[panel]
    rows = [row[place.x : place.x + place.width] for row in s.rows()[place.y + 1 : place.y + place.height]]
    [row] = [row for row in rows if "▶" in row[2:]]
    return " ".join(row.split())


def test_a_forward_stops_at_modules_and_one_level_deeper_at_ops() -> None:
    async def test(s: Stage) -> None:
        await s.press("i")
        assert position(s) == "▶ forward ▸ enter Sequential"
        assert "f forward ▶" in s.rows()[1]
        assert "prediction = model(x)" in s.rows()[1]
        await s.press("i", "i")
        assert position(s) == "▶ forward ▸ Sequential ▸ 0 Linear ▸ after F.linear"
        assert lit(s, "model").endswith("▶ here")
        assert "0 Linear" in lit(s, "model")
        await s.press("o", "o")
        assert position(s) == "▶ forward ▸ Sequential ▸ enter 1 ReLU"
        await s.press("o", "o")
        assert position(s) == "▶ forward ▸ Sequential ▸ enter 2 Linear"
        await s.press("O", "O")
        assert position(s) == "▶ forward ▸ exit Sequential"
        await s.press("c")
        assert "f forward ●" in s.rows()[1]
        assert s.session.lines() == ["into"] * 3 + ["over"] * 4 + ["out"] * 2 + ["continue"]

    on_stage(test)


def test_a_backward_lights_the_node_and_its_module_and_tells_done_from_waiting() -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "i")
        assert position(s) == "▶ backward ▸ before #0 MseLossBackward0"
        assert "b backward ▶ #0 of 10" in s.rows()[1]
        await s.press("o", "o")
        assert position(s) == "▶ backward ▸ Sequential ▸ 2 Linear ▸ before #2 2.bias.grad"
        assert lit(s, "graph").startswith("▶ ▶ #2")
        graph = s.screen.placements["graph"]
        rows = [row[graph.x : graph.x + graph.width] for row in s.rows()[graph.y + 2 : graph.y + 12]]
        assert [row.split()[0] for row in rows[:2]] == ["✓", "✓"]
        assert {row.split()[0] for row in rows[3:6]} <= {"○", "·"}
        await s.press("space")
        assert position(s).endswith("before #3 TBackward0")
        assert "over" in s.session.lines()[-1]

    on_stage(test)


@pytest.mark.parametrize("size", SIZES)
def test_the_stack_has_a_row_at_every_size_and_gives_it_back(size: tuple[int, int]) -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "i", "o", "o", "o", "o", "o")
        assert "#5" in position(s)
        assert "ReluBackward0" in position(s)
        assert "into" in s.rows()[-1]
        assert "out" in s.rows()[-1]
        await s.press("c")
        assert not any(row.startswith("▶ ") for row in s.rows()[:3])
        assert any("b backward ●" in row for row in s.rows()[:2])

    on_stage(test, size)


def test_why_says_what_is_about_to_happen() -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "i", "o", "o", "o", "o", "o")
        assert "ReluBackward0 (relu of 1 ReLU) is about to run: v (5×4) arrives from" in s.text()
        await s.press("c")
        assert "backward() wrote .grad" in s.text()

    on_stage(test)


def test_over_and_out_between_phases_say_what_to_press() -> None:
    async def test(s: Stage) -> None:
        await s.press("o")
        assert "not inside a phase: i steps into" in s.rows()[-1]
        await s.press("O")
        assert s.session.lines() == []

    on_stage(test)


def test_a_count_goes_that_often_and_n_finishes_the_phase_first() -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "i", "4", "o")
        assert "#4" in position(s)
        await s.press("N")
        assert s.session.lines()[-2:] == ["out phase", "step"]

    on_stage(test)


def test_b_on_a_row_of_the_graph_sets_marks_hits_and_deletes() -> None:
    async def test(s: Stage) -> None:
        await s.press("f")
        await at(s, "graph")
        await s.press(*["down"] * 6, "B")
        assert s.session.lines()[-1] == "break node #5"
        assert s.screen.stepping.breakpoints[0].what == "#5"
        graph = s.screen.placements["graph"]
        marked = [row[graph.x : graph.x + graph.width] for row in s.rows() if "◉" in row]
        assert any("#5" in row and "relu" in row for row in marked)
        await s.press("b")
        assert position(s).endswith("breakpoint 1")
        assert "#5 ReluBackward0" in position(s)
        await s.press("B")
        assert s.session.lines()[-1] == "delete 1"
        assert "◉" not in s.text()

    on_stage(test)


def test_b_on_a_row_of_the_model_is_a_module_or_the_gradient_of_a_parameter() -> None:
    async def test(s: Stage) -> None:
        await at(s, "model")
        await s.press("home", "B", "down", "B", "down", "B")
        set_ = [line for line in s.session.lines() if line.startswith("break")]
        assert set_ == ["break phase forward", "break module 0", "break grad 0.weight"]
        model = s.screen.placements["model"]
        marked = [row[model.x : model.x + model.width] for row in s.rows() if "◉" in row[: model.width]]
        assert any("0 Linear" in row for row in marked)
        assert any("weight" in row for row in marked)
        await s.press("f")
        assert position(s).endswith("breakpoint 1")
        await s.press("c")
        assert position(s).startswith("▶ forward ▸ Sequential ▸ enter 0 Linear")
        assert position(s).endswith("breakpoint 2")

    on_stage(test)


def test_b_at_a_stop_without_such_a_row_is_at_the_position() -> None:
    async def test(s: Stage) -> None:
        await s.press("B")
        assert "a breakpoint needs a row of Graph or Model" in s.rows()[-1]
        await s.press("i", "i", "B")
        await at(s, "log")
        await s.press("B")
        assert "break module 0" in s.session.lines()
        assert s.session.lines()[-1] == "delete 1"

    on_stage(test)


def test_breakpoints_are_turned_off_and_on_and_deleted_in_their_panel() -> None:
    async def test(s: Stage) -> None:
        await s.press("f")
        await at(s, "graph")
        await s.press("down", "B", "K", "space")
        assert s.session.lines()[-1] == "disable 1"
        assert "◌" in s.text()
        assert "(off)" in s.text()
        await s.press("enter")
        assert s.session.lines()[-1] == "enable 1"
        await s.press("delete")
        assert s.session.lines()[-1] == "delete 1"
        assert "No breakpoints yet" in s.text()
        await s.press("space")
        assert s.session.lines()[-1] == "backward"

    on_stage(test)


def test_a_breakpoint_holds_up_what_is_queued_and_c_goes_on_first_inside_then_with_it() -> None:
    async def test(s: Stage) -> None:
        await s.press("f")
        await at(s, "graph")
        await s.press("down", "down", "B")
        s.session.gate.clear()
        for key in "bs":
            s.app.simulate_key(key)
        await s.until(lambda: s.screen.queue.queued == 1)
        s.session.gate.set()
        await s.idle()
        assert position(s).endswith("breakpoint 1")
        assert s.session.lines()[-1] == "backward"
        await s.press("c")
        assert s.session.lines()[-1] == "continue"
        assert "b backward ●" in s.rows()[1]
        await s.press("c")
        assert s.session.lines()[-1] == "step"

    on_stage(test)


def test_c_without_a_phase_runs_to_a_breakpoint() -> None:
    async def test(s: Stage) -> None:
        await s.press("c")
        assert "nothing is paused, so there is nothing to continue; B sets a breakpoint" in s.rows()[-1]
        await at(s, "model")
        await s.press("home", "down", "B", "c")
        assert s.session.lines()[-2:] == ["break module 0", "continue"]
        assert "enter 0 Linear" in position(s)

    on_stage(test)


def test_u_goes_back_one_stop_and_out_of_the_phase() -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "i", "o", "o")
        assert "#2" in position(s)
        await s.press("u")
        assert "#1" in position(s)
        assert lit(s, "graph").startswith("▶ ▶ #1")

    on_stage(test)


def test_inside_shows_what_is_passed_and_enter_opens_it_in_tensor() -> None:
    async def test(s: Stage) -> None:
        await s.press("i", "i", "i", "x")
        rows = s.text()
        assert "op.in[0]" in rows
        assert "uses: 0.weight, 0.bias" in rows
        assert "grad mode on; autocast off" in rows
        await s.press("down", "enter")
        assert s.session.lines()[-1] == "show op.in[1]"
        assert s.screen.focus_panel is s.screen.tensor, "in front of Inside, whose place it shares"
        assert "op.in[1]" in s.text()

    on_stage(test)


def test_inside_says_why_an_output_does_not_require_grad() -> None:
    async def test(s: Stage) -> None:
        for parameter in s.session.local._inspector.held.model[0].parameters():  # type: ignore[attr-defined, union-attr]
            parameter.requires_grad_(False)
        await s.press("i", "i", "o", "x")
        assert "does not require grad: no input requires grad" in " ".join(s.text().split())

    on_stage(test)


def test_esc_pauses_a_phase_that_is_stepped_at_the_first_press() -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "i")
        s.session.started.clear()
        s.session.gate.clear()
        s.app.simulate_key("c")
        await s.until(s.session.started.is_set)
        s.app.simulate_key("escape")
        await s.until(lambda: s.session.interrupts == 1)
        assert "pausing at the next stop: what has run since before #0 MseLossBackward0" in s.rows()[-1]
        s.app.simulate_key("escape")
        await s.until(lambda: s.session.interrupts == 2)
        s.session.gate.set()
        await s.idle()

    on_stage(test)


def test_the_focus_and_the_layout_come_back_after_the_phase() -> None:
    async def test(s: Stage) -> None:
        assert s.screen.focus_panel.title == "Tensor"
        await s.press("i")
        assert s.screen.focus_panel.title == "Inside"
        assert "source" in s.screen.placements
        await s.press("c")
        assert s.screen.focus_panel.title == "Tensor"
        assert "source" not in s.screen.placements
        await at(s, "graph")
        await s.press("i")
        assert s.screen.focus_panel.title == "Graph"

    on_stage(test)


def request_of(s: Stage, panel: str) -> Request | None:
    return s.screen.panels[panel].request()


def test_source_follows_the_cursor_of_graph() -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "i")
        await at(s, "graph")
        await s.press("down")
        s.screen.looking.requests()
        assert request_of(s, "source").number == 1  # type: ignore[union-attr]
        await s.press("up")
        s.screen.looking.requests()
        assert request_of(s, "source").number is None  # type: ignore[union-attr]

    on_stage(test)


def test_source_is_about_what_the_other_panels_of_a_node_are_about() -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "b", "5", "down", "down", "S")
        subjects = []
        for keys in ((), ("5", "down", "S"), ("2", "down", "down", "S")):
            await s.press(*keys)
            s.screen.looking.requests()
            source, jtv = request_of(s, "source"), request_of(s, "jtv")
            assert (source.number, source.path) == (jtv.number, jtv.path)  # type: ignore[union-attr]
            subjects.append((source.number, source.path))  # type: ignore[union-attr]
        assert len(set(subjects)) == 3

    on_stage(test)


def test_the_next_rows_of_the_graph_are_in_sight() -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "i", *["o"] * 6)
        graph = s.screen.panel(GraphPanel)
        assert graph.here is not None
        assert graph.here.order == 6
        assert graph.first + graph.body > 7
        assert "#7" in s.text()

    on_stage(test, (120, 34))


def test_a_gradient_that_has_arrived_is_fresh_in_model_before_the_phase_has_ended() -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "i", "o", "o", "i")
        assert "after #2 2.bias.grad" in position(s)
        assert "fresh" in s.text()
        assert "given" not in s.text()
        await s.press("c")
        assert s.text().count("fresh") >= 4

    on_stage(test)


def test_a_breakpoint_between_phases_is_said_at_the_top_and_lit_in_its_panel() -> None:
    async def test(s: Stage) -> None:
        await s.press("colon")
        await s.type("break when loss > 0")
        await s.press("enter", "c")
        assert s.session.lines() == ["break when loss > 0", "continue"]
        assert "breakpoint 1  stop " in s.rows()[0]
        await s.press("K")
        assert "when loss > 0" in s.text()
        await s.press("s", "f")
        assert "breakpoint 1" in s.rows()[0]

    on_stage(test)


async def give(s: Stage, line: str) -> None:
    await s.press("colon")
    await s.type(line)
    await s.press("enter")


def test_a_line_that_goes_on_inside_is_not_held_up_by_the_breakpoint_it_set() -> None:
    async def test(s: Stage) -> None:
        await give(s, "break node Relu*; forward; backward; over; over; out phase")
        assert s.session.lines()[-4:] == ["backward", "over", "over", "out phase"]
        assert "b backward ●" in s.rows()[1]

    on_stage(test)


def test_a_line_that_would_begin_another_phase_waits_until_this_one_has_ended() -> None:
    async def test(s: Stage) -> None:
        await give(s, "break node Relu*; repeat 2 { forward; backward; step }")
        assert s.session.lines()[-1] == "backward"
        assert "stopped in turn 1 of 2 by breakpoint 1; c resumes" in " ".join(s.text().split())
        await s.press("c", "c")
        assert s.session.lines()[-4:] == ["continue", "step", "forward", "backward"]
        await s.press("c", "c")
        assert s.session.lines()[-1] == "step"

    on_stage(test)


def test_the_cursor_of_model_comes_back_to_the_selection_when_the_phase_is_over() -> None:
    async def test(s: Stage) -> None:
        model = s.screen.panel(ModelPanel)
        await s.press("colon")
        await s.type("show 2.weight")
        await s.press("enter")
        selected = model.view.selected_row if model.view is not None else -1
        assert model.at == selected >= 0
        await s.press("i", "space")
        assert model.at != selected
        await s.press("O", "c")
        assert s.rows()[1].count("●") == 1
        assert model.at == selected

    on_stage(test)


@pytest.mark.parametrize("size", SIZES)
def test_after_a_whole_backward_inside_and_jtv_are_about_what_the_cursor_of_model_is_on(size: tuple[int, int]) -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "b", "x")
        assert "grad of output" in s.text(), "of the whole model: nothing is chosen"
        await at(s, "model")
        await s.press("home", "down", "down", "down", "down")
        assert s.screen.model.pointed == "1"
        await at(s, "inside")
        assert "1 ReLU" in s.text()
        assert "grad of output  #5 relu" in s.text()
        assert "grad of input  #6" in s.text()
        await at(s, "jtv")
        assert "y = max(x, 0)" in s.text()
        await at(s, "contributions")
        assert "1 gradient arrives" in s.text()

    on_stage(test, size)


def test_e_changes_what_flows_at_the_stop() -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "i", "o")
        await at(s, "inside")
        await s.press("e")
        assert ": set node.in = " in s.text()
        await s.type("0.5 * node.in")
        await s.press("enter")
        assert "node.in was edited: norm " in s.text()
        await s.press("i")
        await at(s, "jtv")
        await s.press("e")
        assert ": set node.out[1] = " in s.text()
        await s.type("none")
        await s.press("enter")
        assert "node.out[1] was edited: none, so nothing flows on" in s.text()
        await s.press("u", "u", "u")
        assert "edited" not in s.text()
        lines = s.session.lines()
        assert lines[3:6] == ["set node.in = 0.5 * node.in", "into", "set node.out[1] = none"]

    on_stage(test)
