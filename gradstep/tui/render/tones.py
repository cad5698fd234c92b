"""The colours of the screen: the tones by name, in each theme and for NO_COLOR.

Text has a contrast of at least 4.5:1 against every background it is used on, and of 7:1 in the high-contrast theme
(WCAG 2.2, 1.4.3 and 1.4.6); `line` is only for lanes and axes, and has 3:1 (1.4.11). Negative is blue and positive is
orange in all themes, which colour-blind people can distinguish.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from rich.style import Style

GROUNDS = ("screen", "panel", "title", "here")
"""The backgrounds: between panels, in them, in their title rows, and under a cursor."""

HEAT = 7
"""Shades of a heat map on each side of 0: there is a tone `heat:N` for each N from -7 to 7."""


class Theme(NamedTuple):
    """The colours of one theme."""

    grounds: dict[str, str]
    hues: dict[str, str]
    """The colour of each tone."""
    block: str
    """The background of the current phase."""
    dark: bool = True
    cyan: str = "#5fd0d8"
    """For a script's output, whose other colours are `hues`."""
    cold: str = ""
    """The background of the most negative cell of a heat map; `hot` is that of the most positive."""
    hot: str = ""


ATTRIBUTES = {"bright": "bold", "key": "bold", "now": "bold", "bad": "bold", "block": "bold", "code": "bold"}
ATTRIBUTES |= {"odd": "reverse bold"}

DARK = Theme(
    grounds={"screen": "#14161b", "panel": "#1b1e25", "title": "#2b303b", "here": "#363d4b"},
    hues={
        "text": "#dde1e8",
        "bright": "#f4f6fa",
        "dim": "#a8b0be",
        "line": "#848c9a",
        "key": "#f4f6fa",
        "now": "#d59bf0",
        "good": "#93cf6c",
        "bad": "#ff8f86",
        "negative": "#7ab6fa",
        "positive": "#eda36b",
        "odd": "#f4f6fa",
        "block": "#ffffff",
        "code": "#dde1e8",
    },
    block="#8a4fb0",
    cold="#1c4f94",
    hot="#8a4710",
)

LIGHT = Theme(
    grounds={"screen": "#e4e7ed", "panel": "#f6f7f9", "title": "#d3d9e3", "here": "#c6d2e6"},
    hues={
        "text": "#23272f",
        "bright": "#0b0d11",
        "dim": "#525967",
        "line": "#69717f",
        "key": "#0b0d11",
        "now": "#6d1fa0",
        "good": "#225c0c",
        "bad": "#9c1212",
        "negative": "#0a4ea6",
        "positive": "#853d00",
        "odd": "#0b0d11",
        "block": "#ffffff",
        "code": "#23272f",
    },
    block="#7a35a8",
    dark=False,
    cyan="#0a5560",
    cold="#9cc5f7",
    hot="#f7b98b",
)

CONTRAST = Theme(
    grounds={"screen": "#000000", "panel": "#0a0a0a", "title": "#2c2c2c", "here": "#12355c"},
    hues={
        "text": "#ffffff",
        "bright": "#ffffff",
        "dim": "#d6d6d6",
        "line": "#a6a6a6",
        "key": "#ffffff",
        "now": "#f3bcff",
        "good": "#93f070",
        "bad": "#ffb3ab",
        "negative": "#9bd0ff",
        "positive": "#ffbf85",
        "odd": "#ffffff",
        "block": "#000000",
        "code": "#ffffff",
    },
    block="#f3bcff",
    cyan="#8af0f7",
    cold="#0f4486",
    hot="#6e3405",
)

THEMES: dict[str, Theme] = {"dark": DARK, "light": LIGHT, "high-contrast": CONTRAST}
"""The themes, in the order of the key that cycles through them."""

PLAIN = "plain"
"""The theme without colours, for NO_COLOR."""
_PLAIN_ATTRIBUTES = {"line": "dim", "block": "reverse bold", "bad": "bold", "now": "bold"}
_PLAIN_GROUNDS = {"title": "underline", "here": "bold"}


