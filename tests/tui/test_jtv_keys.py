"""The keys of the panel Jᵀ v: the input under the cursor, finite differences, what costs much."""

from __future__ import annotations

import asyncio

from fake_session import FakeSession
from msgspec.structs import replace
from stage import stage
from test_draw_jtv import ADD

from gradstep.tui.panels.jtv import JtvPanel
from gradstep.values.nodes import LookNode
from gradstep.values.views import Request, View


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
