"""Copying to the clipboard: what is under the cursor, and the slice as torch would write it."""

from __future__ import annotations

import asyncio
import math
import struct

import pytest
import torch
from fake_session import FakeSession
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from stage import stage

from gradstep.tui.render.copying import MOST, element_copied, literal, slice_copied
from gradstep.values.views import Window
from gradstep.values.views.tensor import Axis, LookTensor, TensorView

NAMES = {"torch": torch, "tensor": torch.tensor, "nan": math.nan, "inf": math.inf}


def run(test):
    asyncio.run(asyncio.wait_for(test(), 60))


@given(st.floats(width=32), st.floats(width=16), st.floats())
def test_a_number_is_written_so_that_it_is_read_as_the_same_and_no_longer(single, half, double):
    for value, dtype, code in ((single, "float32", "f"), (half, "float16", "e"), (double, "float64", "d")):
        text = literal(value, dtype)
        assert struct.pack(code, eval(text, NAMES)) == struct.pack(code, value) or math.isnan(value)
    assert len(literal(single, "float32")) <= len(repr(single))


def test_numbers_are_written_as_python_writes_those_of_their_dtype():
    texts = [literal(v, d) for v, d in ((0.1, "float64"), (3.0, "int64"), (1.0, "bool"), (math.nan, "float32"))]
    assert texts == ["0.1", "3", "True", "nan"]
    assert literal(torch.tensor(0.1).item(), "float32") == "0.1"
    assert literal(-math.inf, "bfloat16") == "-inf"


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int64", "int8", "bool"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_a_slice_is_written_as_what_torch_reads_back(dtype, shape):
    values = (torch.arange(1, 1 + math.prod(shape)).reshape(shape) / 7).to(getattr(torch, dtype))
    kind = ("number", "vector", "matrix")[len(shape)]
    rows = values.double().reshape(shape[0] if shape else 1, -1).tolist()
    view = TensorView(1, "w[0]", "w", shape=shape, dtype=dtype, kind=kind, value=Window(tuple(map(tuple, rows))))
    read = eval(slice_copied(view).text, NAMES)
    assert read.dtype is values.dtype
    assert torch.equal(read, values)


def test_a_window_that_is_not_all_of_the_slice_is_no_tensor_of_it():
    view = TensorView(1, "w", "w", shape=(4,), dtype="float32", kind="vector", value=Window(((1.0,), (2.0,))))
    assert slice_copied(view) is None


def test_an_element_is_found_by_its_index_whichever_way_the_window_lies():
    window = Window(((1.0, 2.0), (3.0, 4.0)))
    view = TensorView(
        1, "w", "w", (9, 9, 9), (2, 2), "float32", "matrix", 5, 7, ("5", "6"), ("7", "8"), window, place=(None, 4, None)
    )
    assert element_copied(view, (6, 4, 7)) == ("w[6, 4, 7]", "3.0")
    assert element_copied(view, (4, 4, 7)) is None
    turned = replace(view, dims=(2, 0), quantity="change")
    assert element_copied(turned, (4, 4, 6)) is None
    turned = replace(turned, row_labels=("7", "8"), column_labels=("5", "6"))
    assert element_copied(turned, (6, 4, 7)) == ("the change of w[6, 4, 7]", "2.0")
    number = TensorView(1, "w", "w", dtype="float32", kind="number", value=Window(((0.1,),)))
    assert element_copied(number, ()) == ("w", "0.1")


class Placed(FakeSession):
    """A session whose views say where their windows lie."""

    def _view(self, request):
        view = super()._view(request)
        if isinstance(view, TensorView):
            return replace(view, place=(0, None), axes=(Axis(1, 0, 1, 10),), dims=(1,))
        return view


def test_y_copies_what_is_under_the_cursor_of_each_panel():
    async def test():
        async with stage(Placed()) as s:
            await s.press("f", "b", "1", "down", "down", "y")
            assert s.app.clipboard == "0.045"
            assert "copied 2.weight[0, 2]: 0.045" in s.rows()[-1]
            await s.press("2", "home", "down", "down", "y")
            assert s.app.clipboard.startswith("AddmmBackward0  b + x Wᵀ  16×10  2 Linear")
            await s.press("4", "up", "y")
            assert s.app.clipboard == "forward"
            await s.press("5", "home", "down", "down", "y")
            assert s.app.clipboard == "0.weight"
            await s.press("3", "y")
            assert s.app.clipboard == "127.77"
            assert "copied the loss of forward 1: 127.77" in s.rows()[-1]
            await s.press("6", "y")
            assert s.app.clipboard == s.screen.why.news.view.sentence
            await s.press("f")
            assert "copied" not in s.rows()[-1]

    run(test)


def test_Y_copies_the_whole_slice_or_the_rows_that_are_seen():
    async def test():
        async with stage() as s:
            await s.press("f", "1", "Y")
            assert s.app.clipboard.startswith("tensor([-0.0288, 0.0072, 0.045,")
            asked = [look[0] for look in s.session.looks if len(look) == 1 and isinstance(look[0], LookTensor)]
            assert (10, MOST, 0, 0) in [(look.rows, look.columns, look.top, look.left) for look in asked]
            await s.press("4", "Y")
            assert s.app.clipboard.splitlines()[-1].strip().endswith("forward")

    run(test)


def test_what_is_too_much_for_a_clipboard_is_not_copied():
    async def test():
        async with stage() as s:
            await s.press("f", "y")
            before = s.app.clipboard
            s.screen.tensor.view = TensorView(s.session.stop.number, "w", "w", (200, 200), (200, 200), kind="matrix")
            await s.press("Y")
            assert s.app.clipboard == before
            assert "40,000 numbers are more than the 10,000" in s.rows()[-1]

    run(test)


def test_the_cursor_of_the_log_follows_its_end_until_it_is_moved():
    async def test():
        async with stage() as s:
            await s.press("f", "4", "m")
            log = s.screen.log_panel
            assert log.entries[log.at].text == "forward"
            await s.press("m", "m", "b")
            assert log.entries[log.at].text == "backward"
            await s.press("up", "s")
            assert log.entries[log.at].text == "forward"
            assert any(row.lstrip().startswith("▶") and "forward" in row for row in s.rows())
            await s.press("end", "z")
            assert log.entries[log.at].text == "zero_grad"

    run(test)
