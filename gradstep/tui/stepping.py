"""The keys for a stop inside a phase: going on from it, pausing at the next place, breakpoints on the row in focus."""

from __future__ import annotations

from collections.abc import Sequence

from gradstep.tui.acts import ActingBoard, parse_commands
from gradstep.tui.jobs import REFUSED_INSIDE, command_job
from gradstep.tui.layout import INSIDE
from gradstep.tui.panels.breakpoints import BreakpointsPanel
from gradstep.tui.panels.graph import GraphPanel
from gradstep.tui.panels.inside import InsidePanel
from gradstep.tui.panels.model import ModelPanel
from gradstep.tui.panels.position import own_name, place_words
from gradstep.values.commands import (
    Break,
    Command,
    Continue,
    Delete,
    Enable,
    Into,
    Load,
    Out,
    Over,
    Undo,
    Until,
)
from gradstep.values.inside import Breakpoint, LookSource, Position
from gradstep.values.outcomes import Outcome, Stop
from gradstep.values.views import Request, View

_STEPS = (Into, Over, Out, Continue, Until)


class SteppingBoard(ActingBoard, inherit_bindings=False):
    """A board with an action for every key that is for the inside of a phase."""

    _breaks = False
    """True once there was a breakpoint: whatever is seen, the list of them is asked for."""

    def start_clocks(self) -> None:
        """Prepare the timers, and have rows show the breakpoints on them."""
        super().start_clocks()
        self.panel(GraphPanel).breakpoints = self.panel(ModelPanel).breakpoints = lambda: self.breakpoints
        self._list.changed = self._show_marks

    # -- what the driver tells ----------------------------------------------------------------------------------------
    def requests(self) -> list[tuple[str, Request]]:
        """Return what each visible panel wants to see, and the breakpoints."""
        inside = self._status.stop.position
        wanted = super().requests()
        if self._breaks and "breakpoints" not in self._places:
            wanted.append(("breakpoints", self._list.request()))
        if self._layout in INSIDE["backward"] and inside is None and "source" not in self._places:
            # who asks for the source has forwards note the lines that a stop in the backward will show
            wanted.append(("source", LookSource(1)))
        return wanted

    def present(self, stop: Stop, outcome: Outcome | None, views: Sequence[tuple[str, Request, View]]) -> None:
        """Show a stop: at one inside a phase Graph and Model go to what runs."""
        position = stop.position
        # nodes of a backward that a forward runs by itself are looked at as those of any other
        self._come_inside("" if position is None else "backward" if position.kind == "node" else position.phase)
        self.panel(GraphPanel).follow(stop)
        self.model.follow(stop)
        self._list.follow(stop)
        super().present(stop, outcome, views)
        if self._breaks and all(name != "breakpoints" for name, _, _ in views):
            self._list.seen = -1

    def _take_account(self, command: Command) -> None:
        super()._take_account(command)
        self._breaks = isinstance(command, Break) or (self._breaks and not isinstance(command, Load))

    def _show_marks(self) -> None:
        self.panel(GraphPanel).redraw()
        self.model.redraw()

    @property
    def _list(self) -> BreakpointsPanel:
        return self.panel(BreakpointsPanel)

    # -- going on -----------------------------------------------------------------------------------------------------
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
        refused = inside and reading is not None and isinstance(reading.next, REFUSED_INSIDE)
        script = reading is not None and not reading.at_end and not refused
        if inside and not script:
            self._put(command_job(Continue()))
        elif not inside and self.driver.go_on():
            return
        elif script and reading is not None:
            self._put(reading.rest())
        elif self.driver.busy or (
            self._breaks and (self._list.seen < 0 or any(row.enabled for row in self.breakpoints))
        ):
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
        again = f"{self.keyboard.named('pause')} again gives the phase up"
        self._say(f"pausing at the next place{_waited_for(self.driver.stop.position)}; {again}")
        self._pressed = True

    def _stops_inside(self, command: Command) -> bool:
        """Tell whether a command that runs is watched from inside, so that it can stop at the next place."""
        if isinstance(command, _STEPS):
            return self.driver.stop.position is not None or isinstance(command, Into)
        name = type(command).__name__.lower()
        return name in self.driver.stop.pausable or any(row.enabled and row.watches(name) for row in self.breakpoints)

    def applies(self, key: str) -> bool:
        """Tell whether a key would do something now."""
        inside = self.driver.stop.position is not None
        if key in ("over", "out"):
            return inside
        if key == "delete":
            return self._list.here is not None and "breakpoints" in self._places
        if key == "undo":
            return self.driver.stop.number > 1 and not self.driver.dead
        if key == "into":
            return self.driver.stop.number > 0 and not self.driver.dead
        if key == "go_on" and (inside or any(row.enabled for row in self.breakpoints)):
            return not self.driver.dead
        return super().applies(key)

    def action_undo(self) -> None:
        """Go back: inside a phase to the stop before, else by a command."""
        self._put(command_job(Undo(self._times)))

    def choose_inside(self) -> None:
        """Open the tensor under the cursor of Inside in Tensor; turn the breakpoint under the cursor on or off."""
        panel = self.focus_panel
        if panel is self._list:
            self.action_turn_break()
        elif isinstance(panel, InsidePanel) and panel.chosen:
            self._show_tensor(panel.chosen)

    def _show_tensor(self, expression: str) -> None:
        """Show a tensor, and bring Tensor to the front where another panel stands in its place."""
        self._put(command_job(parse_commands(f"show {expression}")[0]))
        if "tensor" not in self._places:
            self._focus("tensor")

    # -- breakpoints --------------------------------------------------------------------------------------------------
    @property
    def breakpoints(self) -> tuple[Breakpoint, ...]:
        """Those there are, as far as the screen has been told."""
        return self._list.all if self._breaks else ()

    def action_break_here(self) -> None:
        """Set a breakpoint on the row under the cursor, or at the position; delete it where there is one."""
        if self.focus_panel is self._list and self._list.here is not None:
            self.action_turn_break()
            return
        wanted = self._break_at_cursor() or _break_at(self.driver.stop.position)
        if wanted is None:
            self._say("a breakpoint stands on a row of Graph or Model, or where a phase is stopped: go there first")
            return
        there = next((row for row in self.breakpoints if _same(row, wanted)), None)
        self._put(command_job(wanted if there is None else Delete(there.number)))

    def action_turn_break(self) -> None:
        """Turn the breakpoint under the cursor on or off."""
        if self._list.here is not None:
            self._put(command_job(Enable(self._list.here.number, not self._list.here.enabled)))

    def action_delete_break(self) -> None:
        """Delete the breakpoint under the cursor of Breakpoints."""
        if self.focus_panel is self._list and self._list.here is not None:
            self._put(command_job(Delete(self._list.here.number)))
        else:
            self._say("Breakpoints: the cursor is on none that could be deleted")

    def action_natural(self) -> None:
        """Do what is natural; in Breakpoints, turn the one under the cursor on or off."""
        if self.focus_panel is self._list and self._list.here is not None:
            self.action_turn_break()
        else:
            super().action_natural()

    def _break_at_cursor(self) -> Break | None:
        panel = self.focus_panel
        if isinstance(panel, GraphPanel) and panel.here is not None:
            row = panel.here
            inside = self.driver.stop.position
            in_call = inside is not None and inside.call  # numbers are those of the loss's graph
            return (
                Break("module", row.path or "*")
                if row.group
                else Break("node", row.name if in_call else f"#{row.order}")
            )
        if isinstance(panel, ModelPanel) and panel.here is not None:
            if panel.here.kind == "parameter":
                return Break("grad", panel.here.path)
            if panel.here.kind == "module":
                return Break("module", panel.here.path) if panel.here.path else Break("phase", "forward")
        return None


def _break_at(position: Position | None) -> Break | None:
    """Return the breakpoint on the place that is stopped at; of an op, on its module."""
    if position is None:
        return None
    if position.kind == "node":
        name = own_name(position.name) if position.call else f"#{position.number}"
        return Break("node", name, "after" if position.edge == "after" else "")
    if not position.path:
        return Break("phase", position.phase)
    exits = position.kind == "module" and position.edge == "exit"
    return Break("module", position.path, "exit" if exits else "")


def _same(row: Breakpoint, wanted: Break) -> bool:
    plain = row.condition is None and row.log is None and not row.passing
    return plain and (row.kind, row.what, row.edge) == (wanted.kind, wanted.what, wanted.edge)


def _waited_for(position: Position | None) -> str:
    return "" if position is None else f": what runs since {place_words(position)} can't be cut short"
