"""Sanitising strings of the debuggee, and the display width of text."""

from __future__ import annotations

import re
from unicodedata import combining, east_asian_width

_SEQUENCES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
# control characters, line and paragraph separators, and bidirectional and zero-width marks
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def clean(text: str) -> str:
    """Return a string of the debuggee without control sequences and newlines, for one row."""
    if text.isascii() and text.isprintable():
        return text
    return _CONTROLS.sub("", _SEQUENCES.sub("", text).replace("\t", "    ").replace("\n", " "))


def columns(text: str) -> int:
    """Return the columns of a cleaned text in a monospaced font (Unicode annex 11)."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)
