"""Layouts and themes: chosen by key, by a typed line and by name, and remembered between runs."""

from __future__ import annotations

import asyncio

import pytest
from fake_session import FakeSession
from stage import stage

from gradstep import cli
from gradstep.cli import arguments
from gradstep.steps.language.parse import parse_script
from gradstep.tui.layout.layouts import LAYOUTS, PANELS
from gradstep.tui.layout.preferences import (
    Appearance,
    Preferences,
    preferences_path,
    read_preferences,
    save_preferences,
)
from gradstep.tui.picture import draw
from gradstep.tui.render.tones import THEMES, style

SIZES = [(80, 24), (120, 40), (200, 60)]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def run(test):
    asyncio.run(asyncio.wait_for(test(), 60))


def panels(s):
    return set(s.screen.placements) & set(PANELS)


def colours(s):
    strips = s.app.screen._compositor.render_strips()
    return {segment.style.bgcolor.triplet.hex for strip in strips for segment in strip if segment.style.bgcolor}


def test_each_layout_shows_what_it_is_for():
    async def test():
        async with stage(appearance=Appearance(layout="learn")) as s:
            assert panels(s) == {"why", "model", "tensor", "ledger"}
            assert s.screen.focus_panel.title == "Tensor"
            await s.press("f7")
            assert {"graph", "loss", "tensor", "model"} < panels(s)
            await s.press("f8")
            assert panels(s) == {"why", "loss", "findings", "log", "layers", "optimizer"}
            assert s.screen.focus_panel.title == "Loss"
            assert "layout train" in s.rows()[-1]
            await s.press("2", "f6", "f8")
            assert s.screen.focus_panel.title == "Graph"  # each layout keeps its own focus
            await s.press("f6")
            assert s.screen.focus_panel.title == "Tensor"

    run(test)


@pytest.mark.parametrize("size", SIZES)
def test_the_layouts_stand_with_their_keys_where_a_command_is_typed_and_can_be_clicked(size):
    async def test():
        async with stage(size=size) as s:
            row = s.rows()[-2]
            assert row.rstrip().endswith("f6 learn  f7 inspect  f8 train")
            await s.pilot.click(offset=(row.index("train") + 1, size[1] - 2))
            await s.idle()
            assert "layers" in panels(s)
            assert s.screen.line is None
            await s.pilot.click(offset=(3, size[1] - 2))
            await s.idle()
            assert s.screen.line is not None

    run(test)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("lesson", [False, True])
def test_every_panel_can_be_reached_in_every_layout(size, layout, lesson):
    async def test():
        script = parse_script("load mlp seed=0\nforward\nbackward\n", "a.steps") if lesson else None
        opening = {"opening": []} if lesson else {}
        async with stage(size=size, appearance=Appearance(layout=layout), script=script, **opening) as s:
            await s.press("f", "b")
            for name in s.screen.order:
                s.screen.panel_keys.focus(name)
                await s.idle()
                assert name in panels(s)
                asked = s.screen.panels[name].request()
                assert asked is None or s.screen.panels[name].shown_request == asked
                assert any("▌" in row for row in s.rows())
            assert ("script" in s.screen.order) is lesson

    run(test)


def test_a_layout_and_a_theme_are_chosen_by_a_typed_line_and_remembered():
    async def test():
        kept = []
        async with stage(appearance=Appearance(save=kept.append)) as s:
            for line in ("layout train", "theme light"):
                await s.press("colon")
                await s.type(line)
                await s.press("enter")
            assert kept == [Preferences("train", ""), Preferences("train", "light")]
            await s.press("colon")
            await s.type("layout trian")
            await s.press("enter")
            assert "There is no layout trian" in s.text()
            assert "`train`" in s.text()

    run(test)


def test_a_key_goes_through_the_themes_and_every_cell_takes_the_colours():
    async def test():
        async with stage() as s:
            await s.press("f")
            seen = []
            for _ in THEMES:
                await s.press("f2")
                name = s.app.theme
                seen.append(name)
                assert f"theme {name}" in s.rows()[-1]
                grounds = set(THEMES[name].grounds.values()) | {style("block", "screen", name).bgcolor.triplet.hex}
                assert colours(s) == grounds & colours(s)
            assert seen == ["light", "high-contrast", "dark"]

    run(test)


