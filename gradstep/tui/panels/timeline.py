"""The panel *Timeline*: every command that changed something, with the branches as lanes."""

from __future__ import annotations

import math

from gradstep.tui.panels.actions import Actions
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.copying import Copied
from gradstep.tui.render.drawing import GUTTER, Drawing, cursor, empty, widest, window_with
from gradstep.tui.render.lanes import LaneRow, lanes_of
from gradstep.tui.render.lines import Line, Row, clean, fit, text_line
from gradstep.values import numbers
from gradstep.values.commands import Goto, Switch
from gradstep.values.views import Request
from gradstep.values.views.timeline import LookTimeline, TimelineRow, TimelineView

HERE, KEPT, AGAIN, LOST = "●", "○", "◇", "✗"
"""The current stop; one with a checkpoint; one reached by running commands again; one that can't be reached."""
_SPARE = 200
"""Rows requested beyond the visible ones on each side."""
_LEAST = 8
"""Minimum width of a command."""
_ROOMY = 44
"""Minimum width for the column of changes."""


def draw(view: TimelineView | None, width: int, height: int, first: int = 0, at: int = -1, marked: int = 0) -> Drawing:
    """Draw the points from row `first` of the view on, the cursor on row `at`; `marked` is the marked stop."""
    if view is None or not view.rows:
        note = clean(view.note) if view is not None else ""
        return empty(width, height, note or "No stops yet: every command that changes something makes one.")
    foot = height >= 6 and 0 <= at < len(view.rows)
    start, end = window_with(len(view.rows), first, height - 1 - foot, at)
    columns = _Columns(view.rows, width)
    lines = [columns.header("stopped after" if view.script else "command")]
    for place in range(start, end):
        row = view.rows[place]
        lines.append(columns.line(row, place, place == at, row.stop == marked))
    if foot:
        lines += [Line()] * (height - 1 - len(lines))
        lines.append(text_line(fit(row_words(view.rows[at]), width - GUTTER - 1), width, "dim"))
    return Drawing(_about(view), lines[: max(height, 0)], view.total, view.first + start, end - start)


def _about(view: TimelineView) -> str:
    memory = f"{numbers.size(view.memory)} of {numbers.size(view.budget)}"
    time = f", time {view.spent:.0%} of {view.share:.0%}" if view.spent >= 0.005 and view.share < math.inf else ""
    branches = f", {numbers.count(len(view.branches), 'branch', 'branches')}" if len(view.branches) > 1 else ""
    return f"{numbers.count(view.total, 'stop')}{branches}, {memory}{time}"


def row_words(row: TimelineRow) -> str:
    """Return what there is to say of a point beyond its columns."""
    parts = [f"stop {row.stop}", f"iteration {row.iteration}"]
    parts += [clean(row.changed)] if row.changed else []
    if row.note and row.reachable:
        parts.append(f"tensors not kept: {clean(row.note)}")
    elif not row.reachable:
        parts.append("can no longer be reached")
    elif not row.inside:
        parts.append(f"{numbers.size(row.memory)} kept" if row.kept else "not kept: reached by running commands again")
    return ", ".join(parts)


def command_words(row: TimelineRow) -> str:
    """Return the command that led to a point; for the first one `initial state`."""
    return clean(row.words) or "initial state"


