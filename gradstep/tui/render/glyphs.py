"""ASCII replacements of the same width for all glyphs, for terminals and fonts that lack them."""

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
"""The CSS class of an app that draws in ASCII only."""
_OLD_TERMINALS = ("linux", "vt", "ansi", "cons", "sun")
"""Prefixes of TERM for terminals that lack these glyphs; the font of the Linux console holds 512."""

_PAIRS = r"""
−- –- ·. …~ ×x ÷/ →> ←< ↑^ ↓v ′' ∞I √V ✓v ✗x ⚠! ▶> ▸> ◂< ▲^ ▼v ▴^ ▾v ●@ •o ∙. ○o ◆* ◇+ ▌# ▐# ▀" ▄_ ■# □.
│| ┃| ║| ─- ━= ═= ┌+ ┐+ └` ┘+ ├+ ┤+ ┬+ ┴+ ┼+ ╭. ╮. ╰` ╯' ╱/ ╲\ ╳X ┊: ┆: ╌- ┄-
▁. ▂: ▃- ▅+ ▆* ▇% █# ▏: ▎: ▍# ▋# ▊# ▉# ◉B ◌b ⊙* ΣS ░. ▒+ ▓%
αa βB γy δd εe ηn θO λl μu πp σs τt
"""
REPLACEMENTS: dict[str, str] = {pair[0]: pair[1] for pair in _PAIRS.split()}
"""Glyphs without an ASCII decomposition; letters with accents, superscripts and subscripts have one."""

_UPPER, _LOWER = 0x01 | 0x02 | 0x08 | 0x10, 0x04 | 0x20 | 0x40 | 0x80
"""The dots in the upper and in the lower half of a braille glyph."""


@lru_cache(maxsize=4096)
def ascii_of(text: str) -> str:
    """Return a text in ASCII of the same width in cells."""
    if text.isascii():
        return text
    cells = cell_len(text)
    # a grapheme of several code points has another width than their sum
    return "".join(map(_replacement, text))[:cells].ljust(cells, "?")


def _replacement(glyph: str) -> str:
    if glyph.isascii():
        return glyph
    if found := REPLACEMENTS.get(glyph):
        return found
    if 0x2800 <= ord(glyph) < 0x2900:
        dots = ord(glyph) - 0x2800
        return {(False, False): " ", (True, False): "'", (False, True): ".", (True, True): ":"}[
            bool(dots & _UPPER), bool(dots & _LOWER)
        ]
    cells = cell_len(glyph)
    decomposed = "".join(filter(str.isascii, unicodedata.normalize("NFKD", glyph)))
    return decomposed if len(decomposed) == cells else "?" * cells


def wants_ascii(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the terminal can only show ASCII: an old terminal, or a locale that is not UTF-8."""
    if environment.get("TERM", "").startswith(_OLD_TERMINALS):
        return True
    names = (environment.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    locale = next(filter(None, names), "")
    return bool(locale) and "utf8" not in locale.lower().replace("-", "")


class AsciiFilter(LineFilter):
    """Replaces the glyphs of Textual's own widgets by ASCII."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        """Return the segments in ASCII."""
        return [Segment(ascii_of(text), style, control) for text, style, control in segments]
