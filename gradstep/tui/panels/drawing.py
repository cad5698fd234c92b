"""What a panel's draw function returns, and the pieces that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gradstep.tui.lines import Line, Row, text_line, wrap

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


def empty(width: int, height: int, *sentences: str, about: str = "") -> Drawing:
    """Draw a panel that has nothing to show yet: what to press, and what that would do."""
    lines = [line for text in sentences for line in paragraph(text, width, "dim")]
    return Drawing(about, lines[: max(height, 0)])


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


def foot(say: Callable[[int], str], above: int, below: int, width: int) -> Line:
    """Return the row below those that are seen: more of the one under the cursor, and how many are out of sight.

    Args:
        say: says more in as many cells as it is given.
        above: rows out of sight above.
        below: rows out of sight below.
        width: cells of the row.
    """
    beyond = "  ".join([f"↑ {above:,} more"] * bool(above) + [f"↓ {below:,} more"] * bool(below))
    said = say(max(0, width - GUTTER - 1 - (len(beyond) + 2 if beyond else 0)))
    return Row(width).left(GUTTER, said, "dim").right(width - 1, beyond, "dim").line()


def widest(texts: Sequence[str], least: int = 0) -> int:
    """Return the width of the widest of plain single-cell texts, at least `least`."""
    return max([least, *map(len, texts)])