class _Columns:
    """The positions of the columns."""

    def __init__(self, rows: tuple[TimelineRow, ...], width: int) -> None:
        self.width = width
        self.lanes = lanes_of(rows)
        self.number = GUTTER + widest([str(row.stop) for row in rows], 1)
        self.line_at = self.number + 1 + widest([_lane_text(lanes) for lanes in self.lanes], 1) + 1
        self.end = width - 1
        self.changed = 0
        if width >= _ROOMY:
            self.changed = self.end - min(max([len("changed"), *(len(_changed(row)) for row in rows)]), width // 3)
            self.end = self.changed - 2
        self.loss = widest([numbers.loss(row.loss) for row in rows], 4)

    def header(self, first: str) -> Line:
        row = Row(self.width).left(self.line_at, first, "dim").right(self.end, "loss", "dim")
        return (row.left(self.changed, "changed", "dim") if self.changed else row).line()

    def line(self, row: TimelineRow, place: int, here: bool, marked: bool) -> Line:
        lanes, drawn = self.lanes[place], cursor(Row(self.width, here), here)
        quiet = row.undone and not row.here
        lit = "now" if row.here else "dim" if quiet else "bright" if here else "text"
        drawn.left(1, "*" if marked else " ", "key").right(self.number, str(row.stop), "dim").add(" ")
        glyph = HERE if row.here else LOST if not row.reachable else KEPT if row.kept else AGAIN
        drawn.add(lanes.before, "line").add(glyph, lit).add(lanes.after, "line")
        ends = "".join(f" [{clean(name)}]" for name in row.ends)
        now = " ◂ now" if row.here else ""
        room = self.end - self.loss - 1 - self.line_at
        # the name of a branch matters more than `now`, which the glyph shows too
        now = now if len(ends) + len(now) + min(len(row.line), _LEAST) <= room else ""
        drawn.left(self.line_at, fit(command_words(row), max(room - len(ends) - len(now), _LEAST)), lit)
        drawn.add(fit(ends, max(0, self.end - self.loss - 1 - drawn.at - len(now))), "dim" if quiet else "key")
        drawn.add(now, "now")
        odd = row.loss is not None and row.loss - row.loss != 0
        old = quiet or row.phase != "forward"
        drawn.right(self.end, numbers.loss(row.loss), "odd" if odd else "dim" if old else lit)
        if self.changed:
            drawn.left(self.changed, fit(_changed(row), self.width - 1 - self.changed), "dim")
        return drawn.line()


def _present(view: TimelineView) -> int:
    """Return the number of the current stop."""
    return next((row.stop for row in view.rows if row.here), view.stop)


def _changed(row: TimelineRow) -> str:
    return ", ".join(filter(None, ["undone" if row.undone else "", clean(row.changed)]))


def _lane_text(lanes: LaneRow) -> str:
    return f"{lanes.before}{HERE}{lanes.after}"


class TimelinePanel(Panel[TimelineView]):
    """The points, with a cursor: the other panels show the point under it."""

    title = "Timeline"
    help_text = (
        "Every command that changed something, the oldest at the top; each branch is a lane, the current one the "
        f"first. {HERE} is the current stop, {KEPT} a stop with a checkpoint, {AGAIN} one that is reached by "
        "running commands again; undone commands are dim. The other panels show the stop under the cursor, while "
        "the session stays where it is: {choose} goes there (at the end of another branch, it switches to that), "
        "{pause} returns to the present. {compare} marks a stop; pressed on another one, it compares the two. "
        "The stops of a training script are recorded: they can be shown and compared, but the script stays where it "
        "is. {hold} copies what it trains into a workload that can go back."
    )
    shows = TimelineView

    def __init__(self) -> None:
        super().__init__("timeline")
        self.at = -1
        """The row of the view under the cursor."""
        self.marked = 0
        """The stop marked for comparison; 0 for none."""
        self._last = 0
        self._coming_back = False
        """True until a view that holds the current stop arrives."""

    def request(self) -> Request:
        """Return the request for the points around the cursor."""
        return LookTimeline(self._last, max(1, self.body) + 2 * _SPARE)

    @property
    def timeless(self) -> bool:
        """Always True: the panel is about the whole session."""
        return True

    def press(self, key: str, actions: Actions) -> bool:
        """Go to the stop under the cursor, or mark it and compare it with another."""
        row = self.here
        if row is None or key not in ("choose", "compare"):
            return False
        if key == "compare":
            self._mark_or_compare(row, actions)
        elif self.view is not None and self.view.script:
            actions.say(
                f"a script can't go back: the other panels show stop {row.stop}; {self._key('hold')} holds a copy"
            )
        elif not row.here:
            other = row.ends and actions.stop.branch not in row.ends
            actions.run(Switch(row.ends[0]) if other else Goto(row.stop))
        return True

    def _mark_or_compare(self, row: TimelineRow, actions: Actions) -> None:
        if row.inside:
            actions.say("a stop inside a phase can't be compared: the phase has not finished")
        elif self.marked in (0, row.stop):
            self.marked = row.stop if self.marked != row.stop else 0
            self.redraw()
            marked = f"stop {row.stop} is marked (*): {self._key('compare')} on another one compares the two"
            actions.say(marked if self.marked else f"stop {row.stop} is no longer marked")
        else:
            first, self.marked = self.marked, 0
            actions.compare(str(first), str(row.stop))

    @property
    def here(self) -> TimelineRow | None:
        """The point under the cursor; None for none."""
        return self.view.rows[self.at] if self.view is not None and 0 <= self.at < len(self.view.rows) else None

    def update(self, view: TimelineView, before: TimelineView | None) -> None:
        """Keep the cursor on its point; if the session moved, go to the current stop."""
        moved = self._coming_back or before is None or (before.stop, before.total) != (view.stop, view.total)
        self._coming_back = False
        kept = None if moved or before is None or not 0 <= self.at < len(before.rows) else before.rows[self.at]
        self._go(_present(view) if kept is None else kept.stop)

    def follow(self) -> None:
        """Have the cursor go to the current stop when the next view arrives."""
        self._coming_back, self._last = True, 0

    def to_present(self) -> None:
        """Move the cursor back to the current stop."""
        if self.view is not None:
            self._coming_back = not any(row.here for row in self.view.rows)
            if self._coming_back:
                self._last = 0
            self._go(_present(self.view))

    def _go(self, stop: int) -> None:
        rows = self.view.rows if self.view is not None else ()
        self.at = next((i for i, row in enumerate(rows) if row.stop == stop), min(self.at, len(rows) - 1))
        self._reveal()

    @property
    def cache_key(self) -> object:
        """The cursor position, and what else the drawing depends on besides the view."""
        return self.at, self.marked

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        return draw(self.view, width, height, self.first, self.at, self.marked)

    @property
    def body(self) -> int:
        """Rows of the list, without the header and the line on the cursor's row."""
        return max(1, super().body - 2)

    def move(self, rows: int) -> None:
        """Move the cursor; at either end of the view, request the rows beyond."""
        view = self.view
        if view is None or not view.rows:
            return
        self.at = max(0, min(self.at + rows, len(view.rows) - 1))
        after = view.total - view.first - len(view.rows)
        if (self.at == 0 and view.first) or (self.at == len(view.rows) - 1 and after):
            self._last = max(0, view.total - (view.first + self.at) - (self.body + 2 * _SPARE) // 2)
        self._reveal()

    def click_row(self, row: int) -> None:
        """Move the cursor to the row."""
        if self.view is not None and 0 <= row - 1 + self.first < len(self.view.rows):
            self.at = row - 1 + self.first

    def copied(self) -> Copied | None:
        """Return the command under the cursor."""
        return Copied(f"the command of stop {self.here.stop}", self.here.line) if self.here is not None else None

    def resized(self) -> None:
        """Scroll the cursor into view."""
        self._reveal()

    def _reveal(self) -> None:
        self.first = max(min(self.first, self.at), self.at - self.body + 1, 0)
