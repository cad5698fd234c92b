"""Finding as one types: the panels go along, enter stays and selects, esc goes back."""

from __future__ import annotations

import asyncio

from fake_session import FakeSession, model_rows, node_rows
from stage import stage

from gradstep.tui.panels.graph.panel import GraphPanel
from gradstep.values.views import NoView
from gradstep.values.views.graph import LookGraph
from gradstep.values.views.search import FoundView, Hit, LookFind

LOADED = ["load mlp seed=0", "show 2.weight[0, 0:10]"]


def run(test):
    asyncio.run(asyncio.wait_for(test(), 60))


class Findable(FakeSession):
    """A session that finds modules, parameters and nodes by a part of their names."""

    slow = False

    async def look(self, requests):
        if self.slow and any(isinstance(each, LookFind) for each in requests):
            await self.gate.wait()
        return await super().look(requests)

    def _view(self, request):
        view = super()._view(request)
        if isinstance(request, LookFind) and isinstance(view, NoView):
            rows = [Hit(r.kind, r.path, r.type, r.path, "" if r.kind == "module" else r.path) for r in model_rows()[1:]]
            rows += [
                Hit("node", f"#{n.order} {n.name}", n.operation, "", n.parameter, n.order) for n in node_rows(False)
            ]
            hits = tuple(hit for hit in rows if request.text.lower() in f"{hit.name} {hit.about}".lower())
            return FoundView(view.stop, request.text, hits, len(hits))
        if isinstance(request, LookGraph) and request.near.startswith("#"):
            from msgspec.structs import replace

            return replace(view, near=request.near, at=int(request.near[1:]))
        return view


def test_what_is_typed_is_found_in_model_and_enter_selects_it():
    async def test():
        async with stage(Findable()) as s:
            await s.press("f", "slash")
            await s.type("0.b")
            assert s.rows()[-2].startswith(" / 0.b")
            assert "1 of 1: parameter 0.bias" in s.rows()[-1]
            assert s.screen.focus_panel is s.screen.model
            assert s.screen.model.pointed == "0.bias"
            assert s.session.lines()[2:] == ["forward"]
            await s.press("enter")
            assert s.session.lines()[2:] == ["forward", "show 0.bias"]
            assert s.rows()[-2].startswith(" : show 0.bias")
            await s.press("b")
            assert s.session.lines()[-1] == "backward"

    run(test)


def test_down_and_tab_go_on_through_what_was_found_and_up_goes_back():
    async def test():
        async with stage(Findable()) as s:
            await s.press("slash")
            await s.type("weight")
            assert "1 of 3: parameter 0.weight" in s.rows()[-1]
            await s.press("tab")
            assert "2 of 3: parameter 2.weight" in s.rows()[-1]
            await s.press("down", "down")
            assert s.screen.model.pointed == "0.weight"
            await s.press("down", "down", "up", "enter")
            assert s.session.lines()[-1] == "show 2.weight"

    run(test)


def test_a_node_is_found_in_the_graph_and_its_parameter_is_selected():
    async def test():
        async with stage(Findable()) as s:
            await s.press("f", "slash")
            await s.type("addmm")
            graph = s.screen.panel(GraphPanel)
            await s.until(lambda: graph.at == 2)
            assert s.screen.focus_panel is graph
            await s.press("enter")
            assert s.session.lines()[2:] == ["forward"]
            await s.press("slash")
            await s.type("#3")
            await s.press("enter")
            assert s.session.lines()[-1] == "show 2.bias"

    run(test)


def test_esc_goes_back_to_where_one_was():
    async def test():
        async with stage(Findable()) as s:
            await s.press("f", "2", "home", "down", "slash")
            graph = s.screen.panel(GraphPanel)
            before = ([*s.screen.recent], s.screen.model.at, s.screen.model.first, graph.at, graph.first)
            await s.type("0.weight")
            assert s.screen.focus_panel is s.screen.model
            await s.press("escape")
            assert ([*s.screen.recent], s.screen.model.at, s.screen.model.first, graph.at, graph.first) == before
            assert s.session.lines()[2:] == ["forward"]
            assert s.screen.line is None
            await s.press("slash")
            await s.type("bias")
            await s.press("ctrl+c")
            assert [*s.screen.recent] == before[0]

    run(test)


def test_what_is_not_there_is_said_and_one_stays_where_one_was():
    async def test():
        async with stage(Findable()) as s:
            await s.press("slash")
            await s.type("weightless")
            assert "no match for weightless" in s.rows()[-1]
            assert s.screen.focus_panel is s.screen.tensor
            for _ in "less":
                await s.press("backspace")
            assert "1 of 3: parameter 0.weight" in s.rows()[-1]
            await s.press("enter")
            assert s.session.lines()[-1] == "show 0.weight"

    run(test)


def test_enter_before_the_answer_goes_there_when_it_comes():
    async def test():
        session = Findable()
        async with stage(session) as s:
            session.slow = True
            session.hold()
            for key in ("slash", *"bias", "enter"):
                s.app.simulate_key(key)
            await s.until(lambda: s.screen.find.stays)
            assert s.session.lines() == LOADED
            session.gate.set()
            await s.until(lambda: s.session.lines()[-1] == "show 0.bias")

    run(test)


def test_the_match_is_still_named_when_a_command_given_before_ends():
    async def test():
        session = Findable()
        async with stage(session) as s:
            session.hold()
            for key in ("f", "slash", *"bi"):
                s.app.simulate_key(key)
            await s.until(lambda: "1 of 3: parameter 0.bias" in s.rows()[-1])
            before = s.screen.showing.frames
            session.gate.set()
            await s.until(lambda: s.screen.showing.frames > before)
            await s.idle()
            assert s.session.lines()[2:] == ["forward"]
            assert "1 of 3: parameter 0.bias" in s.rows()[-1]
            await s.press("escape")
            assert "parameter 0.bias" not in s.rows()[-1]

    run(test)


def test_there_is_nothing_to_find_before_anything_is_loaded():
    async def test():
        async with stage(Findable(), opening=[]) as s:
            await s.press("slash")
            assert "there is nothing to search yet" in s.rows()[-1]
            assert s.screen.line is None

    run(test)
