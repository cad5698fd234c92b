"""The panel *Breakpoints*: every breakpoint with its location and hit count."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase

from gradstep.tui.panels.actions import Actions
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.drawing import GUTTER, Drawing, cursor, empty, widest, window
from gradstep.tui.render.lines import Line, Row, clean, fit
from gradstep.values import numbers
from gradstep.values.commands import Delete, Enable
from gradstep.values.outcomes import Stop
from gradstep.values.views import ModelRow, Request
from gradstep.values.views.graph import NodeRow
from gradstep.values.views.inside import Breakpoint, BreakpointsView, LookBreakpoints

ON, OFF = "◉", "◌"
"""The marks of an enabled and of a disabled breakpoint, also on rows of Graph and Model."""


def draw(
    view: BreakpointsView | None, width: int, height: int, first: int = 0, at: int = -1, hit: int = 0, key: str = ""
) -> Drawing:
    """Draw the list from its row `first` on, the cursor on row `at`.

    `hit` is the number of the one that caused the stop; `key` sets one.
    """
    if view is None or not view.rows:
        by_key = f"{key} sets one on a row of Graph or Model, in a script also on a line of Source. " if key else ""
        return empty(
            width,
            height,
            f"No breakpoints yet. {by_key}:break node Relu*, :break module 2 exit, :break grad 0.weight, :break nan, "
            ":break inf, :break when loss > 10 and, in a script, :break train.py:41 set others; :log prints on a hit.",
        )
    start, end = window(len(view.rows), first, height - 1)
    shown = view.rows[start:end]
    number = GUTTER + widest([str(row.number) for row in view.rows], 1)
    hits = width - 1 - (7 if any(row.ignore for row in shown) else 0)
    lines = [_header(width, number, hits)]
    for place, row in enumerate(shown, start):
        lines.append(_line(row, width, number, hits, place == at, row.number == hit))
    off = sum(not row.enabled for row in view.rows)
    about = numbers.count(len(view.rows), "breakpoint") + (f", {off} off" if off else "")
    return Drawing(about, lines[: max(height, 0)], len(view.rows), start, end - start)


def _header(width: int, number: int, hits: int) -> Line:
    row = Row(width).right(number, "#", "dim").left(number + 3, "where", "dim").right(hits, "hits", "dim")
    return (row.right(width - 1, "ignore", "dim") if hits < width - 1 else row).line()


def _line(row: Breakpoint, width: int, number: int, hits: int, here: bool, hit: bool) -> Line:
    drawn = cursor(Row(width, here), here).right(number, str(row.number), "dim")
    drawn.left(number + 1, *_mark(row))
    word = row.line if row.passing else row.line.removeprefix("break ")
    tone = "now" if hit else "text" if row.enabled else "dim"
    state = "" if row.enabled else " (off)"
    count = ("stopped here  " if hit and width >= 50 else "") + f"{row.hits:,}"
    drawn.left(number + 3, fit(clean(word), hits - number - 4 - len(state) - len(count)) + state, tone)
    drawn.right(hits, count, tone)
    return (drawn.right(width - 1, f"{row.ignore:,}", "dim") if hits < width - 1 else drawn).line()


def _mark(row: Breakpoint) -> tuple[str, str]:
    return (ON, "bad") if row.enabled else (OFF, "dim")


def mark_of(found: Breakpoint | None) -> tuple[str, str]:
    """Return the mark of a breakpoint and its tone; a blank for none."""
    return (" ", "text") if found is None else _mark(found)


def of_node(breakpoints: tuple[Breakpoint, ...], row: NodeRow) -> Breakpoint | None:
    """Return the breakpoint on a row of the graph; None for none."""
    for each in breakpoints:
        if each.kind == "node" and not row.group and each.what in (f"#{row.order}", row.name):
            return each
        if each.kind == "node" and not row.group and fnmatchcase(row.name, each.what):
            return each
        if each.kind == "grad" and row.parameter and fnmatchcase(row.parameter, each.what):
            return each
        if each.kind == "module" and row.group and row.path and fnmatchcase(row.path, each.what):
            return each
    return None


def of_part(breakpoints: tuple[Breakpoint, ...], row: ModelRow) -> Breakpoint | None:
    """Return the breakpoint on a row of the module tree; None for none."""
    kind = {"module": "module", "parameter": "grad"}.get(row.kind, "")
    return next((b for b in breakpoints if b.kind == kind and row.path and fnmatchcase(row.path, b.what)), None)


def _marks(view: BreakpointsView) -> list[tuple[str, str, bool]]:
    return [(row.kind, row.what, row.enabled) for row in view.rows]


class BreakpointsPanel(Panel[BreakpointsView]):
    """The list of breakpoints, with a cursor."""

    title = "Breakpoints"
    help_text = (
        "Where a running phase stops, or prints (log) and goes on: each breakpoint with its location, its hit "
        f"count, and how many further hits it ignores. {ON} is on, {OFF} off; rows of Graph and Model show the "
        "same marks. {choose} or {natural} turns the breakpoint under the cursor on or off, {delete} deletes it."
    )
    shows = BreakpointsView

    def __init__(self) -> None:
        super().__init__("breakpoints")
        self.at = 0
        self._hit = 0
        self.changed: Callable[[], None] = lambda: None
        """Called when the marks on rows of Graph and Model change."""

    def follow(self, stop: Stop) -> None:
        """Note which breakpoint caused a stop."""
        number = stop.hit.removeprefix("breakpoint ").partition(":")[0]
        self._hit = int(number) if number.isdecimal() else 0

    @property
    def all(self) -> tuple[Breakpoint, ...]:
        """All breakpoints that the screen knows of."""
        return self.view.rows if self.view is not None else ()

    @property
    def timeless(self) -> bool:
        """Always True: the panel is about the whole session."""
        return True

    @property
    def here(self) -> Breakpoint | None:
        """The breakpoint under the cursor; None for none."""
        return self.all[self.at] if 0 <= self.at < len(self.all) else None

    def press(self, key: str, actions: Actions) -> bool:
        """Enable, disable or delete the breakpoint under the cursor."""
        if self.here is None or key not in ("choose", "natural", "break", "delete"):
            return False
        number = self.here.number
        actions.run(Delete(number) if key == "delete" else Enable(number, not self.here.enabled))
        return True

    def request(self) -> Request:
        """Return the request for the list."""
        return LookBreakpoints()

    def update(self, view: BreakpointsView, before: BreakpointsView | None) -> None:
        """Move the cursor to a breakpoint that was hit or added, else keep it in range."""
        if before is None or _marks(before) != _marks(view):
            self.changed()
        rows = [row.number for row in view.rows]
        fresh = before is not None and len(rows) > len(before.rows)
        if self._hit in rows and (before is None or before.stop != view.stop):
            self.at = rows.index(self._hit)
        elif fresh:
            self.at = len(rows) - 1
        self.at = max(0, min(self.at, len(rows) - 1))
        self._reveal()

    @property
    def cache_key(self) -> object:
        """The cursor position, and what else the drawing depends on besides the view."""
        return self.at, self._hit

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        return draw(self.view, width, height, self.first, self.at, self._hit, self.keyboard.key("break").shown)

    @property
    def body(self) -> int:
        """Rows of the list, without its header."""
        return max(1, super().body - 1)

    def move(self, rows: int) -> None:
        """Move the cursor."""
        self.at = max(0, min(self.at + rows, len(self.all) - 1))
        self._reveal()

    def click_row(self, row: int) -> None:
        """Move the cursor to the row."""
        if 0 <= row - 1 + self.first < len(self.all):
            self.at = row - 1 + self.first

    def resized(self) -> None:
        """Scroll the cursor into view."""
        self._reveal()

    def _reveal(self) -> None:
        self.first = max(min(self.first, self.at), self.at - self.body + 1, 0)
