"""Tensor's own keys: heat maps, dimensions and indices, change and ratio, going to an element, statistics."""

from __future__ import annotations

import asyncio

import pytest
from fake_session import FakeSession
from msgspec.structs import replace
from stage import Stage, stage
from tensors import answer

from gradstep.steps.language.complete import complete
from gradstep.tui.commands.screen_commands import SCREEN_COMMANDS
from gradstep.tui.panels.tensor.element import places_of, read_dims, read_place
from gradstep.tui.panels.tensor.foot import title_words
from gradstep.tui.panels.tensor.panel import TensorPanel
from gradstep.values.errors import GradstepError
from gradstep.values.views import Request, View
from gradstep.values.views.tensor import Axis, LookPlace, LookTensor, PlaceView, TensorView

SHAPE = (4, 3, 40, 30)


class Tensors(FakeSession):
    """A session whose selection is a tensor of four dimensions, each element of which is its index."""

    shape = SHAPE
    place: PlaceView | None = None
    due = False

    def _view(self, request: Request) -> View:
        if isinstance(request, LookTensor):
            view = answer(
                request, self.shape, self.stop.number, "other.weight" if "other" in self.selected else "conv.weight"
            )
            asked = sum(isinstance(r, LookTensor) for look in self.looks for r in look)
            return replace(view, statistics=None, due=True) if self.due and asked % 2 else view
        if isinstance(request, LookPlace) and self.place is not None:
            return self.place
        return super()._view(request)

    def asked(self) -> LookTensor:
        """The last window that was asked for."""
        return [r for look in self.looks for r in look if isinstance(r, LookTensor)][-1]


def run(test) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


async def pressed(s: Stage, *keys: str) -> str:
    """Press keys, wait for every window that they ask for, and return what Tensor says it shows."""
    await s.press(*keys)
    await s.screen.looking.settled()
    view = s.screen.tensor.view
    assert view is not None
    return title_words(view)


def test_d_turns_through_the_dimensions_and_the_cursor_stays_on_its_element():
    async def test():
        async with stage(Tensors()) as s:
            assert "conv.weight[0, 0, :, :]" in await pressed(s, "f")
            assert "conv.weight[0, 0, :, :]" in await pressed(s, "down", "down", "right")
            assert s.screen.tensor.element == (0, 0, 2, 1)
            abouts = [await pressed(s, "d") for _ in range(12)]
            assert "conv.weight[0, 0, :, :]  of 4×3×40×30, float32  ↓ dim 3 → dim 2" in abouts[0]
            assert "conv.weight[0, :, 2, :]" in abouts[1]
            assert "↓ dim 2 → dim 3" in abouts[-1], "twelve pairs, and again from the first"
            assert len(set(abouts)) == 12
            assert s.screen.tensor.element == (0, 0, 2, 1)

    run(test)


def test_comma_and_full_stop_step_the_index_of_the_other_dimensions():
    async def test():
        async with stage(Tensors()) as s:
            await s.press("f")
            assert "conv.weight[0, 1, :, :]" in await pressed(s, "full_stop")
            assert "conv.weight[1, 0, :, :]" in await pressed(s, "full_stop", "full_stop")
            assert s.screen.tensor.element == (1, 0, 0, 0)
            assert "conv.weight[3, 2, :, :]" in await pressed(s, "comma", "comma", "comma", "comma"), "round the end"
            assert "+3200.0" in s.text(), "the element at [3, 2, 0, 0]"

    run(test)


def test_the_dimensions_can_be_typed_and_wrong_ones_are_refused():
    async def test():
        async with stage(Tensors()) as s:
            await s.press("colon")
            await s.type("dims 1 3")
            assert "↓ dim 1 → dim 3" in await pressed(s, "enter")
            await s.press("colon")
            await s.type("dims 1 1")
            await s.press("enter")
            assert "dims 1 1 can't be shown" in s.text()

    run(test)


def test_another_selection_is_seen_from_its_start():
    async def test():
        session = Tensors()
        async with stage(session) as s:
            await pressed(s, "f", "d", "d", "end", "dollar_sign", "full_stop")
            await s.press("colon")
            await s.type("show other.weight")
            assert "other.weight[0, 0, :, :]" in await pressed(s, "enter")
            assert s.screen.tensor.element == (0, 0, 0, 0)
            assert (session.asked().top, session.asked().dims, session.asked().of) == (0, (), "other.weight")

    run(test)


def test_v_goes_from_values_to_changes_to_ratios():
    async def test():
        session = Tensors()
        async with stage(session) as s:
            asked = []
            for _ in range(3):
                await pressed(s, "v")
                asked.append(session.asked().quantity)
            assert asked == ["change", "ratio", "value"]

    run(test)


def test_a_heat_map_is_toggled_and_moved_in():
    async def test():
        async with stage(Tensors()) as s:
            await pressed(s, "f", "H", "down", "right", "right")
            assert s.screen.tensor.element == (0, 0, 1, 2)
            assert "±" in s.text()
            assert "+░" in s.text()
            await pressed(s, "end", "dollar_sign")
            assert s.screen.tensor.element == (0, 0, 39, 29)
            assert "▶ [39]" in s.text()
            await pressed(s, "H")
            assert "▶ [39]" in s.text(), "the cursor stays in sight"

    run(test)


