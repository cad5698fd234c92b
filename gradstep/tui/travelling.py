"""The keys of going back in time: looking at the past without going there, going there, comparing, trying otherwise."""

from __future__ import annotations

from collections.abc import Sequence

from gradstep.tui.find import FindingBoard
from gradstep.tui.jobs import command_job
from gradstep.tui.panels.past import past_words
from gradstep.tui.panels.timeline import TimelinePanel
from gradstep.values.commands import Command, Goto, Load, Redo, Show, Switch
from gradstep.values.outcomes import Outcome, Stop
from gradstep.values.views import Request, View

_FIRST = "main"
"""The branch that a session begins on."""
TIMELESS = frozenset({"timeline", "compare", "breakpoints", "log", "script"})
"""The panels that are about the whole session, and show no moment of it."""


class TravellingBoard(FindingBoard, inherit_bindings=False):
    """A board that shows the moment under the cursor of Timeline."""

    # -- looking at the past ------------------------------------------------------------------------------------------
    def moment_of(self, name: str) -> int:
        """Return the number of the stop that a panel is to show."""
        past = self._past.row
        return super().moment_of(name) if past is None or name in TIMELESS else past.stop

    def mark_moment(self, name: str) -> None:
        """Have a panel say that it shows the past, when it does."""
        past = self._past.row
        seen = past is not None and name not in TIMELESS and self.panels[name].seen == past.stop
        self.panels[name].moment = past_words(past.stop) if seen and past is not None else ""

    def present(self, stop: Stop, outcome: Outcome | None, views: Sequence[tuple[str, Request, View]]) -> None:
        """Show a stop. A selection made while the past is looked at is seen there; all else leads to the present."""
        stays = self._past.row is not None and outcome is not None and isinstance(outcome.command, Show)
        if stays and stop.number == self._status.stop.number:
            views = [each for each in views if each[0] in TIMELESS]
            for name in self._places.keys() & self.panels.keys() - TIMELESS:
                self.panels[name].seen = -1
            self.call_after_refresh(self._catch_up)
        else:
            self._leave_past()
        for name in ("timeline",):
            # the points of a timeline are not told apart by the stop it is at
            self.panels[name].seen = -1
        self._status.branched = self._status.branched or stop.branch not in ("", self._status.stop.branch or _FIRST)
        super().present(stop, outcome, views)

    def _moved(self) -> None:
        timeline = self.panel(TimelinePanel)
        if self.focus_panel is timeline:
            self._look_at_cursor(timeline)
        super()._moved()

    def _look_at_cursor(self, timeline: TimelinePanel) -> None:
        row = timeline.here
        if row is None or row == self._past.row:
            return
        if row.here or self.driver.stop.position is not None or self.driver.dead:
            if not row.here:
                self._say("inside a phase: its end comes first, then the past can be looked at")
            self._leave_past()
        else:
            self._past.row, self._past.present = row, self._status.stop.number
        self._arrange()
        self._redraw()

    def _leave_past(self) -> None:
        if self._past.row is None:
            return
        for name, panel in self.panels.items():
            if name not in TIMELESS and panel.seen == self._past.row.stop:
                panel.seen = -1
            panel.moment = ""
        self._past.row = None

    def action_pause(self) -> None:
        """Come back from the past that is looked at; else pause."""
        if self._past.row is None or self.driver.busy:
            super().action_pause()
            return
        self._leave_past()
        self.panel(TimelinePanel).to_present()
        self._arrange()
        self._redraw()
        self._catch_up()

    # -- going there --------------------------------------------------------------------------------------------------
    def action_redo(self) -> None:
        """Go forth again."""
        self._put(command_job(Redo(self._times)))

    def choose_inside(self) -> None:
        """Go to the stop under the cursor of Timeline; at the end of another branch, switch to it."""
        panel = self.focus_panel
        if not isinstance(panel, TimelinePanel):
            super().choose_inside()
        elif panel.here is not None and not panel.here.here:
            row = panel.here
            other = row.ends and self.driver.stop.branch not in row.ends
            self._put(command_job(Switch(row.ends[0]) if other else Goto(row.stop)))

    def applies(self, key: str) -> bool:
        """Tell whether a key would do something now."""
        if key == "redo":
            return self.driver.stop.ahead > 0 and not self.driver.dead
        return super().applies(key)

    def _take_account(self, command: Command) -> None:
        super()._take_account(command)
        if isinstance(command, Load):
            self._status.branched = False
