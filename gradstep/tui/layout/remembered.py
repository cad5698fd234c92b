"""What the screen remembers between runs: the layout and the theme that were chosen, and the sizes of panels."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from gradstep.steps.record import last_path
from gradstep.tui.layout.layouts import LAYOUTS
from gradstep.tui.render.tones import THEMES
from gradstep.values.files import write_text


class Taste(msgspec.Struct, frozen=True):
    """What a user chose; empty for what was never chosen."""

    layout: str = ""
    theme: str = ""
    sizes: dict[str, dict[str, int]] = {}
    """For each layout and size class (`learn roomy`), what `Wish.sizes` holds."""


class Look(NamedTuple):
    """How the screen looks at first."""

    layout: str = "inspect"
    theme: str = "dark"
    ascii_only: bool = False
    """True for a terminal that has no other glyphs."""
    taste: Taste = Taste()
    """What was chosen before."""
    kept: Callable[[Taste], None] = lambda _: None
    """Told of it when something else is chosen."""


def taste_path() -> Path:
    """Return where it is remembered: `gradstep/screen.json`, beside the last session."""
    return last_path().with_name("screen.json")


def read_taste(path: Path) -> tuple[Taste, str]:
    """Return what is remembered, and what is wrong with the file, if anything: a damaged one is as good as none."""
    try:
        taste = msgspec.json.decode(path.read_bytes(), type=Taste)
    except FileNotFoundError:
        return Taste(), ""
    except OSError as error:
        return Taste(), f"{path}: {error.strerror}: layout, theme and sizes are as they come"
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Taste(), f"{path} is damaged: layout, theme and sizes are as they come"
    sizes = {
        name: {key: cells for key, cells in own.items() if 0 < cells < 10_000} for name, own in taste.sizes.items()
    }
    layout = taste.layout if taste.layout in LAYOUTS else ""
    return Taste(layout, taste.theme if taste.theme in THEMES else "", sizes), ""


def keep_taste(taste: Taste) -> None:
    """Remember it. A home that can't be written to must not spoil a session."""
    with suppress(OSError):
        write_text(taste_path(), msgspec.json.format(msgspec.json.encode(taste)).decode() + "\n", folders=True)