@lru_cache(maxsize=4096)
def style(tone: str, ground: str, theme: str = "dark") -> Style:
    """Return the style of a tone on a background; without colours it is bold, underline and reverse.

    Besides those that a theme names, there are three families of tones. Output of a script:
    `ansi:FOREGROUND:BACKGROUND:ATTRIBUTES`, with the colours of pyte. Two grey pixels in one cell, from 0 (black) to 15
    (white): `pixel:15:0`, or `pixel:15:` with the background as the lower one. Text on a cell of a heat map: `heat:-7`
    to `heat:7`, with the background of the panel at `heat:0`; text in `solid:7` has the colour of its cell, and can be
    read only without colours.
    """
    family, _, levels = tone.partition(":")
    if family == "ansi":
        front, back, attributes = levels.split(":")
        return _ansi(front, back, attributes, ground, theme)
    if theme == PLAIN:
        attributes = _PLAIN_ATTRIBUTES.get(tone, ATTRIBUTES.get(tone, ""))
        parts = f"{attributes} {_PLAIN_GROUNDS.get(ground, '')}".split()
        return Style.parse(" ".join(dict.fromkeys(parts)) or "none")
    chosen = THEMES[theme]
    behind = chosen.grounds[ground]
    if family == "pixel":
        upper, _, lower = levels.partition(":")
        return Style.parse(f"{_grey(upper)} on {_grey(lower) if lower else behind}")
    if family in ("heat", "solid"):
        level = int(levels)
        patch = _mixed(behind, chosen.hot if level > 0 else chosen.cold, level)
        return Style.parse(f"{chosen.hues['bright'] if family == 'heat' else patch} on {patch}")
    return Style.parse(
        f"{ATTRIBUTES.get(tone, '')} {chosen.hues[tone]} on {chosen.block if tone == 'block' else behind}"
    )


_ANSI = {"red": "bad", "green": "good", "brown": "positive", "yellow": "positive", "blue": "negative", "magenta": "now"}
_READABLE = 4.5
"""The least contrast of what a script prints on a colour of its own choice."""
_ATTRIBUTES = {"b": "bold", "i": "italic", "u": "underline", "s": "strike", "r": "reverse", "k": "bold"}


def _ansi(front: str, back: str, attributes: str, ground: str, theme: str) -> Style:
    """Return the style of text that a script printed, in colours of the theme that can be read on each other."""
    words = " ".join(dict.fromkeys(_ATTRIBUTES[each] for each in attributes))
    if theme == PLAIN:
        return Style.parse(words or "none")
    chosen = THEMES[theme]
    behind = chosen.grounds[ground]
    opposite = front.removeprefix("bright") == ("black" if chosen.dark else "white")
    paper = behind if back == "default" else _colour(back, chosen, paper=True)
    if back.removeprefix("bright") in {*_ANSI, "cyan"} and not opposite:
        paper = _mixed(behind, paper, 3)
    ink = _colour(front, chosen)
    if back != "default" and _contrast(ink, paper) < _READABLE:
        ink = max(behind, chosen.hues["bright"], key=lambda colour: _contrast(colour, paper))
    return Style.parse(f"{words} {ink} on {paper}")


def _colour(name: str, theme: Theme, paper: bool = False) -> str:
    """Return a colour by its name in pyte: one of eight, `bright` before it or not, or six hexadecimal digits."""
    base = name.removeprefix("bright")
    if base in ("default", "white", "black"):
        faint = base != "default" and (base == "black") == theme.dark
        if paper:
            return theme.grounds["screen"] if faint else theme.hues["text"]
        return theme.hues["dim" if faint else "text"]
    if base == "cyan":
        return theme.cyan
    return theme.hues[_ANSI[base]] if base in _ANSI else f"#{base}"


def _contrast(one: str, other: str) -> float:
    """Return the contrast of two colours (WCAG 2.2, 1.4.3)."""
    low, high = sorted(map(_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in channels(colour))]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def _grey(level: str) -> str:
    return "#" + f"{int(level) * 17:02x}" * 3


def _mixed(ground: str, end: str, level: int) -> str:
    """Return the blend of two colours, `abs(level)` of `HEAT` parts of the second."""
    pairs = zip(channels(ground), channels(end), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * min(abs(level), HEAT) / HEAT):02x}" for a, b in pairs)


def channels(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue of `#rrggbb`, 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
