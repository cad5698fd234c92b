"""The keys for a stop inside a phase: going on from it, pausing at the next place, breakpoints on the row in focus."""

from __future__ import annotations

from gradstep.tui.acts import ActingBoard
from gradstep.tui.jobs import command_job
from gradstep.tui.panels.graph import GraphPanel
from gradstep.tui.panels.model import ModelPanel
from gradstep.tui.panels.position import place_words
from gradstep.values.commands import (
    Backward,
    Break,
    Command,
    Continue,
    Delete,
    Forward,
    Into,
    NextBatch,
    Out,
    Over,
    Step,
    Until,
    ZeroGrad,
)
from gradstep.values.inside import Breakpoint, Position

_STEPS = (Into, Over, Out, Continue, Until)


class SteppingBoard(ActingBoard, inherit_bindings=False):
    """A board with an action for every key that is for the inside of a phase."""

    def action_act(self, line: str) -> None:
        """Run a phase, or go on from a stop inside one."""
        driver = self.driver
        if line in ("over", "out") and driver.stop.position is None and not driver.busy and driver.stop.number:
            self._say(f"not inside a phase: {self.keyboard.key('into').shown} steps into the natural next one")
        else:
            super().action_act(line)

    def action_go_on(self) -> None:
        """Go on from a stop inside a phase; else with what a pause kept, with the script, or to a breakpoint."""
        self._flush_selection()
        reading, inside = self._reading, self.driver.stop.position is not None
        script = reading is not None and not reading.at_end and not (inside and isinstance(reading.next, _ACTS))
        if inside and not script:
            self._put(command_job(Continue()))
        elif not inside and self.driver.go_on():
            return
        elif script and reading is not None:
            self._put(reading.rest())
        elif self.driver.busy or any(row.enabled for row in self.breakpoints):
            self._put(command_job(Continue()))
        else:
            break_ = self.keyboard.key("break").shown
            self._say(f"nothing was paused: there is nothing to go on with; {break_} sets a breakpoint")

    def action_pause(self) -> None:
        """Drop what is queued, and have a phase that is stepped stop at the next place; once more, interrupt it."""
        running = self.driver.running
        if running is None or self._pressed or not self._stops_inside(running):
            super().action_pause()
            return
        self._settle()
        self.driver.pause()
        self._session.interrupt()
        self._say(f"pausing at the next place{_waited_for(self.driver.stop.position)}; esc again gives the phase up")
        self._pressed = True

    def _stops_inside(self, command: Command) -> bool:
        """Tell whether a command that runs is watched from inside, so that it can stop at the next place."""
        if isinstance(command, _STEPS):
            return self.driver.stop.position is not None or isinstance(command, Into)
        name = type(command).__name__.lower()
        return any(row.enabled and row.watches(name) for row in self.breakpoints)

    def applies(self, key: str) -> bool:
        """Tell whether a key would do something now."""
        inside = self.driver.stop.position is not None
        if key in ("over", "out"):
            return inside
        if key == "into":
            return self.driver.stop.number > 0 and not self.driver.dead
        if key == "go_on" and (inside or any(row.enabled for row in self.breakpoints)):
            return not self.driver.dead
        return super().applies(key)

    # -- breakpoints --------------------------------------------------------------------------------------------------
    @property
    def breakpoints(self) -> tuple[Breakpoint, ...]:
        """Those there are, as far as the screen has been told."""
        return ()

    def action_break_here(self) -> None:
        """Set a breakpoint on the row under the cursor, or at the position; delete it where there is one."""
        wanted = self._break_at_cursor() or _break_at(self.driver.stop.position)
        if wanted is None:
            self._say("a breakpoint stands on a row of Graph or Model, or where a phase is stopped: go there first")
            return
        there = next((row for row in self.breakpoints if _same(row, wanted)), None)
        self._put(command_job(wanted if there is None else Delete(there.number)))

    def _break_at_cursor(self) -> Break | None:
        panel = self.focus_panel
        if isinstance(panel, GraphPanel) and panel.here is not None:
            row = panel.here
            return Break("module", row.path or "*") if row.group else Break("node", f"#{row.order}")
        if isinstance(panel, ModelPanel) and panel.here is not None:
            if panel.here.kind == "parameter":
                return Break("grad", panel.here.path)
            if panel.here.kind == "module":
                return Break("module", panel.here.path) if panel.here.path else Break("phase", "forward")
        return None


_ACTS = (Forward, Backward, Step, ZeroGrad, NextBatch)
"""What a stop inside a phase refuses."""


def _break_at(position: Position | None) -> Break | None:
    """Return the breakpoint on the place that is stopped at; of an op, on its module."""
    if position is None:
        return None
    if position.kind == "node":
        return Break("node", f"#{position.number}", "after" if position.edge == "after" else "")
    if not position.path:
        return Break("phase", position.phase)
    exits = position.kind == "module" and position.edge == "exit"
    return Break("module", position.path, "exit" if exits else "")


def _same(row: Breakpoint, wanted: Break) -> bool:
    plain = row.condition is None and row.log is None and not row.passing
    return plain and (row.kind, row.what, row.edge) == (wanted.kind, wanted.what, wanted.edge)


def _waited_for(position: Position | None) -> str:
    return "" if position is None else f": what runs since {place_words(position)} can't be cut short"
