"""What a panel's draw function returns, and the pieces that all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gradstep.tui.render.lines import Line, Row, text_line, wrap

GUTTER = 2
"""Columns kept free at the left of every panel, for the cursor's mark and a space."""


_HEADINGS = {"jtv": "Jᵀ v"}
"""What panels are called whose id is not their name."""


def heading(panel: str) -> str:
    """Return what a panel is called, from its id."""
    return _HEADINGS.get(panel, panel.title())


class Drawing(NamedTuple):
    """A panel drawn: the right side of its title, and one line for each of its visible rows."""

    about: str
    lines: list[Line]
    rows: int = 0
    """How many rows there are to scroll through, seen or not."""
    first: int = 0
    """How many of them are out of sight above."""
    seen: int | None = None
    """How many of them are seen; None for all that follow the first."""
    left: int = 0
    right: int = 0
    """How many columns are out of sight at each side."""
    cut: int = 0
    """Lines that no scrolling brings: a larger panel has them."""

    @property
    def below(self) -> int:
        """Return how many rows are out of sight below."""
        return 0 if self.seen is None else max(0, self.rows - self.first - self.seen)

    def mark(self, larger: str = "", more: str = " more") -> str:
        """Return how much is out of sight, and where: `↑ 3 ↓ 9 more`; empty when everything is seen.

        Args:
            larger: the key that makes the panel larger; empty when nothing does.
            more: what follows the numbers.
        """
        sides = (("↑", self.first), ("↓", self.below), ("←", self.left), ("→", self.right))
        hidden = " ".join(f"{arrow} {count:,}" for arrow, count in sides if count > 0)
        key = f": {larger}" if larger else ""
        parts = [hidden + more if hidden else "", f"{self.cut} more lines{key}" if self.cut > 0 else ""]
        return "  ".join(filter(None, parts))


def drawing_of(about: str, lines: list[Line], height: int, cut: int = 0) -> Drawing:
    """Return the drawing of lines that can't be scrolled, cut to `height` rows; `cut` lines were left out before."""
    kept = lines[: max(height, 0)]
    return Drawing(about, kept, cut=cut + len(lines) - len(kept))


def empty(width: int, height: int, *sentences: str, about: str = "") -> Drawing:
    """Draw a panel that has nothing to show yet: what to press, and what that would do."""
    return drawing_of(about, [line for text in sentences for line in paragraph(text, width, "dim")], height)


def paragraph(text: str, width: int, tone: str = "text", indent: int = GUTTER) -> list[Line]:
    """Return text as rows, broken at spaces."""
    return [text_line(part, width, tone, indent) for part in wrap(text, max(1, width - indent - 1))]


def cursor(row: Row, here: bool) -> Row:
    """Begin a row with the cursor's mark when the cursor is on it."""
    return row.add("▶", "now") if here else row


def window(total: int, first: int, height: int) -> tuple[int, int]:
    """Return the first and the last-but-one row that are visible, `first` moved so that the window is full."""
    first = max(0, min(first, total - height))
    return first, min(total, first + max(0, height))


def window_with(total: int, first: int, height: int, at: int) -> tuple[int, int]:
    """Return the rows that are visible, like `window`, moved as far as it takes to have row `at` among them."""
    first, _ = window(total, first, height)
    return window(total, max(min(first, at), at - height + 1) if at >= 0 else first, height)


def widest(texts: Sequence[str], least: int = 0) -> int:
    """Return the width of the widest of plain single-cell texts, at least `least`."""
    return max([least, *map(len, texts)])
