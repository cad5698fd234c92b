"""The panel *Findings*: what the checks have found, each with its evidence and what to write instead."""

from __future__ import annotations

from gradstep.tui.panels.actions import Actions
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.drawing import GUTTER, Drawing, cursor, empty, paragraph, widest, window
from gradstep.tui.render.lines import Line, Row, clean, fit
from gradstep.values import numbers
from gradstep.values.findings import Finding
from gradstep.values.views import Request
from gradstep.values.views.findings import FindingsView, LookFindings

MARKS = {"error": ("✗", "bad"), "warning": ("!", "now"), "hint": ("·", "dim")}
"""The mark of each severity and its tone."""


def draw(view: FindingsView | None, width: int, height: int, first: int = 0, at: int = -1) -> Drawing:
    """Draw the list from its row `first` on, and below it the finding under the cursor, `at`, in full."""
    if view is None or not view.rows:
        rules = 0 if view is None else view.rules - len(view.off)
        watched = f"{rules} checks watch the loop while it is stepped." if rules else ""
        return empty(
            width, height, "No findings.", watched, "`gradstep checks` lists them, :check off RULE silences one."
        )
    rows = view.rows
    here = rows[at] if 0 <= at < len(rows) else None
    detail = [] if here is None else _detail(here, width)
    room = max(1, min(len(rows), max(height - len(detail), height // 3)))
    start, end = window(len(rows), first, room)
    names = widest([row.rule for row in rows], 1)
    lines = [_line(row, width, names, place == at) for place, row in enumerate(rows[start:end], start)]
    counts = [f"{numbers.count(n, name)}" for name in MARKS if (n := sum(row.severity == name for row in rows))]
    about = ", ".join(counts) + (f", {len(view.off)} rules off" if view.off else "")
    whole = lines + detail
    kept = whole[: max(height, 0)]
    return Drawing(about, kept, len(rows), start, end - start, cut=len(whole) - len(kept))


def _line(row: Finding, width: int, names: int, here: bool) -> Line:
    drawn = cursor(Row(width, here), here)
    drawn.left(GUTTER, *MARKS[row.severity])
    drawn.left(GUTTER + 2, row.rule, "bright" if row.severity == "error" else "text")
    seen = f"iteration {row.first}" if row.count == 1 else f"iterations {row.first}–{row.last}, {row.count}×"
    where = clean(row.where.words)
    if width - GUTTER - 4 - len(row.rule) - len(seen) < 3:
        seen = f"{row.first}–{row.last}" if row.count > 1 else f"{row.first}"
    room = width - GUTTER - 2 - names - 2 - len(seen) - 3
    if where and room > 8:
        drawn.left(GUTTER + 4 + names, fit(where, room), "dim")
    return drawn.right(width - 1, seen, "dim").line()


def _detail(row: Finding, width: int) -> list[Line]:
    lines = [Row(width).line()]
    for text, tone in ((row.what, "bright"), (row.why, "text"), (row.remedy, "good")):
        lines += paragraph(clean(text), width, tone)
    return lines


class FindingsPanel(Panel[FindingsView]):
    """The list of findings, with a cursor; the one under it is shown in full."""

    title = "Findings"
    help_text = (
        "What the checks have found: an error ✗ is wrong for certain, a warning ! very likely, a hint · worth a look. "
        "Each is listed once, with the iterations in which it was seen; the one under the cursor says what was seen, "
        "why it is wrong, and what to write instead. {choose} goes to the parameter, node or line."
    )
    shows = FindingsView

    def __init__(self) -> None:
        super().__init__("findings")
        self.at = 0

    @property
    def timeless(self) -> bool:
        """Always True: the panel is about the whole session."""
        return True

    @property
    def here(self) -> Finding | None:
        """The finding under the cursor; None for none."""
        rows = self.view.rows if self.view is not None else ()
        return rows[self.at] if 0 <= self.at < len(rows) else None

    def press(self, key: str, actions: Actions) -> bool:
        """Go to where the finding under the cursor is."""
        if self.here is None or key not in ("choose", "natural"):
            return False
        where = self.here.where
        if where.parameter:
            actions.select(where.parameter)
        elif where.node >= 0:
            actions.go_to_node(where.node)
        if where.file and where.panel in ("", "source"):
            actions.go_to_line(where.file, where.line)
        elif where.panel:
            actions.focus(where.panel)
        return True

    def request(self) -> Request:
        """Return the request for the findings."""
        return LookFindings()

    def update(self, view: FindingsView, before: FindingsView | None) -> None:
        """Keep the cursor on its finding."""
        rows = [(row.rule, row.where) for row in view.rows]
        old = None if before is None or not before.rows else before.rows[min(self.at, len(before.rows) - 1)]
        if old is not None and (old.rule, old.where) in rows:
            self.at = rows.index((old.rule, old.where))
        self.at = max(0, min(self.at, len(rows) - 1))
        self._reveal()

    @property
    def cache_key(self) -> object:
        """The cursor position."""
        return self.at

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        return draw(self.view, width, height, self.first, self.at)

    def move(self, rows: int) -> None:
        """Move the cursor."""
        count = len(self.view.rows) if self.view is not None else 0
        self.at = max(0, min(self.at + rows, count - 1))
        self._reveal()

    def click_row(self, row: int) -> None:
        """Move the cursor to the row."""
        if self.view is not None and 0 <= row + self.first < len(self.view.rows):
            self.at = row + self.first

    def resized(self) -> None:
        """Scroll the cursor into view."""
        self._reveal()

    def _reveal(self) -> None:
        room = max(1, self.body // 3)
        self.first = max(min(self.first, self.at), self.at - room + 1, 0)
