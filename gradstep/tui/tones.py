"""The colours of the screen: every tone by name, in colour and for NO_COLOR.

Text keeps a contrast of 4.5:1 or more against every ground it can stand on; `line` is for lanes and axes only.
"""

from __future__ import annotations

from functools import lru_cache

from rich.style import Style

SCREEN = "#14161b"
PANEL = "#1b1e25"
TITLE = "#2b303b"
HERE = "#363d4b"

GROUNDS = {"screen": SCREEN, "panel": PANEL, "title": TITLE, "here": HERE}

ACCENT = "#d59bf0"
"""Means now, and nothing else has it."""
ACCENT_BLOCK = "#8a4fb0"

TONES: dict[str, tuple[str, str]] = {
    # name: (colour, attributes)
    "text": ("#dde1e8", ""),
    "bright": ("#f4f6fa", "bold"),
    "dim": ("#a8b0be", ""),
    "line": ("#78808e", ""),
    "key": ("#f4f6fa", "bold"),
    "now": (ACCENT, "bold"),
    "good": ("#93cf6c", ""),
    "bad": ("#ff8f86", "bold"),
    "negative": ("#7ab6fa", ""),
    "positive": ("#eda36b", ""),
    "odd": ("#f4f6fa", "reverse bold"),
    "block": ("#ffffff", "bold"),
    "code": ("#dde1e8", "bold"),
}

_PLAIN_ATTRIBUTES = {"line": "dim", "block": "reverse bold", "bad": "bold", "now": "bold", "good": ""}
_PLAIN_GROUNDS = {"title": "underline", "here": "bold"}


@lru_cache(maxsize=1024)
def style(tone: str, ground: str, colour: bool = True) -> Style:
    """Return the style of a tone on a ground; without colour, weight, underline and reverse do all the work.

    Beside those in the table there is a tone for two grey pixels, one above the other in a cell: `pixel:15:0`, from
    0 (black) to 15 (white), or `pixel:15:` with the ground below.
    """
    if tone.startswith("pixel:"):
        _, upper, lower = tone.split(":")
        return Style.parse(f"{_grey(upper)} on {_grey(lower) if lower else GROUNDS[ground]}") if colour else Style()
    hue, attributes = TONES[tone]
    if not colour:
        parts = f"{_PLAIN_ATTRIBUTES.get(tone, attributes)} {_PLAIN_GROUNDS.get(ground, '')}".split()
        return Style.parse(" ".join(dict.fromkeys(parts)) or "none")
    behind = ACCENT_BLOCK if tone == "block" else GROUNDS[ground]
    return Style.parse(f"{attributes} {hue} on {behind}")


def _grey(level: str) -> str:
    return "#" + f"{int(level) * 17:02x}" * 3
