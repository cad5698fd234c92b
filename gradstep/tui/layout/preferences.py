"""The preferences that are kept between runs: layout, theme and the sizes of panels."""

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


class Preferences(msgspec.Struct, frozen=True):
    """The choices of the user; a field is empty until a choice is made."""

    layout: str = ""
    theme: str = ""
    sizes: dict[str, dict[str, int]] = {}
    """`LayoutState.sizes` by layout and size class (`learn roomy`)."""


class Appearance(NamedTuple):
    """The initial look of the screen."""

    layout: str = "inspect"
    theme: str = "dark"
    ascii_only: bool = False
    """True for a terminal that can only show ASCII."""
    preferences: Preferences = Preferences()
    """The stored choices."""
    save: Callable[[Preferences], None] = lambda _: None
    """Called with the new preferences when the user changes them."""


def preferences_path() -> Path:
    """Return the path of the preferences file: `screen.json`, next to the record of the last session."""
    return last_path().with_name("screen.json")


def read_preferences(path: Path) -> tuple[Preferences, str]:
    """Return the stored preferences and an error message, empty for none; a damaged file counts as missing."""
    try:
        preferences = msgspec.json.decode(path.read_bytes(), type=Preferences)
    except FileNotFoundError:
        return Preferences(), ""
    except OSError as error:
        return Preferences(), f"{path}: {error.strerror}: using the default layout, theme and sizes"
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Preferences(), f"{path} is damaged: using the default layout, theme and sizes"
    sizes = {
        name: {key: cells for key, cells in own.items() if 0 < cells < 10_000}
        for name, own in preferences.sizes.items()
    }
    layout = preferences.layout if preferences.layout in LAYOUTS else ""
    return Preferences(layout, preferences.theme if preferences.theme in THEMES else "", sizes), ""


def save_preferences(preferences: Preferences) -> None:
    """Store the preferences; a home directory that can't be written to is ignored."""
    with suppress(OSError):
        write_text(
            preferences_path(), msgspec.json.format(msgspec.json.encode(preferences)).decode() + "\n", folders=True
        )
