"""The panel Stack, and the cursor and breakpoints of Source in a script."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from fake_session import FakeSession
from msgspec.structs import replace
from stage import Stage, stage

from gradstep.tui.panels import stack
from gradstep.tui.panels.source import SourcePanel
from gradstep.tui.panels.stack import StackPanel, frame_rows
from gradstep.values.commands import Break, Command, Delete, Forward, Load
from gradstep.values.outcomes import Outcome
from gradstep.values.views import NoView, Request, View
from gradstep.values.views.inside import (
    Breakpoint,
    BreakpointsView,
    LookBreakpoints,
    LookSource,
    SourceLine,
    SourceView,
)
from gradstep.values.views.stack import LookStack, StackFrame, StackView, Variable

FILE = "/somewhere/train.py"


def frame(function: str, line: int = 1, library: bool = False) -> StackFrame:
    file = "/venv/lib/site-packages/accelerate/loop.py" if library else FILE
    return StackFrame(SourceLine(file, line, function, f"{function}_line()"), library)


MINE, THEIRS = (frame("train", 41), frame("", 60)), tuple(frame(f"inner{i}", i, True) for i in range(5))
X = Variable("x", "x", "Tensor", shape=(16, 10), dtype="float32", device="cpu", norm=12.5)
LOSS = Variable(
    "loss", "loss", "Tensor", "1.25", (), "float32", "cpu", 1.25, requires_grad=True, grad_fn="MulBackward0"
)
BATCH = Variable("batch", "batch", "dict", "1 item  {'x': 16×10 float32}", opens=True)
INNER = Variable("'x'", "batch.x", "Tensor", shape=(16, 10), dtype="float32", device="cpu", norm=12.5, depth=1)
STEP = Variable("step", "step", "int", "3")
VIEW = StackView(1, MINE, 0, (X, LOSS, BATCH, STEP), 0, 4)


def drawn(view: StackView | None, width: int = 80, height: int = 12, first: int = 0, at: int = 0) -> list[str]:
    rows = frame_rows(view) if view is not None else ()
    return [line.plain.rstrip() for line in stack.draw(view, rows, width, height, first, at).lines]


def test_frames_come_first_and_the_variables_of_the_selected_one_below() -> None:
    lines = drawn(VIEW)
    assert lines[0].split() == ["▶→#0", "train", "train.py:41", "train_line()"]
    assert lines[1].split() == ["#1", "<module>", "train.py:60", "_line()"]
    assert lines[2].split() == ["locals", "type", "norm", "dtype", "grad_fn", "device"]
    assert lines[3].split() == ["x", "16×10", "12.500", "float32", "cpu"]
    assert lines[4].split() == ["loss", "()", "=", "1.25", "float32", "MulBackward0", "cpu"]
    assert lines[5].split() == ["▸", "batch", "dict", "1", "item", "{'x':", "16×10", "float32}"]
    assert lines[6].split() == ["step", "int", "3"]


def test_the_columns_stand_under_their_headings() -> None:
    lines = drawn(VIEW)
    for name, text in (("norm", "12.500"), ("dtype", "float32"), ("device", "cpu")):
        assert lines[2].index(name) == lines[3].index(text)


def test_the_device_stays_where_devices_differ() -> None:
    narrow = drawn(VIEW, width=34)
    mixed = drawn(replace(VIEW, rows=(X, replace(LOSS, device="cuda:0"))), width=34)
    assert "cpu" not in narrow[3]
    assert "cuda:0" in mixed[4]


@pytest.mark.parametrize("width", [8, 20, 34, 46, 120])
def test_no_line_is_wider_than_the_panel(width: int) -> None:
    assert all(len(line) <= width for line in drawn(replace(VIEW, frames=(*THEIRS, *MINE)), width=width))


def test_frames_of_libraries_are_folded_where_there_are_many() -> None:
    view = replace(VIEW, frames=(*THEIRS, *MINE))
    lines = drawn(view)
    assert [row.first for row in frame_rows(view)] == [0, 1, 5, 6]  # the selected one is shown
    assert lines[1].strip() == "… 4 frames of accelerate"
    assert len(frame_rows(view, unfolded=True)) == 7
    assert len(frame_rows(replace(VIEW, frames=(*THEIRS[:2], *MINE)))) == 4


def test_without_frames_it_says_why() -> None:
    assert "ended" in drawn(StackView(1, note="The script has ended."))[0]


class FakeScript(FakeSession):
    """A session at a stop of a script."""

    def __init__(self) -> None:
        super().__init__()
        self.breakpoints: tuple[Breakpoint, ...] = ()

    async def execute(self, command: Command) -> Outcome:
        outcome = await super().execute(command)
        if isinstance(command, Break):
            self.breakpoints = (Breakpoint(1, "line", command.what),)
        elif isinstance(command, Delete):
            self.breakpoints = ()
        self.stop = replace(self.stop, script=True)
        return replace(outcome, stop=self.stop)

    def _view(self, request: Request) -> View:
        stop = self.stop.number
        match request:
            case LookStack(opened=opened):
                frames = (*THEIRS, *MINE)
                rows = (X, replace(BATCH, opened=bool(opened)), *((INNER,) if opened else ()), STEP)
                return StackView(stop, frames, 0, rows, 0, len(rows))
            case LookSource():
                lines = tuple(f"line {number}" for number in range(1, 31))
                return SourceView(stop, FILE, 1, lines, 12, total=30)
            case LookBreakpoints():
                return BreakpointsView(stop, self.breakpoints)
        view = super()._view(request)
        return NoView(stop, "") if view is None else view


def on_stage(test: Callable[[Stage], Awaitable[None]]) -> Callable[[], None]:
    """Run a test on a screen that is at a stop of a script."""

    async def on() -> None:
        async with stage(FakeScript(), opening=(Load("mlp"), Forward())) as s:
            await s.until(lambda: s.screen.showing.frames > 1)
            await s.idle()
            await test(s)

    return lambda: asyncio.run(asyncio.wait_for(on(), 60))


def ran(s: Stage) -> list[str]:
    lines = s.session.lines()
    return lines[lines.index("forward") + 1 :]


@on_stage
async def test_enter_selects_a_frame_and_unfolds(s: Stage) -> None:
    await s.press("at", "down", "down", "enter")
    assert ran(s) == ["frame 5"]
    await s.press("up", "enter", "down", "enter")
    assert ran(s) == ["frame 5", "frame 2"]


@on_stage
async def test_enter_shows_a_tensor_and_opens_a_container(s: Stage) -> None:
    await s.press("at", "end", "up", "enter")
    panel = s.screen.panel(StackPanel)
    await s.until(lambda: panel.view is not None and panel.view.total == 4)
    await s.press("down", "enter")
    assert ran(s) == ["show batch.x"]
    await s.press("at", "up", "up", "enter")
    assert ran(s) == ["show batch.x", "show x"]
    await s.press("at", "end", "enter")
    assert "step is not a tensor" in s.text()
    assert ran(s) == ["show batch.x", "show x"]


@on_stage
async def test_source_shows_the_line_of_the_script_between_phases(s: Stage) -> None:
    panel = s.screen.panel(SourcePanel)
    assert "source" in s.screen.placements
    assert panel.number is None
    assert "▶ 12" in s.text()


@on_stage
async def test_a_key_sets_and_deletes_a_breakpoint_on_the_line_under_the_cursor(s: Stage) -> None:
    await s.press("S", "down", "down", "B")
    assert ran(s) == [f"break {FILE}:14"]
    await s.until(lambda: "┃◉14" in s.text())
    await s.press("up", "f9")
    assert ran(s)[1:] == [f"break {FILE}:13"]
    await s.until(lambda: "┃◉13" in s.text())
    await s.press("B")
    assert ran(s)[2:] == ["delete 1"]


@on_stage
async def test_from_another_panel_the_key_sets_one_on_the_present_line(s: Stage) -> None:
    await s.press("at", "B")
    assert ran(s) == [f"break {FILE}:12"]


def test_a_held_workload_has_no_stack() -> None:
    async def on() -> None:
        async with stage() as s:
            await s.press("at")
            assert "only a training script has a stack" in s.text()
            assert "stack" not in s.screen.placements

    asyncio.run(asyncio.wait_for(on(), 60))


@on_stage
async def test_the_footer_names_the_key_of_a_breakpoint_while_source_has_the_focus(s: Stage) -> None:
    await s.press("S")
    assert "B breakpoint" in s.rows()[-1]
    await s.press("at")
    assert "B breakpoint" not in s.rows()[-1]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_a_click_goes_to_the_row_that_was_clicked(size: tuple[int, int]) -> None:
    async def on() -> None:
        async with stage(FakeScript(), size, opening=(Load("mlp"), Forward())) as s:
            await s.until(lambda: s.screen.showing.frames > 1)
            await s.press("at")
            panel = s.screen.panel(StackPanel)
            rows = [line.plain for line in panel.surface.lines]
            place = next(y for y, row in enumerate(rows) if "train.py:60" in row)
            await s.pilot.click(panel.surface, offset=(5, place))
            await s.idle()
            assert panel.surface.lines[place].plain.startswith("▶")

    asyncio.run(asyncio.wait_for(on(), 60))


@on_stage
async def test_one_panel_of_the_layout_of_a_script_has_the_focus(s: Stage) -> None:
    assert [name for name, panel in s.screen.panels.items() if panel.focused] == ["source"]
