"""Every text can be read in every theme, and NO_COLOR has none."""

from __future__ import annotations

import asyncio

import pytest
from rich.color import Color
from rich.style import Style
from stage import stage
from textual.command import CommandList

from gradstep.tui.layout.layouts import LAYOUTS, PANELS
from gradstep.tui.layout.preferences import Appearance
from gradstep.tui.render import tones
from gradstep.tui.render.tones import GROUNDS, HEAT, THEMES, style

TONES = [*tones.DARK.hues, *(f"heat:{level}" for level in range(-HEAT, HEAT + 1))]
ANSI = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white")
LEAST = {"dark": 4.5, "light": 4.5, "high-contrast": 7.0}


def luminance(colour: Color) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour.triplet)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(tone: str, ground: str, theme: str) -> float:
    return contrast_of(style(tone, ground, theme))


def contrast_of(drawn: Style) -> float:
    high, low = sorted((luminance(drawn.color), luminance(drawn.bgcolor)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_every_theme_names_every_tone_and_ground():
    for theme in THEMES.values():
        assert set(theme.hues) == set(tones.DARK.hues)
        assert set(theme.grounds) == set(GROUNDS)
    assert set(LEAST) == set(THEMES)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("ground", GROUNDS)
def test_text_can_be_read_on_every_ground(theme, ground):
    low = {tone: contrast(tone, ground, theme) for tone in TONES if tone != "line"}
    assert {tone: ratio for tone, ratio in low.items() if ratio < LEAST[theme]} == {}
    assert contrast("line", ground, theme) >= 3


@pytest.mark.parametrize("theme", THEMES)
def test_what_a_script_prints_can_be_read_in_every_pair_of_colours(theme):
    names = ["default", *(f"{bright}{name}" for bright in ("", "bright") for name in ANSI)]
    pairs = [f"ansi:{front}:{back}:b" for front in names for back in names]
    assert {pair: ratio for pair in pairs if (ratio := contrast(pair, "panel", theme)) < 4.5} == {}
    assert contrast("ansi:c0c0c0:000080:", "panel", theme) > 4.5


@pytest.mark.parametrize("theme", THEMES)
def test_below_zero_is_blue_and_above_it_orange(theme):
    for cold, hot in (("negative", "positive"), (f"heat:{-HEAT}", f"heat:{HEAT}")):
        below, above = style(cold, "panel", theme), style(hot, "panel", theme)
        blue = (below.bgcolor if cold.startswith("heat") else below.color).triplet
        orange = (above.bgcolor if hot.startswith("heat") else above.color).triplet
        assert blue.blue > blue.red
        assert orange.red > orange.green > orange.blue


@pytest.mark.parametrize("theme", THEMES)
def test_a_heat_map_is_deeper_the_further_from_zero(theme):
    for sign in (-1, 1):
        depths = [luminance(style(f"heat:{sign * level}", "panel", theme).bgcolor) for level in range(HEAT + 1)]
        assert depths == sorted(depths, reverse=not THEMES[theme].dark)
        assert len(set(depths)) == HEAT + 1


def test_without_colour_there_is_none_and_marks_stay():
    for tone in [*TONES, "pixel:3:4"]:
        for ground in GROUNDS:
            drawn = style(tone, ground, tones.PLAIN)
            assert drawn.color is None
            assert drawn.bgcolor is None
    assert style("block", "screen", tones.PLAIN).reverse
    assert style("odd", "panel", tones.PLAIN).reverse
    assert style("text", "here", tones.PLAIN).bold
    assert style("text", "title", tones.PLAIN).underline


def pale(s, theme: str, first: int = 0, last: int = 1000) -> set[tuple[str, str]]:
    """Return the words on some rows of the screen that are too pale to be read, with how they are drawn."""
    rows = list(s.app.screen._compositor.render_strips())[first:last]
    words = [segment for row in rows for segment in row if any(map(str.isalnum, segment.text))]
    assert words
    return {
        (word.text, str(word.style))
        for word in words
        if word.style is None or word.style.dim or contrast_of(word.style) < LEAST[theme]
    }


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
def test_all_that_is_on_the_screen_can_be_read(theme, size):
    async def test():
        async with stage(size=size, appearance=Appearance(theme=theme)) as s:
            await s.press("f", "b", "s", "f", "b")
            for layout in LAYOUTS:
                s.screen.layouts.choose_layout(layout)
                for name in PANELS:
                    s.screen.panel_keys.focus(name)
                    await s.idle()
                    assert pale(s, theme) == set()
            await s.press("b")  # a problem, with a traceback
            await s.press("t")
            assert pale(s, theme) == set()
            await s.press("colon")
            await s.type("show 2.")
            await s.press("tab")
            assert pale(s, theme) == set()
            await s.press("escape", "question_mark")
            assert pale(s, theme) == set()
            await s.press("escape", "ctrl+p")
            await s.type("b")
            await s.until(lambda: "backward" in s.text() and s.app.screen.query_one(CommandList).highlighted == 0)
            await s.press("down")
            # the board behind the palette is faded on purpose
            found = s.app.screen.query_one(CommandList).region
            assert pale(s, theme, found.y, found.bottom) == set()

    asyncio.run(asyncio.wait_for(test(), 60))
