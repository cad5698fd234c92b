"""The panel *Breakpoints*: where a phase that runs is to stop, or to print, and how often each place was come to."""

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
"""The marks of a breakpoint that is enabled, and of one that is not; on rows of Graph and Model too."""


def draw(
    view: BreakpointsView | None, width: int, height: int, first: int = 0, at: int = -1, hit: int = 0, key: str = ""
) -> Drawing:
    """Draw the list from its row `first` on, the cursor on row `at`.

    `hit` is the number of the one that the stop is due to; `key` sets one.
    """
    if view is None or not view.rows:
        by_key = f"{key} sets one on a row of Graph or Model. " if key else ""
        return empty(
            width,
            height,
            f"No breakpoint yet. {by_key}:break node Relu*, :break module 2 exit, :break grad 0.weight, :break nan, "
            ":break inf and :break when loss > 10 set others; :log prints and goes on.",
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
    """Return the sign of a breakpoint and its tone; a blank for none."""
    return (" ", "text") if found is None else _mark(found)


def of_node(breakpoints: tuple[Breakpoint, ...], row: NodeRow) -> Breakpoint | None:
    """Return the breakpoint that stands on a row of the graph; None for none."""
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
    """Return the breakpoint that stands on a row of the module tree; None for none."""
    kind = {"module": "module", "parameter": "grad"}.get(row.kind, "")
    return next((b for b in breakpoints if b.kind == kind and row.path and fnmatchcase(row.path, b.what)), None)


def _marks(view: BreakpointsView) -> list[tuple[str, str, bool]]:
    return [(row.kind, row.what, row.enabled) for row in view.rows]


class BreakpointsPanel(Panel[BreakpointsView]):
    """The list, with a cursor that enables and deletes."""

    title = "Breakpoints"
    help_text = (
        "Where a phase that runs stops by itself, or prints (log) and goes on: the place, how often it was come to, "
        f"and how many of the next hits it lets pass. {ON} is on, {OFF} off; the same marks stand on rows of Graph and "
        "Model. {choose} or {natural} turns the one under the cursor on or off, {delete} deletes it."
    )
    shows = BreakpointsView

    def __init__(self) -> None:
        super().__init__("breakpoints")
        self.at = 0
        self._hit = 0
        self.changed: Callable[[], None] = lambda: None
        """Called when other rows of Graph and Model have a mark."""

    def follow(self, stop: Stop) -> None:
        """Take note of a stop: which of them it is due to."""
        number = stop.hit.removeprefix("breakpoint ").partition(":")[0]
        self._hit = int(number) if number.isdecimal() else 0

    @property
    def all(self) -> tuple[Breakpoint, ...]:
        """Those there are, as far as the screen has been told."""
        return self.view.rows if self.view is not None else ()

    @property
    def timeless(self) -> bool:
        """Always: it is about the whole session."""
        return True

    @property
    def here(self) -> Breakpoint | None:
        """The one under the cursor; None when there is none."""
        return self.all[self.at] if 0 <= self.at < len(self.all) else None

    def press(self, key: str, actions: Actions) -> bool:
        """Turn the one under the cursor on or off, or delete it."""
        if self.here is None or key not in ("choose", "natural", "break", "delete"):
            return False
        number = self.here.number
        actions.run(Delete(number) if key == "delete" else Enable(number, not self.here.enabled))
        return True

    def request(self) -> Request:
        """Ask for the list."""
        return LookBreakpoints()

    def update(self, view: BreakpointsView, before: BreakpointsView | None) -> None:
        """Go to the one that was hit, and to one that is new; fewer rows pull the cursor in."""
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
        """What the drawing depends on besides the view."""
        return self.at, self._hit

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body as it stands now."""
        return draw(self.view, width, height, self.first, self.at, self._hit, self.keyboard.key("break").shown)

    @property
    def body(self) -> int:
        """Rows of the list: a header stands above it."""
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
        """Keep the cursor in sight."""
        self._reveal()

    def _reveal(self) -> None:
        self.first = max(min(self.first, self.at), self.at - self.body + 1, 0)
