"""Going back in time: looking at the past without going there, coming back, comparing two moments."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from gradstep.tui.commands.jobs import command_job
from gradstep.tui.controllers.stepping import Stepping
from gradstep.tui.desk import Controller, Desk
from gradstep.tui.panels.compare import ComparePanel
from gradstep.tui.panels.timeline import TimelinePanel
from gradstep.values.commands import Branch, Command, Load, Redo, Show
from gradstep.values.outcomes import Outcome, Stop
from gradstep.values.views import Request, View
from gradstep.values.views.tensor import Between

_FIRST = "main"
"""The branch that a session begins on."""
_GIVEN = re.compile(r"b\d+")
"""The names that branches get by themselves; they give way to one that is given."""
_GROWING = ("timeline", "compare", "loss")
"""Those that can show something new at the same stop: another branch may have grown since."""


class TimeTravel(Controller):
    """Shows the moment under the cursor of Timeline, goes there, and compares two of them."""

    def __init__(self, screen: Desk, stepping: Stepping) -> None:
        """Hold the screen; `stepping` pauses where there is nothing to come back from."""
        super().__init__(screen)
        self._stepping = stepping
        self._pair: tuple[str, str] | None = None
        """What the last command leaves to be compared."""
        self._timeline, self._compare = screen.panel(TimelinePanel), screen.panel(ComparePanel)

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return what each key does."""
        return {"redo": self.redo, "compare": self.show_compare, "pause": self.pause, "pause_too": self.pause}

    def applies(self, key: str) -> bool | None:
        """Return whether a key would do something now."""
        return self.queue.stop.ahead > 0 and not self.queue.dead if key == "redo" else None

    # -- looking at the past ------------------------------------------------------------------------------------------
    def stopping(
        self, stop: Stop, outcome: Outcome | None, views: Sequence[tuple[str, Request, View]]
    ) -> Sequence[tuple[str, Request, View]]:
        """Come to the present; a selection made while the past is looked at is seen there."""
        screen = self.screen
        shown = outcome is not None and isinstance(outcome.command, Show)
        if shown and outcome is not None and outcome.ok:
            self._leave_difference()
        if screen.past.row is not None and shown and stop.number == screen.status.stop.number:
            views = [each for each in views if screen.panels[each[0]].timeless]
            for name, panel in screen.panels.items():
                if name in screen.places and not panel.timeless:
                    panel.shown_stop = -1
        else:
            if screen.past.row is not None:
                self._timeline.follow()
            self._leave_past()
        for name in _GROWING:
            screen.panels[name].shown_stop = -1
        self._take_branch(stop, outcome)
        self._pair = outcome.pair if outcome is not None else None
        return views

    def stopped(self, stop: Stop) -> None:  # noqa: ARG002
        """Compare what a `try` leaves to be compared."""
        if self._pair is not None:
            self.compare(*self._pair)

    def _take_branch(self, stop: Stop, outcome: Outcome | None) -> None:
        """Note another branch: the losses of the one that was left stand behind its own."""
        before, other = self.screen.status.stop.branch, self.screen.loss.branches[1]
        if stop.branch not in ("", before or _FIRST):
            self.screen.status.branched = True
            renamed = outcome is not None and isinstance(outcome.command, Branch) and _GIVEN.fullmatch(before)
            other = other if renamed and not self.screen.status.stop.ahead else before
        self.screen.loss.branches = (stop.branch, other)

    def moved(self) -> None:
        """Look at the moment under the cursor of Timeline, when that has the focus."""
        row = self._timeline.here
        if (
            self.screen.focus_panel is not self._timeline
            or row is None
            or row == self.screen.past.row
            or (row.here and not self.screen.past.row)
        ):
            return
        if row.here or self.queue.dead:
            self._leave_past()
        else:
            # what the last command said is of the present; the log has it
            self.screen.why.tell(notice="", outcome=None, fault=None)
            self.screen.past.row, self.screen.past.present = row, self.screen.status.stop.number
            self.screen.past.inside = self.screen.status.stop.position is not None
        self.screen.rearrange()
        # panels go from one moment to the next as their views come, without a flicker
        self.screen.redraw_bars()

    def _leave_past(self) -> None:
        if self.screen.past.row is None:
            return
        for panel in self.screen.panels.values():
            if not panel.timeless and panel.shown_stop == self.screen.past.row.stop:
                panel.shown_stop = -1
            panel.badge = ""
        self.screen.past.row = None

    def pause(self) -> None:
        """Come back from the past that is looked at; else pause."""
        if self.screen.past.row is None or self.queue.busy:
            self._stepping.pause()
        else:
            self.to_present()

    def to_present(self) -> None:
        """Look at the present."""
        self._leave_past()
        self._timeline.to_present()
        self.screen.rearrange()
        self.screen.redraw()

    def redo(self) -> None:
        """Go forth again."""
        self.screen.put(command_job(Redo(self.screen.times)))

    # -- comparing ----------------------------------------------------------------------------------------------------
    def show_compare(self) -> None:
        """Show Compare: of the two branches, when nothing else has been compared."""
        present, other = self.screen.loss.branches
        if self._compare.pair is None and other:
            self._compare.compare(other, present)
        self.screen.go_to("compare")

    def compare(self, first: str, second: str) -> None:
        """Show in what two points differ."""
        self._compare.compare(first, second)
        self.screen.go_to("compare")

    def show_difference(self, between: Between, at: tuple[int, ...]) -> None:
        """Show a tensor at two points, with the cursor on an element."""
        self.screen.tensor.compare(between, at)
        self.screen.go_to("tensor")
        back = self.keyboard.key("pause").shown
        self.screen.say(f"Tensor: {between.name}, the second minus the first; {back} goes back")

    def back_to_compare(self) -> bool:
        """Come back from a difference to Compare; False while something runs that is to be paused first."""
        if self.queue.busy:
            return False
        self._leave_difference()
        self.screen.go_to("compare")
        return True

    def _leave_difference(self) -> None:
        """Have Tensor show the selection again."""
        if self.screen.tensor.between is not None:
            self.screen.tensor.compare(None)
            self.screen.tensor.badge = ""

    def carried_out(self, command: Command) -> None:
        """Forget branches and what was compared when something else is loaded."""
        if isinstance(command, Load):
            self.screen.status.branched = False
            self.screen.loss.branches = ("", "")
            self._compare.forget()
            self._leave_difference()
