"""The drawing of a panel, and helpers that draw functions share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gradstep.tui.render.lines import Line, Row, text_line, wrap

GUTTER = 2
"""Columns at the left of every panel for the mark of the cursor and a space."""


_HEADINGS = {"jtv": "Jᵀ v"}
"""Panels whose title is not derived from their id."""


def heading(panel: str) -> str:
    """Return the title of a panel by its id."""
    return _HEADINGS.get(panel, panel.title())


class Drawing(NamedTuple):
    """The drawn body of a panel and how much of it is hidden."""

    about: str
    """The subtitle, at the right of the title row."""
    lines: list[Line]
    rows: int = 0
    """Number of rows to scroll through, visible or not."""
    first: int = 0
    """How many of them are hidden above."""
    seen: int | None = None
    """How many of them are visible; None for all from `first` on."""
    left: int = 0
    right: int = 0
    """Number of columns hidden at each side."""
    cut: int = 0
    """Number of lines left out that scrolling can't reach: only a larger panel shows them."""

    @property
    def below(self) -> int:
        """Number of rows hidden below."""
        return 0 if self.seen is None else max(0, self.rows - self.first - self.seen)

    def mark(self, larger: str = "", more: str = " more") -> str:
        """Return how much is hidden, and where: `↑ 3 ↓ 9 more`; empty when everything is visible.

        Args:
            larger: the key that enlarges the panel; empty for none.
            more: the word after the numbers.
        """
        sides = (("↑", self.first), ("↓", self.below), ("←", self.left), ("→", self.right))
        hidden = " ".join(f"{arrow} {count:,}" for arrow, count in sides if count > 0)
        key = f": {larger}" if larger else ""
        lines = f"{self.cut} more line{'s' if self.cut > 1 else ''}{key}" if self.cut > 0 else ""
        return "  ".join(filter(None, [hidden + more if hidden else "", lines]))


def drawing_of(about: str, lines: list[Line], height: int, cut: int = 0) -> Drawing:
    """Return a drawing that does not scroll, cut to `height` rows; `cut` lines were left out already."""
    kept = lines[: max(height, 0)]
    return Drawing(about, kept, cut=cut + len(lines) - len(kept))


def empty(width: int, height: int, *sentences: str, about: str = "") -> Drawing:
    """Return the drawing of an empty panel: sentences on what to press, and what that does."""
    return drawing_of(about, [line for text in sentences for line in paragraph(text, width, "dim")], height)


def paragraph(text: str, width: int, tone: str = "text", indent: int = GUTTER) -> list[Line]:
    """Return text as rows, wrapped at spaces."""
    return [text_line(part, width, tone, indent) for part in wrap(text, max(1, width - indent - 1))]


def cursor(row: Row, here: bool) -> Row:
    """Append the mark of the cursor if the cursor is on this row."""
    return row.add("▶", "now") if here else row


def unknown(width: int, here: bool) -> Line:
    """Return a row that has not arrived yet."""
    return cursor(Row(width, here), here).left(GUTTER + 1, "…", "dim").line()


def window(total: int, first: int, height: int) -> tuple[int, int]:
    """Return the half-open range of visible rows, `first` adjusted so that the window is full."""
    first = max(0, min(first, total - height))
    return first, min(total, first + max(0, height))


def window_with(total: int, first: int, height: int, at: int) -> tuple[int, int]:
    """Return the range of visible rows like `window`, scrolled to include row `at`."""
    first, _ = window(total, first, height)
    return window(total, max(min(first, at), at - height + 1) if at >= 0 else first, height)


def widest(texts: Sequence[str], least: int = 0) -> int:
    """Return the width of the widest of plain single-cell texts, at least `least`."""
    return max([least, *map(len, texts)])
