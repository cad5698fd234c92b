"""Everything that is drawn has a stand-in in ASCII that takes as many cells."""

from __future__ import annotations

import asyncio

import pytest
from fake_session import FakeSession
from hypothesis import example, given
from hypothesis import strategies as st
from stage import stage

from gradstep.steps.language.parse import parse_script
from gradstep.tui.layout.layouts import LAYOUTS, PANELS
from gradstep.tui.layout.preferences import Appearance
from gradstep.tui.render.glyphs import REPLACEMENTS, ascii_of, wants_ascii
from gradstep.tui.render.lines import cell_len, clean


def run(test):
    asyncio.run(asyncio.wait_for(test(), 60))


def test_every_stand_in_is_one_cell_of_ascii():
    for glyph, stand_in in REPLACEMENTS.items():
        assert cell_len(glyph) == len(stand_in) == 1
        assert stand_in.isascii()
        assert stand_in.isprintable()


@given(st.text().map(clean))
@example("👩‍🔬 ❤️ 🏳️‍🌈")
def test_a_text_in_ascii_takes_as_many_cells(text):
    assert ascii_of(text).isascii()
    assert cell_len(ascii_of(text)) == cell_len(text)


def test_letters_with_marks_keep_their_likeness_and_plots_their_height():
    assert ascii_of("ḡ x² Wᵀ β₁") == "g x2 WT B1"
    assert ascii_of("⠉⣀⣿⠀") == "'.: "
    assert ascii_of("模型") == "????"


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({"TERM": "xterm-256color", "LANG": "en_US.UTF-8"}, False),
        ({"TERM": "tmux-256color", "LC_ALL": "C.utf8", "LANG": "C"}, False),
        ({"TERM": "xterm"}, False),
        ({"TERM": "linux", "LANG": "en_US.UTF-8"}, True),
        ({"TERM": "vt220"}, True),
        ({"TERM": "xterm", "LC_ALL": "C", "LANG": "en_US.UTF-8"}, True),
        ({"TERM": "xterm", "LANG": "de_DE.ISO-8859-1"}, True),
        ({"TERM": "xterm", "LC_CTYPE": "en_US.UTF-8", "LANG": "C"}, False),
    ],
)
def test_an_old_terminal_or_a_locale_that_is_not_utf_8_gets_ascii(environment, wanted):
    assert wants_ascii(environment) is wanted


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_every_panel_is_drawn_in_ascii(size):
    async def test():
        script = parse_script("load mlp seed=0\nforward\nbackward\nstep\nforward\n", "a.steps")
        async with stage(
            FakeSession(), size=size, opening=[], script=script, appearance=Appearance(ascii_only=True)
        ) as s:
            await s.press("c")
            seen = set()
            for layout in LAYOUTS:
                s.screen.layouts.choose_layout(layout)
                for name in PANELS:
                    s.screen.panel_keys.focus(name)
                    await s.idle()
                    assert {letter for letter in s.text() if not letter.isascii()} == set()
                    seen |= set(s.screen.placements)
            assert seen >= {*PANELS} - {"output", "stack"}  # which only a script has
            for opens in ("question_mark", "ctrl+p", "colon"):
                await s.press(opens)
                assert {letter for letter in s.text() if not letter.isascii()} == set()
                await s.press("escape")

    run(test)
