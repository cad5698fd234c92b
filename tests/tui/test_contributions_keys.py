"""The keys of the panel Contributions: what it is about, the order of its rows, enter to Graph."""

from __future__ import annotations

import asyncio

from fake_session import FakeSession
from msgspec.structs import replace
from stage import stage
from test_draw_contributions import ROWS, VIEW

from gradstep.tui.panels.graph.panel import GraphPanel
from gradstep.values.views import Request, View
from gradstep.values.views.contributions import LookContributions
from gradstep.values.views.graph import LookGraph


class Meeting(FakeSession):
    """A session in which three gradients meet everywhere; a graph answers where the cursor is sent."""

    def _view(self, request: Request) -> View:
        if isinstance(request, LookContributions):
            rows = ROWS if request.by == "arrival" else ROWS[::-1]
            return replace(VIEW, stop=self.stop.number, by=request.by, rows=tuple(replace(r, number=2) for r in rows))
        view = super()._view(request)
        if isinstance(request, LookGraph) and request.near:
            at = {"#2": 2, "2.bias": 3, "2.weight": 5}.get(request.near, -1)
            return replace(view, near=request.near, at=at)
        return view

    def asked(self) -> LookContributions:
        """What was asked for last."""
        return [r for look in self.looks for r in look if isinstance(r, LookContributions)][-1]


def run(test) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def test_w_opens_it_and_the_percent_sign_orders_it_by_share():
    async def test():
        async with stage(Meeting(), size=(120, 40)) as s:
            await s.press("f", "w")
            assert "cell.weight_hh.grad, fresh: 3 gradients meet" in s.text()
            assert s.session.asked().by == "arrival"
            await s.press("percent_sign")
            assert s.session.asked().by == "share"
            assert "gradients meet, by share" in s.text()
            assert "the largest share first" in s.text()

    run(test)


def test_it_follows_the_cursor_of_graph():
    async def test():
        async with stage(Meeting(), size=(200, 60)) as s:
            await s.press("f", "w", "2", "down", "down", "w")
            assert (s.session.asked().number, s.session.asked().path) == (1, "")

    run(test)


def test_it_follows_the_cursor_of_model_where_graph_is_out_of_sight():
    async def test():
        async with stage(Meeting(), size=(80, 24)) as s:
            await s.press("f", "w", "5", "up", "up", "up")
            assert (s.session.asked().number, s.session.asked().path) == (None, "0.bias")

    run(test)


def test_it_follows_what_is_selected_by_a_command():
    async def test():
        async with stage(Meeting(), size=(120, 40)) as s:
            await s.press("f", "w", "colon")
            await s.type("show 2.bias")
            await s.press("enter")
            assert s.session.asked().path == "2.bias"

    run(test)


def test_enter_goes_to_the_node_in_graph():
    async def test():
        async with stage(Meeting(), size=(120, 40)) as s:
            await s.press("f", "w", "down", "enter")
            graph = s.screen.panel(GraphPanel)
            assert s.screen.focus_panel is graph
            assert graph.here.order == 2

    run(test)
