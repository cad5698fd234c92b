"""Panels made larger and smaller by hand, by keys and by the mouse, and what is remembered of it."""

from __future__ import annotations

import asyncio

import pytest
from fake_session import FakeSession
from hypothesis import given
from hypothesis import strategies as st
from stage import stage
from textual import events

from gradstep.tui.layout.layouts import LAYOUTS, PANELS
from gradstep.tui.layout.plan import LEAST_HEIGHT, LEAST_WIDTH, LayoutState, plan, size_class
from gradstep.tui.layout.preferences import Appearance, Preferences
from gradstep.tui.layout.sizes import Divider, divider_at, resized

SIZES = [(80, 24), (120, 40), (200, 60)]


def run(test):
    asyncio.run(asyncio.wait_for(test(), 60))


def grown(width, height, panel, across, down, **state):
    before = LayoutState(recent=(panel,), **state)
    after = before._replace(sizes=resized(width, height, before, panel, across, down))
    return plan(width, height, before), plan(width, height, after)


def test_a_panel_grows_where_its_neighbour_gives_way():
    before, after = grown(120, 40, "model", 4, 3)
    assert after["model"].width == before["model"].width + 4
    assert after["graph"].width == before["graph"].width - 4
    assert after["model"].height == before["model"].height + 3
    assert after["loss"].height == before["loss"].height - 3
    assert after["tensor"].height == before["tensor"].height


def test_the_last_of_a_column_and_the_last_column_grow_the_other_way():
    before, after = grown(120, 40, "tensor", 4, 2)
    assert after["tensor"].width == before["tensor"].width + 4
    assert after["tensor"].y == before["tensor"].y - 2
    assert after["model"].width == before["model"].width - 4


def test_why_grows_and_gives_way_to_a_column_of_one():
    before, after = grown(120, 40, "why", 0, 2)
    assert after["why"].height == before["why"].height + 2
    before, after = grown(120, 40, "model", 0, 2, layout="learn")
    assert after["why"].height == before["why"].height - 2
    assert after["model"].height == before["model"].height + 2


@given(
    st.sampled_from(SIZES),
    st.sampled_from(sorted(LAYOUTS)),
    st.lists(st.tuples(st.sampled_from(PANELS), st.integers(-300, 300), st.integers(-80, 80)), min_size=1, max_size=6),
    st.booleans(),
)
def test_no_resizing_loses_a_panel_or_lets_two_overlap(size, layout, moves, script):
    state = LayoutState(layout=layout, script=script)
    before = plan(*size, state)
    for panel, across, down in moves:
        state = state._replace(sizes=resized(*size, state, panel, across, down))
    after = plan(*size, state)
    assert set(after) == set(before)
    cells = [(x, y) for p in after.values() for x in range(p.x, p.x + p.width) for y in range(p.y, p.y + p.height)]
    assert len(cells) == len(set(cells))
    assert all(0 <= x < size[0] and 0 <= y < size[1] for x, y in cells)
    for name in set(after) & set(PANELS) - {"why"}:
        assert after[name].width >= min(LEAST_WIDTH, before[name].width)
        assert after[name].height >= min(LEAST_HEIGHT, before[name].height)


def test_sizes_hold_at_another_size_of_the_same_class():
    sizes = resized(120, 40, LayoutState(), "model", 10, 0)
    small, large = plan(120, 40, LayoutState(sizes=sizes)), plan(160, 50, LayoutState(sizes=sizes))
    assert small["model"].width == 56
    assert large["model"].width == round(56 / 119 * 159)


def test_a_gap_and_a_title_below_one_can_be_taken_hold_of_and_nothing_else():
    places = plan(120, 40, LayoutState())
    model, loss = places["model"], places["loss"]
    assert divider_at(120, 40, LayoutState(), model.x + model.width, model.y + 2) == Divider("model", across=True)
    assert divider_at(120, 40, LayoutState(), 3, model.y + model.height) == Divider("model", across=False)
    assert divider_at(120, 40, LayoutState(), 3, loss.y) == Divider("model", across=False)
    assert divider_at(120, 40, LayoutState(), 3, model.y) == Divider("why", across=False)
    assert divider_at(120, 40, LayoutState(), 3, model.y + 3) is None
    assert divider_at(120, 40, LayoutState(), 3, 39) is None


