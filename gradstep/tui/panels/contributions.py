"""The panel *Contributions*: the gradients that are added up at a node, each with its origin, and their sum."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import PurePath

from gradstep.tui.panels.actions import Actions
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.copying import Copied
from gradstep.tui.render.drawing import GUTTER, Drawing, cursor, empty, paragraph, widest, window
from gradstep.tui.render.lines import Line, Row, clean, fit, fit_middle, text_line
from gradstep.values import numbers
from gradstep.values.views import Request
from gradstep.values.views.contributions import (
    Contribution,
    ContributionsView,
    LookContributions,
    Order,
    Total,
    share_words,
)

_GAP = 2
_LEAST = 3
"""Minimum number of rows, whatever text is below them."""
_FOOT = 7
"""Minimum height for a line on the row under the cursor."""
_BAR = 12
"""Maximum length of a bar on each side of the axis, in cells."""
_TOTALS = 4
"""Maximum number of sums drawn: an operation may have a hundred outputs."""
_USED = {
    True: ("what autograd used, bit for bit", "autograd's, bit for bit", "✓ exact"),
    False: ("NOT what autograd used", "NOT exact"),
}
"""The remark on a sum, by whether the rows add up to it; the longest first."""
_MEANS = (
    "Shares add up to 100%; a negative one opposes the others. Norms do not add up: opposing gradients cancel.",
    "Shares add up to 100%; a negative one opposes the others.",
    "Shares add up to 100%; norms do not.",
)


def draw(view: ContributionsView | None, width: int, height: int, first: int = 0, at: int = -1) -> Drawing:
    """Draw the rows from row `first` on, the cursor on row `at`; below them their sums and facts.

    Rows outside the window of the view are drawn as `…` until they arrive.
    """
    if view is None or not view.count:
        note = "Nothing is loaded yet." if view is None else view.note
        return empty(width, height, clean(note), about=clean(view.about) if view is not None and view.name else "")
    start, end = window(view.count, first, rows_seen(view, width, height))
    columns = _Columns(view, width)
    lines = [columns.header()]
    for place in range(start, end):
        row, here = _row(view, place), place == at
        unknown = cursor(Row(width, here), here).left(GUTTER, "…", "dim")
        lines.append(columns.line(row, here) if row is not None else unknown.line())
    every = _said(view, width)
    said = every[: _room_to_say(view, height)]
    lines += [*(columns.total(total) for total in view.totals[:_TOTALS]), *said]
    if height >= _FOOT:
        chosen = _row(view, at)
        more = describe(chosen, width - GUTTER - 1) if chosen is not None else ""
        lines.append(text_line(more, width, "dim"))
    about = clean(view.about) + (", by share" if view.by == "share" else "")
    return Drawing(about, lines[: max(height, 0)], view.count, start, end - start, cut=len(every) - len(said))


def rows_seen(view: ContributionsView, width: int, height: int) -> int:
    """Return how many rows fit between the header and the lines below."""
    said = min(len(_said(view, width)), _room_to_say(view, height))
    return max(1, height - 1 - len(view.totals[:_TOTALS]) - said - (height >= _FOOT))


def _row(view: ContributionsView, place: int) -> Contribution | None:
    inside = view.first <= place < view.first + len(view.rows)
    return view.rows[place - view.first] if inside else None


def _room_to_say(view: ContributionsView, height: int) -> int:
    """Return how many lines of text fit below the sums."""
    return max(0, height - 1 - len(view.totals[:_TOTALS]) - min(_LEAST, view.count) - (height >= _FOOT))


def _said(view: ContributionsView, width: int) -> list[Line]:
    """Return the lines of text below the sums."""
    said = [line for fact in view.facts for line in paragraph(clean(fact), width, "text" if view.exact else "bad")]
    more = len(view.totals) - _TOTALS
    if more > 0:
        said += [text_line(f"… and {numbers.count(more, 'more sum')}, of other outputs", width, "dim")]
    if view.count > 1:
        said += [text_line(next((t for t in _MEANS if len(t) < width - GUTTER), _MEANS[-1]), width, "dim")]
    return said


def describe(row: Contribution, room: int) -> str:
    """Return a line on a row: node, edge, shape and source line; at most `room` cells."""
    where = f"{PurePath(row.source.file).name}:{row.source.line}  {row.source.text}" if row.source.line else ""
    parts = [f"#{row.number} {row.name}, edge {row.edge}", numbers.shape(row.shape), where]
    return fit("  ".join(clean(part) for part in parts if part), room)


class _Columns:
    """The positions of the columns: share and norm always, then as many others as fit."""

    def __init__(self, view: ContributionsView, width: int) -> None:
        self.view, self.width = view, width
        rows = view.rows
        self.several = len(view.totals) > 1
        self.number = GUTTER + widest([f"#{row.number}" for row in rows], 2)
        shares = widest([share_words(row.share, view.form) for row in rows], 5)
        norms = widest([numbers.norm(norm) for norm in (*(r.norm for r in rows), *(t.norm for t in view.totals))], 4)
        outs = (_GAP + 6) if self.several else 0
        ends = norms + _GAP + shares + 1
        room = width - self.number - _GAP - outs - ends - _GAP
        names = widest([clean(row.operation) for row in rows], 4)
        self.long = [clean(row.use) for row in rows]
        uses, short = widest(self.long, 7), widest([_short(row) for row in rows], 7)
        self.whole = room >= min(names, 12) + _GAP + uses
        uses = uses if self.whole else min(short, max(7, room - 6))
        self.operation = self.number + _GAP
        self.names = max(0, min(names, room - uses - _GAP, max(12, width // 3)))
        self.use = self.operation + self.names + (_GAP if self.names else 0)
        self.uses = uses
        at = self.use + uses
        places = widest([_line(row) for row in rows])
        self.line_at = 0
        if places and at + _GAP + places + outs + ends + _GAP < width:
            self.line_at, at = at + _GAP, at + _GAP + places
        self.out = at + outs if self.several else 0
        self.norm = at + outs + _GAP + norms
        self.share = self.norm + _GAP + shares
        sides = 2 if view.opposed else 1  # without a negative share the axis is at the left
        half = min(_BAR, (width - 2 - self.share - _GAP - 1) // sides)
        self.half = half if half >= 4 and view.count > 1 else 0
        self.centre = self.share + _GAP + (self.half if view.opposed else 0)

    def header(self) -> Line:
        row = Row(self.width).right(self.number, "#", "dim")
        if self.names:
            row.left(self.operation, "from", "dim", self.names)
        row.left(self.use, "made in", "dim", self.uses)
        if self.line_at:
            row.left(self.line_at, "line", "dim")
        if self.several:
            row.right(self.out, "output", "dim")
        return row.right(self.norm, "norm", "dim").right(self.share, "share", "dim").line()

    def line(self, of: Contribution, here: bool) -> Line:
        row = cursor(Row(self.width, here), here).right(self.number, f"#{of.number}", "dim")
        if self.names:
            row.left(self.operation, clean(of.operation), "bright" if here else "text", self.names)
        row.left(self.use, fit_middle(clean(of.use) if self.whole else _short(of), self.uses), "text")
        if self.line_at:
            row.left(self.line_at, _line(of), "dim")
        if self.several:
            row.right(self.out, str(of.output), "dim")
        odd = of.norm is not None and not math.isfinite(of.norm)
        row.right(self.norm, numbers.norm(of.norm), "odd" if odd else "text")
        row.right(self.share, share_words(of.share, self.view.form), numbers.tone_of(of.share))
        if self.half and of.share is not None and math.isfinite(of.share):
            self._bar(row, of.share)
        return row.line()

    def total(self, total: Total) -> Line:
        """Return the row of a sum: the number of addends, and whether it is what autograd used."""
        row = Row(self.width).right(self.number, "=", "bright")
        number = numbers.norm(total.norm)
        end = self.out - len(str(total.output)) if self.several else self.norm - len(number)
        full, short = f"sum of {total.count:,}  {numbers.shape(total.shape)}", f"sum of {total.count:,}"
        row.left(self.operation, full if self.operation + len(full) < end else short, "bright")
        if self.several:
            row.right(self.out, str(total.output), "dim")
        odd = total.norm is not None and not math.isfinite(total.norm)
        row.right(self.norm, number, "odd" if odd else "bright")
        room = self.width - 1 - self.norm - _GAP
        words = next((words for words in _USED[total.exact] if len(words) <= room), "")
        return row.left(self.norm + _GAP, words, "good" if total.exact else "bad").line()

    def _bar(self, row: Row, share: float) -> None:
        cells = min(self.half, round(abs(share) / self.view.greatest * self.half)) if self.view.greatest else 0
        if share < 0:
            row.left(self.centre - cells, "━" * cells, "negative")
        row.left(self.centre, "│", "line")
        if share > 0:
            row.add("━" * cells, "positive")


def _line(row: Contribution) -> str:
    return clean(f"{PurePath(row.source.file).name}:{row.source.line}") if row.source.line else ""


def _short(row: Contribution) -> str:
    """Return the module call that it was made in, without the class."""
    path = clean(row.module).partition(" ")[0]
    return f"{path} {row.call}/{row.calls}" if row.call else path


class ContributionsPanel(Panel[ContributionsView]):
    """The addends at a node, with a cursor; it holds a window of rows around the visible ones."""

    title = "Contributions"
    help_text = (
        "The gradients that are added up where several arrive: at a residual connection, for a shared weight, "
        "over the time steps of an RNN. Each row has the node that a gradient comes from, the module call in "
        "which that node was made, the norm, and the share of the sum; below is the sum, compared with autograd's "
        "own. For a parameter, it shows how much of .grad each use contributed. It is about the node under the "
        "cursor of Graph, the parameter or module under the cursor of Model, or the node that is stopped at; "
        "after a complete backward, that backward is run once more for it. {choose} goes to the node in Graph."
    )
    shows = ContributionsView
    _AHEAD, _STRIDE = 60, 30

    def __init__(self) -> None:
        super().__init__("contributions")
        self.number: int | None = None
        self.path = ""
        """Its subject: the number of a node, else the path of a parameter or module, else the node stopped at."""
        self.at = 0
        self._by: Order = "arrival"

    def keys(self) -> Mapping[str, Callable[[], str]]:
        """Return the key that changes the order."""
        return {"contributions_order": self.turn_order}

    def press(self, key: str, actions: Actions) -> bool:
        """Go to the node of the row under the cursor in Graph."""
        if key != "choose" or self.here is None:
            return False
        actions.go_to_node(self.here.number)
        return True

    def request(self) -> Request:
        """Return the request for the visible rows and some more, in strides, so that not every move needs another."""
        first = max(0, self.first - self._AHEAD) // self._STRIDE * self._STRIDE
        count = max(1, super().body) + 2 * self._AHEAD + self._STRIDE
        return LookContributions(self.number, self.path, first, count, self._by)

    def update(self, view: ContributionsView, before: ContributionsView | None) -> None:
        """Start at the first row of another node or order."""
        if before is None or (before.number, before.by, before.count) != (view.number, view.by, view.count):
            self.at = self.first = 0

    @property
    def cache_key(self) -> object:
        """The cursor position, and what else the drawing depends on besides the view."""
        return self.at

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        return draw(self.view, width, height, self.first, self.at)

    def move(self, rows: int) -> None:
        """Move the cursor."""
        if self.view is not None and self.view.count:
            self.at = max(0, min(self.at + rows, self.view.count - 1))
            self._reveal()

    def click_row(self, row: int) -> None:
        """Move the cursor to the row."""
        if self.view is not None and 0 <= row - 1 + self.first < self.view.count and row - 1 < self._room():
            self.at = row - 1 + self.first

    def turn_order(self) -> str:
        """Toggle the order of the rows; return its description."""
        self._by = "arrival" if self._by == "share" else "share"
        return "the largest share first" if self._by == "share" else "in the order in which autograd added them"

    @property
    def here(self) -> Contribution | None:
        """The row under the cursor; None for none, or until it arrives."""
        return _row(self.view, self.at) if self.view is not None else None

    def copied(self) -> Copied | None:
        """Return the row under the cursor with its description."""
        if self.here is None or self.view is None:
            return None
        share = share_words(self.here.share, self.view.form)
        words = f"{describe(self.here, 1 << 16)}  {self.here.use}  norm {numbers.norm(self.here.norm)}  share {share}"
        return Copied("the contribution", words)

    def resized(self) -> None:
        """Scroll the cursor into view."""
        self._reveal()

    def _room(self) -> int:
        return rows_seen(self.view, self.size.width, self.body) if self.view is not None else 1

    def _reveal(self) -> None:
        self.first = max(min(self.first, self.at), self.at - self._room() + 1, 0)
