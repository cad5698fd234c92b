"""A stand-in of one cell in ASCII for every glyph, for terminals and fonts that have no others."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from gradstep.tui.render.lines import cell_len

ASCII = "-ascii"
"""The class of an app that draws with nothing else."""
_OLD_TERMINALS = ("linux", "vt", "ansi", "cons", "sun")
"""How the names of terminals begin whose fonts lack what is drawn here; the console of Linux holds 512 glyphs."""

_PAIRS = r"""
−- –- ·. …~ ×x ÷/ →> ←< ↑^ ↓v ′' ∞I √V ✓v ✗x ⚠! ▶> ▸> ◂< ▲^ ▼v ▴^ ▾v ●@ •o ∙. ○o ◆* ◇+ ▌# ▐# ▀" ▄_ ■# □.
│| ┃| ║| ─- ━= ═= ┌+ ┐+ └` ┘+ ├+ ┤+ ┬+ ┴+ ┼+ ╭. ╮. ╰` ╯' ╱/ ╲\ ╳X ┊: ┆: ╌- ┄-
▁. ▂: ▃- ▅+ ▆* ▇% █# ▏: ▎: ▍# ▋# ▊# ▉# ◉B ◌b ⊙* ΣS ░. ▒+ ▓%
αa βB γy δd εe ηn θO λl μu πp σs τt
"""
STAND_INS: dict[str, str] = {pair[0]: pair[1] for pair in _PAIRS.split()}
"""What has no likeness of its own in ASCII; letters with marks and the digits above and below the line have one."""

_UPPER, _LOWER = 0x01 | 0x02 | 0x08 | 0x10, 0x04 | 0x20 | 0x40 | 0x80
"""The dots of a braille glyph in its upper half, and in its lower."""


@lru_cache(maxsize=4096)
def ascii_of(text: str) -> str:
    """Return a text in ASCII that takes as many cells."""
    if text.isascii():
        return text
    cells = cell_len(text)
    # some glyphs are made of several letters, and take other cells together than one by one
    return "".join(map(_stand_in, text))[:cells].ljust(cells, "?")


def _stand_in(glyph: str) -> str:
    if glyph.isascii():
        return glyph
    if found := STAND_INS.get(glyph):
        return found
    if 0x2800 <= ord(glyph) < 0x2900:
        dots = ord(glyph) - 0x2800
        return {(False, False): " ", (True, False): "'", (False, True): ".", (True, True): ":"}[
            bool(dots & _UPPER), bool(dots & _LOWER)
        ]
    cells = cell_len(glyph)
    likeness = "".join(filter(str.isascii, unicodedata.normalize("NFKD", glyph)))
    return likeness if len(likeness) == cells else "?" * cells


def wants_ascii(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the terminal has no glyphs but ASCII: an old one, or a locale that is named and is not UTF-8."""
    if environment.get("TERM", "").startswith(_OLD_TERMINALS):
        return True
    names = (environment.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    locale = next(filter(None, names), "")
    return bool(locale) and "utf8" not in locale.lower().replace("-", "")


class AsciiFilter(LineFilter):
    """Puts the stand-ins in place of the glyphs of Textual's own widgets."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        """Return the segments with their stand-ins."""
        return [Segment(ascii_of(text), style, control) for text, style, control in segments]
