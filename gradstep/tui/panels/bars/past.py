"""The row above the panels while they show the past: which stop, and how to return."""

from __future__ import annotations

from gradstep.tui.panels.timeline import command_words
from gradstep.tui.render.lines import Line, Row
from gradstep.tui.render.surface import Surface
from gradstep.values.views.timeline import TimelineRow


def past_words(stop: int) -> str:
    """Return the badge for a stop in the past."""
    return f"PAST: stop {stop}"


def past_row(row: TimelineRow, present: int, width: int, goes: str, back: str, script: bool = False) -> Line:
    """Draw the row.

    Args:
        row: the stop that is shown.
        present: the number of the present stop.
        width: in cells.
        goes: the key that goes to the stop; empty where none does.
        back: the key that returns.
        script: True for a recorded stop of a script.
    """
    drawn = Row(width).add(" ").add(f" {past_words(row.stop)} ", "odd")
    keys, short = (f"{goes} goes there, ", f"{goes} goes, ") if goes else ("", "")
    keys, short = f"{keys}{back} back to stop {present}", f"{short}{back} back"
    what = f"  after {command_words(row)}" if row.phase else f"  {command_words(row)}"
    keys = keys if drawn.at + len(what) + len(keys) + 4 <= width else short
    drawn.add(what[: max(0, width - len(keys) - 3 - drawn.at)], "text")
    more = "; the script stays where it is" if script else f", on {row.branch}; the session stays where it is"
    if drawn.at + len(more) + len(keys) + 4 <= width:
        drawn.add(more, "dim")
    return drawn.right(width - 1, keys, "bright").line()


class PastRow(Surface):
    """The row of the past."""

    def __init__(self) -> None:
        super().__init__("past")
        self.row: TimelineRow | None = None
        """The point shown; None for the present."""
        self.present = 0
        self.inside = False
        """True while a phase is stopped inside: it must finish before the session can go to another stop."""
        self.script = False
        """True for a script, which can't go to another stop."""

    def compose_lines(self, width: int, _height: int) -> list[Line]:
        """Draw the row."""
        if self.row is None:
            return []
        goes, back = self.keyboard.key("choose").shown, self.keyboard.key("pause").shown
        goes = "" if self.inside or self.script else goes
        return [past_row(self.row, self.present, width, goes, back, self.script)]
