"""The cursor in Tensor is on one element: arrows move it, the window follows it, Why and Ledger are about it."""

from __future__ import annotations

import asyncio

import pytest
from fake_session import FakeSession
from msgspec.structs import replace
from stage import stage
from tensors import answer

from gradstep.tui.panels.tensor import panel as tensor
from gradstep.tui.panels.tensor.display import Display, StableForms
from gradstep.tui.panels.tensor.panel import TensorPanel
from gradstep.tui.render.lines import plain
from gradstep.values.views import LookTensor, LookWhy, Request, TensorView, View
from gradstep.values.views.ledger import LedgerRow, LedgerView, LookLedger
from gradstep.values.views.tensor import Axis

ROWS, COLUMNS = 40, 30


def window(look: LookTensor, kind: str, name: str = "2.weight") -> TensorView:
    """Answer as the engine does, for a tensor of 3 x 40 x 30 at index 1 of the first dimension."""
    if kind == "matrix":
        view = answer(look, (ROWS, COLUMNS), name=name)
        axes = (Axis(1, 0, 1, ROWS), Axis(2, 0, 1, COLUMNS))
        return replace(view, whole=(3, ROWS, COLUMNS), place=(1, None, None), axes=axes, dims=(1, 2))
    view = answer(look, (ROWS,), name=name)
    return replace(view, whole=(3, ROWS, COLUMNS), place=(1, None, 7), axes=(Axis(1, 0, 1, ROWS),), dims=(1,))


class Elements(FakeSession):
    """A session whose Tensor is the one above."""

    kind = "matrix"

    def _view(self, request: Request) -> View:
        stop = self.stop.number
        if isinstance(request, LookTensor):
            view = window(request, self.kind, self.selected or "2.weight")
            return replace(view, stop=stop)
        if isinstance(request, LookLedger):
            row = LedgerRow("backward", "backward 1", None, 0.5, 0.5, 1.0, 1, 2.0)
            return LedgerView(stop, f"2.weight.grad{list(request.element or ())}", rows=(row,), total=0.5, norm=1.0)
        return super()._view(request)

    def asked(self, kind: type[Request]) -> list[Request]:
        return [request for look in self.looks for request in look if isinstance(request, kind)]


def run(test) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


@pytest.mark.parametrize("kind", ["vector", "matrix"])
def test_arrows_move_the_cursor_and_why_and_ledger_follow(kind):
    async def test():
        session = Elements()
        session.kind = kind
        async with stage(session, size=(120, 40)) as s:
            await s.press("f", "b", "down", "down", "right")
            await s.until(lambda: not s.screen.looking._catching)
            element = (1, 2, 1) if kind == "matrix" else (1, 2, 7)
            assert session.asked(LookWhy)[-1] == LookWhy(element)
            assert session.asked(LookLedger)[-1] == LookLedger(element)
            assert f"2.weight.grad{list(element)}" in s.text()
            assert any(row.lstrip().startswith("▶") or "▶ [2]" in row for row in s.rows())
            before = len(session.asked(LookWhy))
            await s.press("s")
            assert session.asked(LookWhy)[before:] == [LookWhy(element)]

    run(test)


def test_the_window_follows_the_cursor_to_the_end_and_back():
    async def test():
        session = Elements()
        async with stage(session, size=(120, 40)) as s:
            await s.press("f", "end")
            await s.until(lambda: s.screen.tensor.element == (1, ROWS - 1, 0))
            assert f"▶ [{ROWS - 1}]" in s.text()
            await s.press("dollar_sign")
            await s.until(lambda: s.screen.tensor.element == (1, ROWS - 1, COLUMNS - 1))
            await s.press("home", "circumflex_accent")
            await s.until(lambda: s.screen.tensor.element == (1, 0, 0))
            assert "▶ [0]" in s.text()

    run(test)


def test_another_selection_puts_the_cursor_on_its_first_element():
    panel = TensorPanel()
    panel.assign(window(LookTensor(rows=8, columns=4), "matrix"))
    panel.move(3)
    panel.sideways(2)
    assert panel.element == (1, 3, 2)
    panel.assign(window(LookTensor(rows=8, columns=4), "vector", "0.weight"))
    assert panel.element == (1, 0, 7)
    panel.assign(TensorView(1, "0.weight", note="nothing to draw"))
    assert panel.element is None


def test_the_cursor_is_drawn_on_its_row_and_its_cell():
    view = window(LookTensor(rows=4, columns=4), "matrix")
    drawn = tensor.draw(view, 80, 8, Display(StableForms(), (2, 1)))
    marked = [line for line in drawn.lines if line.plain.startswith("▶")]
    assert [line.plain.split()[1] for line in marked] == ["[2]"]
    assert sum(span.tone == "block" for span in marked[0].spans) == 1
    assert not any(line.startswith("▶") for line in plain(tensor.draw(view, 80, 8).lines))


def test_a_vector_says_what_a_step_would_give():
    view = replace(window(LookTensor(rows=3), "vector"), would=(0.5, -0.5, 0.0), statistics=None)
    drawn = plain(tensor.draw(view, 80, 8).lines)
    assert "step would give" in drawn[0]
    assert "−0.5000" in drawn[2]
    narrow = plain(tensor.draw(view, 45, 8).lines)
    assert "after a step" in narrow[0]
    assert "−0.5000" in narrow[2]