def test_with_no_color_the_key_says_that_there_are_none(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    async def test():
        async with stage(appearance=Appearance(theme="light")) as s:
            await s.press("f2")
            assert "NO_COLOR is set" in s.rows()[-1]
            assert s.app.theme == "plain"

    run(test)


def test_the_ledger_comes_to_the_front_with_the_first_backward_and_the_log_with_the_next_load():
    async def test():
        async with stage() as s:
            await s.press("f")
            assert {"log"} == panels(s) & {"log", "ledger"}
            await s.press("b")
            assert {"ledger"} == panels(s) & {"log", "ledger"}
            assert s.screen.ledger.shown_request is not None
            await s.press("colon")
            await s.type("load mlp seed=1")
            await s.press("enter")
            assert {"log"} == panels(s) & {"log", "ledger"}

    run(test)


def test_what_is_remembered_is_read_again_and_without_a_file_nothing_is():
    assert read_preferences(preferences_path()) == (Preferences(), "")
    preferences = Preferences("train", "light", {"train roomy": {"why": 7, "|0": 50}})
    save_preferences(preferences)
    assert read_preferences(preferences_path()) == (preferences, "")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"layout": 3}', '{"sizes": {"a": {"b": "c"}}}', "\udcff", "null"])
def test_a_damaged_file_is_ignored_with_a_word(text):
    preferences_path().parent.mkdir(parents=True)
    preferences_path().write_text(text, encoding="utf-8", errors="surrogateescape")
    preferences, wrong = read_preferences(preferences_path())
    assert preferences == Preferences()
    assert "screen.json is damaged" in wrong


def test_what_another_version_wrote_is_taken_as_far_as_it_is_known():
    preferences_path().parent.mkdir(parents=True)
    text = '{"layout": "fancy", "theme": "light", "fonts": [1], "sizes": {"train roomy": {"why": -3, "log": 9}}}'
    preferences_path().write_text(text, encoding="utf-8")
    assert read_preferences(preferences_path()) == (Preferences("", "light", {"train roomy": {"log": 9}}), "")


def test_a_place_that_cannot_be_written_to_spoils_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    save_preferences(Preferences("train"))
    preferences, wrong = read_preferences(preferences_path())
    assert preferences == Preferences()
    assert "default layout" in wrong


def test_pictures_go_by_what_they_are_told_and_not_by_what_is_remembered(tmp_path):
    session = FakeSession(loaded=True)
    draw(session, tmp_path / "one.svg")
    save_preferences(Preferences("train", "light", {"inspect roomy": {"why": 12}}))
    draw(session, tmp_path / "two.svg")
    draw(session, tmp_path / "three.svg", layout="train", theme="light")
    one, two, three = ((tmp_path / f"{name}.svg").read_text("utf-8") for name in ("one", "two", "three"))
    assert one == two
    assert "Optimizer" in three
    assert THEMES["light"].grounds["panel"] in three.lower()
    assert THEMES["light"].grounds["panel"] not in one.lower()


def test_the_command_line_names_them_all():
    assert tuple(LAYOUTS) == arguments.LAYOUTS
    assert tuple(THEMES) == arguments.THEMES


def test_a_replay_draws_the_layout_and_the_theme_that_it_is_told(tmp_path):
    script = tmp_path / "a.steps"
    script.write_text("load linear seed=0\nforward\n")
    save_preferences(Preferences("train", "high-contrast"))
    out = tmp_path / "out.svg"
    arguments = ["replay", str(script), "--screenshot", str(out)]
    assert cli.main(arguments) == 0
    assert "by&#160;forward" not in out.read_text("utf-8")  # Loss, which learn has not
    assert THEMES["dark"].grounds["panel"] in out.read_text("utf-8").lower()
    assert cli.main([*arguments, "--layout", "train", "--theme", "light"]) == 0
    assert "by&#160;forward" in out.read_text("utf-8")
    assert THEMES["light"].grounds["panel"] in out.read_text("utf-8").lower()


@pytest.mark.parametrize("wrong", [["--layout", "fancy"], ["--theme", "pink"], ["--layout"]])
def test_a_layout_or_a_theme_that_there_is_not_is_told_before_anything_starts(wrong, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["mlp", *wrong])
    assert end.value.code == 2
    assert wrong[0] in capsys.readouterr().err
