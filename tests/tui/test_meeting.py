"""Where gradients meet, on the real engine by keys: at a stop inside a backward, and after one that ran whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from stage import Stage, stage
from test_inside import Real

from gradstep.examples import rnn
from gradstep.session.local import Session
from gradstep.session.transport.inline import InlineSession
from gradstep.tui.panels.contributions import ContributionsPanel
from gradstep.tui.panels.graph.panel import GraphPanel
from gradstep.tui.render.lines import plain


class Waves(Real):
    """The recurrent example, whose gradients meet at every time step."""

    def __init__(self) -> None:
        super().__init__()
        self.local.close()
        InlineSession.__init__(self, Session(rnn.workload(), seed=0))


def on_stage(test: Callable[[Stage], Coroutine[Any, Any, None]], size: tuple[int, int] = (120, 40)) -> None:
    async def run() -> None:
        real = Waves()
        try:
            async with stage(real, size, opening=[]) as s:  # type: ignore[arg-type]
                await test(s)
        finally:
            real.local.close()

    asyncio.run(asyncio.wait_for(run(), 120))


def said(s: Stage) -> str:
    """Return what the panel says, its broken lines joined."""
    return " ".join(" ".join(plain(s.screen.panel(ContributionsPanel).surface.lines)).split())


async def give(s: Stage, line: str) -> None:
    await s.press("colon")
    await s.type(line)
    await s.press("enter")


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_at_a_stop_where_two_gradients_meet_both_are_listed_with_their_sum(size: tuple[int, int]) -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "i")
        await give(s, "until node.number == 28")
        await s.press("w")
        rows = [row for row in s.rows() if "#24 " in row or "#26 " in row]
        assert any("cell" in row and "14/16" in row for row in rows)
        assert any("head" in row and "13/16" in row for row in rows)
        assert any("sum of 2" in row and ("✓ exact" in row or "bit for bit" in row) for row in s.rows())
        await s.press("down", "enter")
        assert s.screen.focus_panel.id == "graph"
        await s.press("w")
        assert "it has run: its gradients can be shown again" in said(s)

    on_stage(test, size)


def test_after_a_whole_backward_the_time_steps_of_a_weight_are_listed_and_ordered() -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "b", "w")
        await give(s, "show cell.weight_hh")
        assert "cell.weight_hh.grad, fresh: 16 gradients meet" in s.text()
        assert "cell RNNCell 16/16" in s.text()
        await s.press("end")
        assert any("▶" in row and "cell RNNCell 1/16" in row for row in s.rows())
        await s.press("percent_sign")
        shares = [
            float(part.rstrip("%").replace("−", "-")) for row in s.rows() for part in row.split() if "%" in part[-1]
        ]
        assert [abs(share) for share in shares[:5]] == sorted((abs(share) for share in shares[:5]), reverse=True)
        assert "by share" in s.text()

    on_stage(test)


def test_an_empty_panel_says_what_to_press() -> None:
    async def test(s: Stage) -> None:
        await s.press("w")
        assert "no graph yet: press f, which builds it" in said(s)
        await s.press("f")
        assert "no gradient has arrived yet: press b, or step into it with i" in said(s)

    on_stage(test)


def test_the_last_row_is_in_sight_where_what_the_panel_is_about_takes_a_row() -> None:
    async def test(s: Stage) -> None:
        await s.press("f", "f7", "2", "end")
        rows = plain(s.screen.panel(GraphPanel).surface.lines)
        assert any(row.startswith("▶") and "#135" in row for row in rows), rows
        assert "more" not in rows[-1].partition("↑")[2].partition("more")[2], "nothing is below it"

    on_stage(test)