def test_a_vector_that_is_folded_is_moved_in_by_its_rows():
    async def test():
        session = Tensors()
        session.shape = (500,)
        async with stage(session) as s:
            await pressed(s, "f", "H", "right", "down")
            fold = s.screen.tensor.element[0] - 1
            assert fold >= 10
            await pressed(s, "end")
            assert s.screen.tensor.element == (499,)
            assert f"▶ [{499 // fold * fold}]" in s.text()

    run(test)


def test_g_goes_to_an_index_and_the_window_follows():
    async def test():
        async with stage(Tensors()) as s:
            await s.press("g")
            assert ": element" in s.text()
            await s.type("2, -1, 39, 17")
            assert "conv.weight[2, 2, :, :]" in await pressed(s, "enter")
            assert s.screen.tensor.element == (2, 2, 39, 17)
            assert "▶ [39]" in s.text()
            assert "[17]" in s.text()

    run(test)


@pytest.mark.parametrize(
    ("line", "look"),
    [("max", LookPlace("max")), ("nan", LookPlace("nan")), ("change grad", LookPlace("change", True))],
)
def test_g_goes_to_an_extreme_that_the_engine_finds(line, look):
    async def test():
        session = Tensors()
        session.place = PlaceView(1, "conv.weight", look.extreme, (3, 1, 20, 29), 0.25)
        async with stage(session) as s:
            await s.press("g")
            await s.type(line)
            assert "conv.weight[3, 1, :, :]" in await pressed(s, "enter")
            assert s.screen.tensor.element == (3, 1, 20, 29)
            [asked] = [r for each in session.looks for r in each if isinstance(r, LookPlace)]
            assert (asked.extreme, asked.grad) == (look.extreme, look.grad)
            assert "is [3, 1, 20, 29], +0.2500" in s.text()

    run(test)


def test_what_is_not_there_leaves_the_cursor_where_it_is():
    async def test():
        session = Tensors()
        session.place = PlaceView(1, "conv.weight", "nan", why="no NaN in it")
        async with stage(session) as s:
            await pressed(s, "down", "g")
            await s.type("nan")
            await pressed(s, "enter")
            assert "conv.weight: no NaN in it" in s.text()
            assert s.screen.tensor.element == (0, 0, 1, 0)

    run(test)


def test_statistics_that_are_due_are_asked_for_once_more():
    async def test():
        session = Tensors()
        session.due = True
        async with stage(session) as s:
            await s.press("f")
            await s.until(lambda: not s.screen.tensor.due)
            await s.screen.looking.settled()
            assert "being measured" not in s.text()

    run(test)


def test_d_large_says_everything_about_the_slice():
    async def test():
        session = Tensors()
        async with stage(session) as s:
            before = session.asked().bins
            await pressed(s, "D")
            assert before == 0, "a histogram is not made for nobody"
            assert session.asked().bins > 0
            assert "std" in s.text()

    run(test)


# -- what is typed -----------------------------------------------------------------------------------------------------
def sliced() -> TensorView:
    """`w[2, 1:9:2]` of a 4 x 10 x 5."""
    view = answer(LookTensor(), (4, 10, 5))
    axes = (Axis(1, 1, 2, 4), Axis(2, 0, 1, 5))
    return replace(view, name="w[2, 1:9:2]", shape=(4, 5), axes=axes, place=(2, None, None), dims=(1, 2))


@pytest.mark.parametrize(
    ("text", "index"),
    [("2, 3, 4", (2, 3, 4)), ("[2, -9, -1]", (2, 1, 4)), ("3 4", (2, 3, 4)), ("-2, -7, 0", (2, 3, 0))],
)
def test_an_index_is_of_the_whole_tensor_or_of_what_the_slice_keeps(text, index):
    assert read_place(text, sliced()) == index


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2, 2, 0", "is not in the selection"),
        ("1, 1, 0", "is not in the selection"),
        ("2, 1, 5", "index 5 is out of range"),
        ("3", "it takes 3 numbers"),
        ("most", "is not an element"),
        ("", "is not an element"),
        ("max of it", "is not an element"),
    ],
)
def test_what_is_no_element_says_what_is(text, words):
    with pytest.raises(GradstepError) as raised:
        read_place(text, sliced())
    assert words in raised.value.problem.title
    assert raised.value.problem.remedy


def test_places_are_counted_in_the_slice():
    assert places_of((2, 5, 3), sliced()) == [2, 3]
    assert places_of((2, 4, 3), sliced()) is None


def test_dims_are_of_the_whole_tensor():
    assert read_dims("2, 1", sliced()) == (2, 1)
    assert read_dims("-1 -2", sliced()) == (2, 1)
    for text in ("0 1", "1", "1 1", "a b"):
        with pytest.raises(GradstepError):
            read_dims(text, sliced())


def test_extremes_are_completed():
    assert complete("element m", None, SCREEN_COMMANDS) == ["element max", "element min"]
    assert complete("element max g", None, SCREEN_COMMANDS) == ["element max grad"]
    assert complete("element 3, ", None, SCREEN_COMMANDS) == []


def test_the_first_window_is_kept_to_its_place_when_another_is_asked_for():
    """The panel asks for where it is going; until the answer comes the old window is drawn."""
    panel = TensorPanel()
    panel.assign(answer(LookTensor(rows=8, columns=4), SHAPE))
    panel.move(100)
    assert panel.element == (0, 0, 39, 0)
    request = panel.request()
    assert isinstance(request, LookTensor)
    assert request.top > 0
    assert request.of == "w"
