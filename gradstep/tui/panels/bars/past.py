"""The row that says that the panels below it show the past, which moment of it, and how to come back."""

from __future__ import annotations

from gradstep.tui.panels.timeline import command_words
from gradstep.tui.render.lines import Line, Row
from gradstep.tui.render.surface import Surface
from gradstep.values.views.timeline import TimelineRow


def past_words(stop: int) -> str:
    """Return the mark of what shows the past."""
    return f"PAST: stop {stop}"


def past_row(row: TimelineRow, present: int, width: int, goes: str, back: str) -> Line:
    """Draw the row; `goes` and `back` are the keys that go there and come back; inside a phase none goes (empty)."""
    drawn = Row(width).add(" ").add(f" {past_words(row.stop)} ", "odd")
    keys, short = (f"{goes} goes there, ", f"{goes} goes, ") if goes else ("", "")
    keys, short = f"{keys}{back} back to stop {present}", f"{short}{back} back"
    what = f"  after {command_words(row)}" if row.line else f"  {command_words(row)}"
    keys = keys if drawn.at + len(what) + len(keys) + 4 <= width else short
    drawn.add(what[: max(0, width - len(keys) - 3 - drawn.at)], "text")
    more = f", on {row.branch}; the session stays where it is"
    if drawn.at + len(more) + len(keys) + 4 <= width:
        drawn.add(more, "dim")
    return drawn.right(width - 1, keys, "bright").line()


class PastRow(Surface):
    """The row, over everything that it is about."""

    def __init__(self) -> None:
        super().__init__("past")
        self.row: TimelineRow | None = None
        """The point that is looked at; None for the present."""
        self.present = 0
        self.inside = False
        """True while a phase is stopped inside, which must come to its end before anything is gone to."""

    def compose_lines(self, width: int, _height: int) -> list[Line]:
        """Draw the row."""
        if self.row is None:
            return []
        goes, back = self.keyboard.key("choose").shown, self.keyboard.key("pause").shown
        return [past_row(self.row, self.present, width, "" if self.inside else goes, back)]
