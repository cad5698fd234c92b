"""The keys of the panel Jᵀ v: the input under the cursor, finite differences, what costs much."""

from __future__ import annotations

import asyncio

from fake_session import FakeSession
from msgspec.structs import replace
from stage import stage
from test_draw_jtv import ADD

from gradstep.tui.panels.jtv.panel import JtvPanel
from gradstep.values.views import Request, View
from gradstep.values.views.node import LookNode, NodeView, Strip


class Nodes(FakeSession):
    """A session in which every node is an addition."""

    def _view(self, request: Request) -> View:
        if isinstance(request, LookNode):
            return replace(ADD, stop=self.stop.number, seen=max(request.edge, 0), number=request.number or 0)
        return super()._view(request)

    def asked(self) -> LookNode:
        """The last node that was asked for."""
        return [r for look in self.looks for r in look if isinstance(r, LookNode)][-1]


def run(test) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def test_the_panel_opens_by_its_key_and_the_arrows_choose_an_input():
    async def test():
        async with stage(Nodes(), size=(120, 40)) as s:
            await s.press("J")
            assert s.session.asked().edge == -1
            assert "y = a + b   Jᵀv = v" in s.text()
            await s.press("down")
            assert s.session.asked().edge == 1
            assert any("▶ b" in row for row in s.rows())

    run(test)


def test_f_asks_for_the_comparison_and_x_for_what_costs_much():
    async def test():
        async with stage(Nodes(), size=(120, 40)) as s:
            await s.press("F")
            assert s.screen.focus_panel is s.screen.panel(JtvPanel)
            assert s.session.asked().check
            assert "J is compared with finite differences" in s.text()
            await s.press("X")
            assert (s.session.asked().insist, s.session.asked().run) == (True, True)
            await s.press("F")
            assert not s.session.asked().check

    run(test)


class Strips(Nodes):
    """Every node has a J of 6 by 6, and gives the row or column that is asked for."""

    def _view(self, request: Request) -> View:
        view = super()._view(request)
        if isinstance(request, LookNode) and request.strip and isinstance(view, NodeView) and view.matrix is not None:
            number = request.at[0] if len(request.at) == 1 else 3
            strip = Strip(request.strip, number, (number // 3, number % 3), 6, (2, 3), (1.0,), nonzero=1, norm=1.0)
            return replace(view, matrix=replace(view.matrix, strip=strip))
        return view


def test_v_shows_a_row_of_j_then_a_column_then_neither_and_the_arrows_go_on():
    async def test():
        async with stage(Strips(), size=(120, 40)) as s:
            await s.press("J", "V")
            assert (s.session.asked().strip, s.session.asked().at) == ("row", ())
            assert "row 3 of J 6×6: ∂ y[1, 0]" in s.text()
            await s.press("right")
            assert s.session.asked().at == (4,)
            assert "row 4 of J" in s.text()
            await s.press("V")
            assert (s.session.asked().strip, s.session.asked().at) == ("column", ())
            await s.press("V")
            assert s.session.asked().strip == ""
            assert "of J 6×6:" not in s.text()

    run(test)


def test_where_there_is_no_j_that_is_said():
    class Leaves(Nodes):
        def _view(self, request: Request) -> View:
            view = super()._view(request)
            return replace(view, matrix=None) if isinstance(view, NodeView) else view

    async def test():
        async with stage(Leaves(), size=(120, 40)) as s:
            await s.press("J")
            await s.press("V")
            assert "there is no J here" in s.text()
            assert s.session.asked().strip == ""

    run(test)


def test_g_in_the_panel_types_which_row_and_the_command_says_what_is_wrong():
    async def test():
        async with stage(Strips(), size=(120, 40)) as s:
            await s.press("J", "g")
            await s.type("1,2")
            await s.press("enter")
            assert (s.session.asked().strip, s.session.asked().at) == ("row", (1, 2))
            await s.press("colon")
            await s.type("column nothing")
            await s.press("enter")
            assert "`nothing` is not an index" in s.text()
            await s.press("escape", "colon")
            await s.type("column off")
            await s.press("enter")
            assert s.session.asked().strip == ""

    run(test)
