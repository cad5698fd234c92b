"""Every text can be read in every theme, and NO_COLOR has none."""

from __future__ import annotations

import pytest
from rich.color import Color

from gradstep.tui import tones
from gradstep.tui.tones import GROUNDS, HEAT, THEMES, style

TONES = [*tones.DARK.hues, *(f"heat:{level}" for level in range(-HEAT, HEAT + 1))]
LEAST = {"dark": 4.5, "light": 4.5, "high-contrast": 7.0}


def luminance(colour: Color) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour.triplet)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(tone: str, ground: str, theme: str) -> float:
    drawn = style(tone, ground, theme)
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
