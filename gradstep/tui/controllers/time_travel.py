"""Time travel: viewing past stops without going there, returning, comparing two points."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from gradstep.tui.commands.jobs import command_job
from gradstep.tui.controllers.stepping import SteppingController
from gradstep.tui.desk import Controller, Desk
from gradstep.tui.panels.compare import ComparePanel
from gradstep.tui.panels.timeline import TimelinePanel
from gradstep.values.commands import Branch, Command, Hold, Load, Redo, Release, Show
from gradstep.values.outcomes import Outcome, Stop
from gradstep.values.views import Request, View
from gradstep.values.views.tensor import Between

_FIRST = "main"
"""The initial branch of a session."""
_GIVEN = re.compile(r"b\d+")
"""The generated names of branches, which `branch` replaces."""
_GROWING = ("timeline", "compare", "loss")
"""Panels that can change without a new stop, because another branch has grown."""


class TimeTravelController(Controller):
    """Shows the stop under Timeline's cursor, and compares two points."""

    def __init__(self, screen: Desk, stepping: SteppingController) -> None:
        """Attach to the screen; `stepping` handles a pause in the present."""
        super().__init__(screen)
        self._stepping = stepping
        self._pair: tuple[str, str] | None = None
        """The two points that the last command compares."""
        self._timeline, self._compare = screen.panel(TimelinePanel), screen.panel(ComparePanel)

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return the handler of each key."""
        return {
            "redo": self.redo,
            "compare": self.show_compare,
            "hold": self.hold,
            "pause": self.pause,
            "pause_too": self.pause,
        }

    def applies(self, key: str) -> bool | None:
        """Return whether a key would do something now."""
        stop, dead = self.queue.stop, self.queue.dead
        return {"redo": stop.ahead > 0 and not dead, "hold": (stop.script or stop.held) and not dead}.get(key)

    # -- viewing the past ---------------------------------------------------------------------------------------------
    def stopping(
        self, stop: Stop, outcome: Outcome | None, views: Sequence[tuple[str, Request, View]]
    ) -> Sequence[tuple[str, Request, View]]:
        """Return to the present; a selection made while viewing the past stays in the past."""
        screen = self.screen
        shown = outcome is not None and isinstance(outcome.command, Show)
        if shown and outcome is not None and outcome.ok:
            self._leave_difference()
        if screen.past.row is not None and shown and stop.number == screen.status.stop.number:
            views = [each for each in views if screen.panels[each[0]].timeless]
            for name, panel in screen.panels.items():
                if name in screen.placements and not panel.timeless:
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
        """Compare the two branches of a `try`."""
        if self._pair is not None:
            self.compare(*self._pair)

    def _take_branch(self, stop: Stop, outcome: Outcome | None) -> None:
        """Track a switch of branches: Loss draws the previous branch behind the current one."""
        before, other = self.screen.status.stop.branch, self.screen.loss.branches[1]
        if stop.branch not in ("", before or _FIRST):
            self.screen.status.branched = True
            renamed = outcome is not None and isinstance(outcome.command, Branch) and _GIVEN.fullmatch(before)
            other = other if renamed and not self.screen.status.stop.ahead else before
        self.screen.loss.branches = (stop.branch, other)

    def moved(self) -> None:
        """Show the stop under Timeline's cursor, when Timeline has the focus."""
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
            # the last command's result belongs to the present; the log has it
            self.screen.why.tell(notice="", outcome=None, fault=None)
            self.screen.past.row, self.screen.past.present = row, self.screen.status.stop.number
            self.screen.past.inside = self.screen.status.stop.position is not None
            self.screen.past.script = self.screen.status.stop.script
        self.screen.rearrange()
        # panels are redrawn as their views arrive, without a flicker
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
        """Return from the past to the present; else pause."""
        if self.screen.past.row is None or self.queue.busy:
            self._stepping.pause()
        else:
            self.to_present()

    def to_present(self) -> None:
        """Return to the present."""
        self._leave_past()
        self._timeline.to_present()
        self.screen.rearrange()
        self.screen.redraw()

    def redo(self) -> None:
        """Redo commands that were undone."""
        self.screen.put(command_job(Redo(self.screen.times)))

    def hold(self) -> None:
        """Hold a copy of what a script trains; while one is held, go back to the script."""
        if self.applies("hold"):
            self.screen.put(command_job(Release() if self.queue.stop.held else Hold()))
        else:
            self.screen.say("only what a training script trains is held: this is a workload already")

    # -- comparing ----------------------------------------------------------------------------------------------------
    def show_compare(self) -> None:
        """Focus Compare; compare the two branches, unless something is compared already."""
        present, other = self.screen.loss.branches
        if self._compare.pair is None and other:
            self._compare.compare(other, present)
        self.screen.go_to("compare")

    def compare(self, first: str, second: str) -> None:
        """Compare two points."""
        self._compare.compare(first, second)
        self.screen.go_to("compare")

    def show_difference(self, between: Between, at: tuple[int, ...]) -> None:
        """Show the difference of a tensor between two points, with the cursor on an element."""
        self.screen.tensor.compare(between, at)
        self.screen.go_to("tensor")
        back = self.keyboard.key("pause").shown
        self.screen.say(f"Tensor: {between.name}, the second minus the first; {back} goes back")

    def back_to_compare(self) -> bool:
        """Return from a difference to Compare; return False while a command runs, for it is paused first."""
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
        """Forget branches and comparisons after a load; a held copy has others than its script."""
        if isinstance(command, Load | Hold | Release):
            self.screen.status.branched = False
            self.screen.loss.branches = ("", "")
            self._compare.forget()
            self._leave_difference()
