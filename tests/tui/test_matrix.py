"""A matrix in Tensor: how much of it is seen, and with how many digits."""

from __future__ import annotations

import asyncio

import pytest
from fake_session import FakeSession
from stage import stage

from gradstep.tui.layout.plan import LayoutState, plan
from gradstep.tui.panels.tensor import panel as tensor
from gradstep.tui.panels.tensor.display import Display, StableForms
from gradstep.tui.render.lines import plain
from gradstep.values import numbers
from gradstep.values.views import LookTensor, TensorView, Window
from gradstep.values.views.tensor import Axis


def run(test):
    asyncio.run(asyncio.wait_for(test(), 60))


def matrix(left=0, columns=10, across=20, scale=1.0, stop=1):
    columns = min(columns, across - left)
    values = tuple(tuple((r + left + c + 1) / 100 for c in range(columns)) for r in range(3))
    grads = tuple(tuple(value * scale for value in row) for row in values)
    labels = tuple(str(left + c) for c in range(columns))
    return TensorView(
        stop, "0.weight", "0.weight", (3, across), (3, across), "float32", "matrix", 0, left, ("0", "1", "2"), labels,
        Window(values), Window(grads), "fresh", place=(None, None), dims=(0, 1),
        axes=(Axis(0, 0, 1, 3), Axis(1, 0, 1, across)),
    )  # fmt: skip


@pytest.mark.parametrize("greatest", [0.99, 0.5, 0.0512, 0.0051, 0.00051, 0.00012, 3e-5, 7e-9, 8.0, 123.0])
@pytest.mark.parametrize("digits", [3, 4])
def test_the_greatest_of_a_column_has_three_digits_at_least(greatest, digits):
    text = numbers.signed(greatest, numbers.form_of([greatest, greatest / 100], "", digits))
    mantissa = text.lstrip("+").split("e")[0].replace(".", "").lstrip("0")
    assert len(mantissa) >= 3
    assert float(text.replace(numbers.MINUS, "-")) == pytest.approx(greatest, rel=0.005)


def test_a_small_gradient_is_no_row_of_zeros_and_a_grid_has_one_number_of_decimals():
    lines = plain(tensor.draw(matrix(scale=0.002, columns=3, across=3), 90, 9).lines)
    cells = [text for line in lines[2:5] for text in line.split()[4:]]
    assert cells[-1] == "+0.000100"
    assert {len(cell.partition(".")[2]) for cell in cells} == {6}


def test_the_columns_that_are_seen_are_counted():
    shown = tensor.columns_shown(matrix(left=4), 60, Display(StableForms(), left=4))
    assert 1 < shown < 16
    assert tensor.draw(matrix(left=4), 60, 9).mark() == f"← 4 → {16 - shown} more"
    assert tensor.draw(matrix(columns=2, across=2), 60, 9).mark() == ""


class Matrices(FakeSession):
    """A session whose selection is a matrix of three rows and twenty columns."""

    async def look(self, requests):
        views = await super().look(requests)
        return tuple(
            matrix(request.left, request.columns, stop=view.stop) if isinstance(request, LookTensor) else view
            for request, view in zip(requests, views, strict=True)
        )


def test_keys_reach_the_last_column_and_the_first():
    async def test():
        async with stage(Matrices()) as s:
            await s.until(lambda: "→ " in s.text())
            assert "← " not in s.text()
            await s.press("dollar_sign")
            await s.until(lambda: "← " in s.text() and "→ " not in s.text())
            await s.press("right")
            assert "[19]" in s.text()
            await s.press("circumflex_accent")
            await s.until(lambda: "→ " in s.text() and "← " not in s.text())

    run(test)


def test_a_matrix_gets_room_from_the_log_on_a_wide_screen_only():
    usual, wide = (plan(200, 60, LayoutState(matrix=matrix)) for matrix in (False, True))
    assert wide["tensor"].width > usual["tensor"].width
    assert wide["log"].width < usual["log"].width
    assert wide["model"] == usual["model"]
    assert plan(120, 40, LayoutState(matrix=True)) == plan(120, 40, LayoutState())
