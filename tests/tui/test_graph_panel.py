"""The panel Graph: what its rows say, folding by keys, and its cursor in step with that of Model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from fake_session import FakeSession, node_rows
from msgspec.structs import replace
from stage import Stage, stage

from gradstep.tui.panels.graph import panel as graph
from gradstep.tui.panels.graph.panel import GraphPanel
from gradstep.tui.render.lines import cell_len, plain
from gradstep.values.commands import Forward, Show
from gradstep.values.expressions import Name
from gradstep.values.views import Request, View
from gradstep.values.views.graph import GraphView, LookGraph, NodeRow

LINEAR = NodeRow(
    2,
    "Linear",
    "Linear",
    (16, 10),
    "2 Linear",
    "",
    (),
    "■",
    path="2",
    nodes=4,
    group="2",
    given=(16, 256),
    parameters=2,
    grad="fresh",
    saved="alive",
    bytes=16384,
    file="/home/me/train.py",
    line=14,
    source="x = self.net(x)  # [red]",
)


def view(*rows: NodeRow, **more: object) -> GraphView:
    more = {"total": len(rows), "nodes": sum(row.nodes for row in rows), "lined": True, **more}
    return GraphView(1, "alive", rows=rows, **more)  # type: ignore[arg-type]


def drawn(shown: GraphView, width: int, height: int = 12, at: int = -1) -> list[str]:
    return plain(graph.draw(shown, width, height, at=at).lines)


# -- what a row says ---------------------------------------------------------------------------------------------------
def test_a_folded_module_says_what_goes_in_and_out_and_what_it_holds() -> None:
    header, row, *_ = drawn(view(LINEAR), 110)
    assert header.split() == ["#", "order", "operation", "shape", "module", "keeps", "line"]
    assert "■ ▸ 2 Linear 16×256 → 16×10" in " ".join(row.split())
    assert row.endswith("4 nodes, 2 .grad fresh  16 KiB   train.py:14")


def test_the_foot_says_what_has_no_column() -> None:
    assert drawn(view(LINEAR), 110, at=0)[-1] == (
        "  #2 to #5, 4 nodes  2 .grad fresh  keeps 16 KiB  train.py:14  x = self.net(x)  # [red]"
    )
    narrow = drawn(view(LINEAR), 45, at=0)[-1]
    assert narrow == "  #2 to #5, 4 nodes  …  train.py:14  x = se…"
    node = replace(node_rows(True)[2], saved="freed", source="prediction = model(x)")
    assert drawn(view(node), 73, at=0)[-1] == "  #2 AddmmBackward0  freed  prediction = model(x)"
    unlined = replace(node, source="")
    assert drawn(view(unlined, lined=False), 73, at=0)[-1].endswith("its source line: from the next forward on")
    leaf = replace(node_rows(True)[3], grad="x3")
    assert drawn(view(leaf), 73, at=0)[-1] == "  #3 AccumulateGrad  adds to 2.bias.grad: x3"


def test_a_leaf_says_the_state_of_its_grad_and_an_open_module_where_it_begins() -> None:
    rows = [replace(row, inside="2", opens=row.order == 2) for row in node_rows(True)[2:]]
    rows[3] = replace(rows[3], grad="x6, 1 used")
    lines = drawn(view(*rows), 73)
    assert "▾ 2 Linear" in lines[1]
    assert sum("▾" in line for line in lines) == 1
    assert "2.weight.grad x6, 1 used" in lines[4]


@pytest.mark.parametrize(
    ("status", "sign", "tone"), [("done", "✓", "good"), ("running", "▶", "now"), ("ready", "○", "text")]
)
def test_the_node_that_runs_has_the_accent_and_no_other(status: str, sign: str, tone: str) -> None:
    rows = [replace(row, status="waiting") for row in node_rows(False)]
    rows[3] = replace(rows[3], status=status)
    lines = graph.draw(view(*rows), 73, 12).lines
    assert (sign, tone) in lines[4].spans
    accented = [i for i, line in enumerate(lines) if any(span.tone == "now" for span in line.spans)]
    assert accented == ([4] if status == "running" else [])


def test_the_title_counts_nodes_rows_and_bytes() -> None:
    assert graph.draw(view(LINEAR, bytes=3 << 20), 73, 12).about == "4 nodes in 1 row, alive, keeps 3 MiB"
    assert graph.draw(view(*node_rows(False)), 73, 12).about == "6 nodes, alive"


@pytest.mark.parametrize("width", [1, 9, 30, 45, 59, 60, 73, 110, 198])
def test_nothing_overflows_and_the_node_is_always_seen(width: int) -> None:
    lanes = ["│ " * 7 + "●─╮ ↓5↓100", "│ " * 8 + "◆ ↑", "■ ↓1"]
    rows = [replace(LINEAR, lanes=lane, module="a.b.c.d.e.f Long" * 3, call=7, calls=10_000) for lane in lanes]
    lines = graph.draw(view(*rows), width, 12, at=1).lines
    assert {cell_len(line.plain) for line in lines[1:4]} == {width}
    if width >= 73:
        assert all(any(glyph in line.plain for glyph in "●◆■") for line in lines[1:4])


# -- folding and the cursor --------------------------------------------------------------------------------------------
class Folding(FakeSession):
    """The fake network, whose second linear layer folds."""

    asked: LookGraph

    def _view(self, request: Request) -> View:
        answer = super()._view(request)
        if not isinstance(request, LookGraph) or not isinstance(answer, GraphView) or not answer.rows:
            return answer
        self.asked = request
        folded = ("2" in request.turned) != (request.level == 0)
        rows = [replace(row, path="2" if row.order > 1 else None, inside="2" * (row.order > 1)) for row in answer.rows]
        rows = [*rows[:2], replace(LINEAR, inside="")] if folded else rows
        numbers = {f"#{i}": min(i, len(rows) - 1) for i in range(6)}
        places = {**numbers, "2": 2, "2.bias": 2 if folded else 3, "2.weight": 2 if folded else 5}
        return replace(answer, rows=tuple(rows), total=len(rows), near=request.near, at=places.get(request.near, -1))


def with_graph(check: Callable[[Stage, GraphPanel, Folding], Awaitable[None]]) -> None:
    async def main() -> None:
        session = Folding(loaded=True)
        await session.execute(Forward())
        async with stage(session, opening=[]) as running:
            running.screen.go_to("graph")
            await running.idle()
            await check(running, running.screen.panel(GraphPanel), session)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_module_folds_and_opens_by_key_and_the_cursor_stays_with_it() -> None:
    async def check(on: Stage, panel: GraphPanel, session: Folding) -> None:
        await on.press("minus")
        assert "no open module here" in on.rows()[-1]
        await on.press("end", "minus")
        assert session.asked.turned == ("2",)
        assert panel.here == replace(LINEAR, inside="")
        assert "▸ 2 Linear" in on.text()
        await on.press("plus")
        assert session.asked.turned == ()
        assert panel.here is not None
        assert panel.here.order == 2
        await on.press("minus", "enter")
        assert session.asked.turned == ()
        assert not [command for command in session.executed if isinstance(command, Show)]
        await on.press("underscore")
        assert (session.asked.level, panel.view and panel.view.total) == (0, 3)
        await on.press("asterisk")
        assert (session.asked.level > 10, panel.view and panel.view.total) == (True, 6)
        await on.press("plus")
        assert "no folded module here" in on.rows()[-1]

    with_graph(check)


def test_the_cursors_of_graph_and_model_go_together() -> None:
    async def check(on: Stage, panel: GraphPanel, session: Folding) -> None:
        model = on.screen.model
        await on.press("home")
        assert panel.pointed == ""
        before = model.at
        await on.press("down", "down")
        assert (panel.pointed, model.pointed) == ("2", "2")
        assert model.at != before
        await on.press("down")
        assert (panel.pointed, model.pointed) == ("2.bias", "2.bias")
        await on.until(lambda: session.lines()[-1] == "show 2.bias")
        on.screen.go_to("model")
        await on.press("up")
        assert model.pointed == "2.weight"
        await on.until(lambda: panel.pointed == "2.weight")
        await on.press("up")
        await on.until(lambda: panel.pointed == "2")
        await on.press("home")
        assert (model.pointed, panel.pointed) == ("", "2")  # the whole model has no node of its own

    with_graph(check)


def test_enter_on_a_leaf_shows_its_parameter() -> None:
    async def check(on: Stage, panel: GraphPanel, session: Folding) -> None:
        await on.press("end", "enter")
        assert session.executed[-1] == Show(Name("2.weight"))

    with_graph(check)


def test_a_window_is_asked_for_in_strides_and_around_what_is_sought() -> None:
    panel = GraphPanel()
    panel.assign(view(*node_rows(False), total=100_000))
    asked = []
    for first in (0, 60, 89, 90, 119, 120, 500):
        panel.first = first
        asked.append(panel.request().first)  # type: ignore[union-attr]
    assert asked == [0, 0, 0, 30, 30, 60, 420]
    panel.seek("2.weight")
    assert panel.request() == replace(panel.request(), first=0, near="2.weight")
    panel.assign(replace(panel.view, near="something else", at=3))
    assert panel.at != 3
    panel.assign(replace(panel.view, near="2.weight", at=50_000, first=49_900))
    assert (panel.at, panel.first) == (50_000, 50_000)
    assert panel.request().near == ""  # type: ignore[union-attr]


def test_the_memory_of_a_large_graph_is_measured_only_when_asked() -> None:
    panel = GraphPanel()
    panel.assign(view(*node_rows(False)))
    assert panel.request().sizes  # type: ignore[union-attr]
    panel.assign(view(*node_rows(False), nodes=100_000))
    assert not panel.request().sizes  # type: ignore[union-attr]
    panel.toggle_measure()
    assert panel.request().sizes  # type: ignore[union-attr]