@pytest.mark.parametrize("size", SIZES)
def test_keys_make_the_panel_in_focus_larger_and_one_gives_the_sizes_back(size):
    async def test():
        kept = []
        async with stage(size=size, appearance=Appearance(save=kept.append)) as s:
            await s.press("5")
            before = s.screen.model.size
            await s.press("right_square_bracket", "right_square_bracket", "alt+down", "right_curly_bracket")
            after = s.screen.model.size
            assert after.width == before.width + 4
            # Why gives way on the small screen, as long as it has two rows
            assert after.height == before.height + (1 if size == (80, 24) else 2)
            assert set(kept[-1].sizes) == {f"inspect {size_class(*size)}"}
            await s.press("left_square_bracket")
            assert s.screen.model.size.width == before.width + 2
            await s.press("equals_sign")
            assert s.screen.model.size == before
            assert kept[-1].sizes == {}
            await s.press("m", "right_square_bracket")
            assert "m restores the panel first" in s.rows()[-1]

    run(test)


def test_dragging_a_gap_makes_panels_larger_and_is_remembered_once():
    async def test():
        kept = []
        async with stage(appearance=Appearance(save=kept.append)) as s:
            width = s.screen.model.size.width
            gap = s.screen.model.surface.region.right
            await s.pilot.mouse_down(offset=(gap, 15))
            for x in range(gap, gap + 7):
                await s.pilot.hover(offset=(x, 16))
            assert kept == []
            await s.pilot.mouse_up(offset=(gap + 6, 16))
            await s.idle()
            assert s.screen.model.size.width == width + 6
            assert len(kept) == 1
            await s.pilot.hover(offset=(gap + 20, 16))
            await s.idle()
            assert s.screen.model.size.width == width + 6

    run(test)


def test_dragging_a_title_row_moves_the_edge_above_it_and_the_text_asks_for_what_fits():
    async def test():
        async with stage() as s:
            await s.press("f")
            top = s.screen.tensor.surface.region.y
            await s.pilot.mouse_down(offset=(60, top))
            await s.pilot.hover(offset=(60, top - 4))
            await s.pilot.mouse_up(offset=(60, top - 4))
            await s.idle()
            assert s.screen.tensor.surface.region.y == top - 4
            assert s.screen.tensor.shown_request == s.screen.tensor.request()

    run(test)


def test_clicks_on_titles_switch_focus_and_maximise():
    async def test():
        async with stage() as s:
            title = s.rows()[s.screen.tensor.surface.region.y]
            await s.pilot.click(offset=(title.index("Batch") + 1, s.screen.tensor.surface.region.y))
            await s.idle()
            assert s.screen.focus_panel.title == "Batch"
            assert "batch" in s.screen.placements
            assert "tensor" not in s.screen.placements
            model = s.screen.model.surface.region
            await s.pilot.click(offset=(3, model.y))
            await s.idle()
            assert s.screen.focus_panel.title == "Model"
            await s.pilot.click(offset=(30, model.y), times=2)
            await s.idle()
            assert set(s.screen.placements) & set(PANELS) == {"model"}
            await s.pilot.click(offset=(30, s.screen.model.surface.region.y), times=2)
            await s.idle()
            assert "graph" in s.screen.placements

    run(test)


def test_the_wheel_scrolls_the_panel_under_the_mouse():
    async def test():
        session = FakeSession()
        async with stage(session) as s:
            await s.press("colon")
            await s.type("repeat 9 { forward; next_batch }")
            await s.press("enter", "4")
            first = s.screen.log_panel.surface.region
            assert "load mlp" not in s.text()
            for _ in range(9):
                await s.pilot._post_mouse_events([events.MouseScrollUp], offset=(5, first.y + 2))
            await s.idle()
            assert "load mlp" in s.text()

    run(test)


def test_sizes_that_were_remembered_are_there_at_the_start():
    async def test():
        sizes = resized(120, 40, LayoutState(), "model", 8, 0)
        preferences = Preferences(sizes={"inspect roomy": sizes, "learn roomy": {"why": 9}})
        async with stage(appearance=Appearance(preferences=preferences)) as s:
            assert s.screen.model.size.width == 54
            await s.press("f6")
            assert s.screen.why.size.height == 9

    run(test)
