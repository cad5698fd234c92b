"""The keys of going back in time: looking at the past without going there, going there, comparing, trying otherwise."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gradstep.tui.find import FindingBoard
from gradstep.tui.jobs import command_job
from gradstep.tui.panels.compare import ComparePanel
from gradstep.tui.panels.past import past_words
from gradstep.tui.panels.timeline import TimelinePanel
from gradstep.values.commands import Branch, Command, Goto, Load, Redo, Show, Switch
from gradstep.values.outcomes import Outcome, Stop
from gradstep.values.tensors import Between
from gradstep.values.views import Request, View

_FIRST = "main"
"""The branch that a session begins on."""
_GIVEN = re.compile(r"b\d+")
"""The names that branches get by themselves; they give way to one that is given."""
TIMELESS = frozenset({"timeline", "compare", "breakpoints", "log", "script"})
"""The panels that are about the whole session, and show no moment of it."""


_GROWING = ("timeline", "compare", "loss")
"""Those that can show something new at the same stop: another branch may have grown since."""


class TravellingBoard(FindingBoard, inherit_bindings=False):
    """A board that shows the moment under the cursor of Timeline."""

    # -- looking at the past ------------------------------------------------------------------------------------------
    def moment_of(self, name: str) -> int:
        """Return the number of the stop that a panel is to show."""
        past = self._past.row
        return super().moment_of(name) if past is None or self._is_timeless(name) else past.stop

    def _is_timeless(self, name: str) -> bool:
        """Tell whether a panel shows no moment: Tensor shows two while it shows a difference."""
        return name in TIMELESS or (name == "tensor" and self.tensor.between is not None)

    def mark_moment(self, name: str) -> None:
        """Have a panel say that it shows the past, when it does."""
        past = self._past.row
        seen = past is not None and not self._is_timeless(name) and self.panels[name].seen == past.stop
        self.panels[name].moment = past_words(past.stop) if seen and past is not None else ""
        if name == "tensor" and self.tensor.between is not None:
            self.tensor.moment = "DIFFERENCE"
        if name == "timeline":
            # keys that came before it was there have moved its cursor
            self._look_at_cursor(self.panel(TimelinePanel))

    def present(self, stop: Stop, outcome: Outcome | None, views: Sequence[tuple[str, Request, View]]) -> None:
        """Show a stop. A selection made while the past is looked at is seen there; all else leads to the present."""
        if outcome is not None and isinstance(outcome.command, Show) and outcome.ok:
            self._leave_difference()
        stays = self._past.row is not None and outcome is not None and isinstance(outcome.command, Show)
        if stays and stop.number == self._status.stop.number:
            views = [each for each in views if each[0] in TIMELESS]
            for name in self._places.keys() & self.panels.keys() - TIMELESS:
                self.panels[name].seen = -1
        else:
            if self._past.row is not None:
                self.panel(TimelinePanel).follow()
            self._leave_past()
        for name in _GROWING:
            self.panels[name].seen = -1
        self._take_branch(stop, outcome)
        super().present(stop, outcome, views)

    def _take_branch(self, stop: Stop, outcome: Outcome | None) -> None:
        """Note another branch: the losses of the one that was left stand behind its own."""
        before, other = self._status.stop.branch, self.loss.branches[1]
        if stop.branch not in ("", before or _FIRST):
            self._status.branched = True
            renamed = outcome is not None and isinstance(outcome.command, Branch) and _GIVEN.fullmatch(before)
            other = other if renamed and not self._status.stop.ahead else before
        self.loss.branches = (stop.branch, other)

    def _moved(self) -> None:
        self._look_at_cursor(self.panel(TimelinePanel))
        super()._moved()

    def _look_at_cursor(self, timeline: TimelinePanel) -> None:
        row = timeline.here
        if (
            self.focus_panel is not timeline
            or row is None
            or row == self._past.row
            or (row.here and not self._past.row)
        ):
            return
        if row.here or self.driver.dead:
            self._leave_past()
        else:
            # what the last command said is of the present; the log has it
            self.why.tell(notice="", outcome=None, fault=None)
            self._past.row, self._past.present = row, self._status.stop.number
            self._past.inside = self._status.stop.position is not None
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
        """Come back from a difference to Compare, and from the past that is looked at; else pause."""
        if self.focus_panel is self.tensor and self.tensor.between is not None and not self.driver.busy:
            self._leave_difference()
            self._focus("compare")
            self._catch_up()
        elif self._past.row is None or self.driver.busy:
            super().action_pause()
        else:
            self._to_present()

    def _to_present(self) -> None:
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
        if isinstance(panel, ComparePanel):
            self._show_difference(panel)
        elif not isinstance(panel, TimelinePanel):
            super().choose_inside()
        elif panel.here is not None and not panel.here.here:
            row = panel.here
            other = row.ends and self.driver.stop.branch not in row.ends
            self._put(command_job(Switch(row.ends[0]) if other else Goto(row.stop)))

    # -- comparing ----------------------------------------------------------------------------------------------------
    def action_compare(self) -> None:
        """Mark the stop under the cursor of Timeline, or compare it with the marked one; elsewhere show Compare."""
        timeline, panel = self.panel(TimelinePanel), self.panel(ComparePanel)
        row = timeline.here if self.focus_panel is timeline else None
        if self.focus_panel is not timeline or row is None:
            present, other = self.loss.branches
            if panel.pair is None and other:
                panel.compare(other, present)
            self._focus("compare")
            self._catch_up()
        elif row.inside:
            self._say("a stop inside a phase is compared with none: the phase is not at its end")
        elif timeline.marked in (0, row.stop):
            timeline.marked = row.stop if timeline.marked != row.stop else 0
            timeline.redraw()
            again = self.keyboard.key("compare").shown
            marked = f"stop {row.stop} is marked (*): {again} on another one compares the two"
            self._say(marked if timeline.marked else f"stop {row.stop} is not marked any more")
        else:
            first, timeline.marked = timeline.marked, 0
            self._to_present()
            self.compare(str(first), str(row.stop))

    def compare(self, first: str, second: str) -> None:
        """Show in what two points differ."""
        self.panel(ComparePanel).compare(first, second)
        self._focus("compare")
        self._catch_up()

    def _show_difference(self, panel: ComparePanel) -> None:
        """Show the tensor under the cursor of Compare on both sides, at the element that differs most."""
        row = panel.here
        if row is None or panel.pair is None:
            return
        self.tensor.compare(Between(row.name, *panel.pair), row.at)
        self._focus("tensor")
        self._say(f"Tensor: {row.name}, the second minus the first; {self.keyboard.key('pause').shown} goes back")
        self._catch_up()

    def _leave_difference(self) -> None:
        """Have Tensor show the selection again."""
        if self.tensor.between is not None:
            self.tensor.compare(None)
            self.tensor.moment = ""

    def applies(self, key: str) -> bool:
        """Tell whether a key would do something now."""
        if key == "redo":
            return self.driver.stop.ahead > 0 and not self.driver.dead
        return super().applies(key)

    def _take_account(self, command: Command) -> None:
        super()._take_account(command)
        if isinstance(command, Load):
            self._status.branched = False
            self.loss.branches = ("", "")
            self.panel(ComparePanel).forget()
            self._leave_difference()
