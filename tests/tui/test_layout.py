"""Where everything stands at every size, and that no size breaks the screen."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage import stage

from gradstep.tui.layout.layouts import LAYOUTS, PANELS, REGISTRY, layout_of
from gradstep.tui.layout.plan import LayoutState, plan
from gradstep.tui.render.drawing import Drawing, heading

ROWS = {"status", "phases", "banner", "prompt", "footer"}


def test_the_drawing():
    places = plan(120, 40, LayoutState())
    assert {name: tuple(places[name][:4]) for name in places} == {
        "status": (0, 0, 120, 1),
        "phases": (0, 1, 120, 1),
        "why": (0, 3, 120, 5),
        "model": (0, 9, 46, 11),
        "loss": (0, 21, 46, 9),
        "ledger": (0, 31, 46, 6),
        "graph": (47, 9, 73, 14),
        "tensor": (47, 24, 73, 13),
        "prompt": (0, 38, 120, 1),
        "footer": (0, 39, 120, 1),
    }


def test_a_slim_screen_shows_model_and_the_panel_in_focus():
    places = plan(80, 24, LayoutState(("graph", "tensor")))
    assert tuple(places["model"][:4]) == (0, 5, 34, 17)
    assert tuple(places["graph"][:4]) == (35, 5, 45, 17)
    assert places["graph"].tabs == ("tensor", "graph", "loss", "log", "layers", "optimizer", "batch", "ledger")
    assert "tensor" not in places


def test_a_wide_screen_has_three_columns():
    places = plan(200, 60, LayoutState())
    assert len({places[name].x for name in PANELS if name in places and name != "why"}) == 3
    third = sorted((places[name].y, name) for name in ("optimizer", "layers", "log"))
    assert [name for _, name in third] == ["optimizer", "layers", "log"]
    assert {places[name].x for _, name in third} == {max(place.x for place in places.values())}


SIZE = (st.integers(1, 250), st.integers(1, 80))
FLAGS = (st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.integers(1, 30))


@given(*SIZE, st.permutations([name for name in PANELS if name not in ("script", "output", "stack")]), *FLAGS)
def test_nothing_overlaps_or_leaves_the_screen(width, height, recent, script, banner, maximised, matrix, why):
    nothing_overlaps(width, height, LayoutState(recent, script, banner, maximised, matrix, why))


@given(
    *SIZE,
    st.permutations([name for name in PANELS if name != "script"]),
    *FLAGS,
    st.sampled_from(list(LAYOUTS)),
    st.sampled_from(["", "forward", "backward"]),
)
def test_nothing_overlaps_on_the_screen_of_a_script(
    width, height, recent, script, banner, maximised, matrix, why, layout, inside
):
    state = LayoutState(recent, script, banner, maximised, matrix, why, layout=layout, inside=inside)
    nothing_overlaps(width, height, state._replace(terminal=True, training_script=True))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("inside", ["", "forward", "backward"])
def test_source_is_visible_at_every_stop_of_a_script_and_stack_and_output_have_places(size, layout, inside):
    focus = layout_of(layout, inside, training_script=True).focus
    state = LayoutState((focus,), layout=layout, inside=inside, terminal=True, training_script=True)
    places = plan(*size, state)
    assert "source" in places
    assert places["source"].height >= 6
    for name in ("stack", "output"):
        asked = plan(*size, state._replace(recent=(name, focus)))
        assert name in asked
        assert "source" in asked
    assert "stack" not in plan(*size, LayoutState((focus,), layout=layout, inside=inside))


def nothing_overlaps(width, height, state):
    """Assert that places stay on the screen and apart, and that the panel in focus has one."""
    places = plan(width, height, state)
    cells = set()
    for place in places.values():
        assert place.width > 0
        assert place.height > 0
        assert 0 <= place.x <= place.x + place.width <= width
        assert 0 <= place.y <= place.y + place.height <= height
        own = {(x, y) for x in (place.x, place.x + place.width - 1) for y in range(place.y, place.y + place.height)}
        assert not own & cells
        cells |= own
    if width >= 20 and height >= 12:
        assert state.recent[0] in places


@pytest.mark.parametrize(
    "size", [(1, 1), (2, 3), (10, 4), (30, 8), (60, 20), (80, 24), (100, 30), (120, 40), (200, 60)]
)
def test_every_size_can_be_stepped(size):
    async def test():
        async with stage(size=size) as s:
            await s.press(
                "f", "b", "b", "2", "3", "5", "m", "down", "m", "question_mark", "escape", "colon", "escape", "s"
            )
            assert s.session.lines()[-1] == "step"
            rows = s.rows()
            assert len(rows) == size[1]
            if size[0] >= 80:
                assert "iteration 1" in rows[0]
                assert "s step ●" in rows[1]

    asyncio.run(asyncio.wait_for(test(), 60))


def test_a_resize_asks_for_windows_that_fit():
    async def test():
        async with stage() as s:
            await s.press("f")
            await s.pilot.resize_terminal(200, 60)
            panel = s.screen.tensor
            await s.until(lambda: panel.shown_request == panel.request() and panel.shown_request.rows > 15)

    asyncio.run(asyncio.wait_for(test(), 60))


def test_the_log_stands_in_the_ledgers_place_until_there_is_a_model() -> None:
    assert "ledger" in plan(120, 40, LayoutState())
    before = plan(120, 40, LayoutState(ledger=False))
    assert "log" in before
    assert "ledger" not in before
    assert before["log"].x == plan(120, 40, LayoutState())["ledger"].x


def test_the_names_in_a_title_do_not_grow_with_every_panel_that_was_visited():
    guests = ("inside", "jtv", "contributions", "source", "breakpoints", "timeline", "compare")
    for seen in range(len(guests)):
        recent = (*reversed(guests[: seen + 1]), "tensor")
        names = set(plan(80, 24, LayoutState(recent, ledger=False))[guests[seen]].tabs)
        assert guests[seen] in names
        assert len(names & set(guests)) <= 3


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_is_called_the_same_in_its_title_and_in_the_titles_of_others(name):
    assert heading(name) == REGISTRY[name].title


@pytest.mark.parametrize("width", [120, 60, 20])
def test_the_title_row_names_the_others_by_their_names(width):
    panel = REGISTRY["log"]()
    panel.tabs = ("log", "jtv", "graph")
    row = panel.title_line(width, Drawing("", []))[0].plain
    assert "Jtv" not in row
    assert ("J Jᵀ v" if width > 20 else "+1") in row


@pytest.mark.parametrize("width", [34, 45, 73, 120])
@pytest.mark.parametrize("name", ["tensor", "batch", "contributions", "compare"])
def test_a_title_names_in_whole_words_as_many_as_it_has_room_for_and_counts_the_others(name, width):
    panel = REGISTRY[name]()
    panel.tabs = PANELS
    row = panel.title_line(width, Drawing("what it is about", [], 1234, 12, 10))[0].plain
    assert row.rstrip().endswith(("↑ 12 ↓ 1,212 more", "↑ 12 ↓ 1,212"))
    named = [other for other in PANELS if f"{panel.keyboard.key(other).shown} {heading(other)} " in row]
    assert name in named
    assert named == list(PANELS[PANELS.index(named[0]) : PANELS.index(named[0]) + len(named)])
    assert f"+{len(PANELS) - len(named)}" in row
    words = row.replace("↑ 12 ↓ 1,212", "").removesuffix(" more ").replace("Jᵀ v", "").split()
    letters = {word for word in words if word.isalpha() and len(word) > 1}
    assert letters <= {heading(other) for other in PANELS} | {"what", "it", "is", "about"}, "none is cut"
