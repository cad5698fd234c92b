"""Keys of the panels Layers, Optimizer, Batch and Loss: what they ask for, and what they send."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

import pytest
from fake_session import FakeSession
from stage import stage

from gradstep.values.views import LookLoss, LookModel, Request, View
from gradstep.values.views.training import (
    BatchView,
    GroupRow,
    LayerRow,
    LayersView,
    LookBatch,
    LookLayers,
    LookOptimizer,
    OptimizerView,
    Piece,
    SampleRow,
    SlotRow,
)

NAME = "`de-en.weight`.state.exp_avg"


class Training(FakeSession):
    """A fake session that has layers, an optimizer and a batch."""

    def _view(self, request: Request) -> View:
        stop = self.stop.number
        match request:
            case LookLayers():
                return LayersView(stop, tuple(LayerRow(f"h.{i}", "Linear", 1.0, math.nan) for i in range(100)))
            case LookOptimizer():
                group = GroupRow(0, 1, 1, 0.1, (), ())
                return OptimizerView(
                    stop, "Adam", (group,), path="w", slots=(SlotRow(NAME, "exp_avg", (2,), "float32"),)
                )
            case LookBatch(first, count):
                piece = Piece("numbers", ((1.0, 2.0),), 2)
                rows = [SampleRow(i, 9.0 - i, piece) for i in range(9)][first : first + count]
                return BatchView(stop, 1, (), tuple(rows), first, 9, reduction="mean", input="input")
        return super()._view(request)

    def asked(self, kind: type) -> Sequence[Request]:
        return [request for look in self.looks for request in look if isinstance(request, kind)]


def test_views_are_only_asked_for_while_they_are_seen() -> None:
    async def test() -> None:
        session = Training()
        async with stage(session) as s:
            await s.press("f")
            assert not any(map(session.asked, (LookLayers, LookOptimizer, LookBatch)))
            await s.press("8")
            assert len(session.asked(LookLayers)) == 1
            assert "h.0" in s.text()
            await s.press("0")
            assert len(session.asked(LookBatch)) == 1
            await s.press("2", "1", "b")
            assert len(session.asked(LookLayers)) == 1

    asyncio.run(asyncio.wait_for(test(), 60))


def test_a_wide_screen_asks_for_layers_and_optimizer_from_the_start() -> None:
    async def test() -> None:
        session = Training()
        async with stage(session, size=(200, 60)) as s:
            await s.press("f", "b")
            looks = len(session.asked(LookModel))
            assert looks >= 3
            assert len(session.asked(LookLayers)) == len(session.asked(LookOptimizer)) == looks
            assert not session.asked(LookBatch)
            assert "NaN" in s.text()

    asyncio.run(asyncio.wait_for(test(), 60))


def test_enter_on_a_tensor_of_the_state_shows_it() -> None:
    async def test() -> None:
        session = Training()
        async with stage(session) as s:
            await s.press("9")
            await s.press("end", "enter")
            assert session.lines()[-1] == f"show {NAME}"
            shown = len(session.lines())
            await s.press("home", "enter")
            assert len(session.lines()) == shown

    asyncio.run(asyncio.wait_for(test(), 60))


def test_the_batch_is_scrolled_by_samples() -> None:
    async def test() -> None:
        session = Training()
        async with stage(session) as s:
            await s.press("0")
            assert "▶ #0 " in s.text()
            await s.press("down", "down")
            assert "▶ #2 " in s.text()
            assert session.asked(LookBatch)[-1].first == 0
            await s.press("end")
            first = session.asked(LookBatch)[-1].first
            assert 0 < first < 8
            assert f"↑ {first} more" in s.text()
            assert "▶ #8 " in s.text()

    asyncio.run(asyncio.wait_for(test(), 60))


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_enter_on_a_sample_opens_its_input_in_tensor(size: tuple[int, int]) -> None:
    async def test() -> None:
        session = Training()
        async with stage(session, size=size) as s:
            await s.press("0")
            await s.press("down", "down", "enter")
            assert session.lines()[-1] == "show input[2]"
            assert "tensor" in s.screen.placements, "in front of the panels that it shares its place with"
            assert s.screen.focus_panel is s.screen.tensor
            assert "input[2]  of " in s.text(), "not what was selected when it came into sight"

    asyncio.run(asyncio.wait_for(test(), 60))


def test_the_loss_has_a_cursor_and_three_ways_to_be_drawn() -> None:
    async def test() -> None:
        session = Training()
        async with stage(session) as s:
            await s.press("f", "f", "f", "3", "left")
            assert "▶ 63.8850" in s.text()
            await s.press("left", "left", "left")
            assert "▶ 127.7700" in s.text()
            await s.press("right", "right", "right")
            assert "▶ 31" not in s.text()
            assert "▶ 127" not in s.text()
            await s.press("L")
            assert "log scale, by forward" in s.text()
            await s.press("L")
            assert "linear, by forward" in s.text()
            await s.press("A")
            assert session.asked(LookLoss)[-1].smoothing == 0.6
            await s.press("A", "A", "A")
            assert session.asked(LookLoss)[-1].smoothing == 0.0
            await s.press("I")
            assert session.asked(LookLoss)[-1].by == "iteration"
            assert "one point per iteration" in s.text()

    asyncio.run(asyncio.wait_for(test(), 60))
