"""The keys for a stop inside a phase: going on from it, pausing at the next place, breakpoints on the row in focus."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from gradstep.tui.commands.jobs import REFUSED_INSIDE, command_job
from gradstep.tui.controllers.training import Training
from gradstep.tui.desk import Controller, Desk
from gradstep.tui.layout.layouts import INSIDE
from gradstep.tui.panels.bars.position import own_name, place_words
from gradstep.tui.panels.breakpoints import BreakpointsPanel
from gradstep.tui.panels.graph.panel import GraphPanel
from gradstep.values.commands import (
    Break,
    Command,
    Continue,
    Delete,
    Into,
    Load,
    Out,
    Over,
    Undo,
    Until,
)
from gradstep.values.outcomes import Outcome, Stop
from gradstep.values.views import Request, View
from gradstep.values.views.inside import Breakpoint, LookSource, Position

_STEPS = (Into, Over, Out, Continue, Until)


class Stepping(Controller):
    """Goes on from a stop inside a phase, pauses at the next place, and keeps breakpoints."""

    def __init__(self, screen: Desk, training: Training) -> None:
        """Hold the screen; `training` does what is the same between phases."""
        super().__init__(screen)
        self._training = training
        self._list = screen.panel(BreakpointsPanel)
        self._breaks = False
        """True once there was a breakpoint: whatever is seen, the list of them is asked for."""
        screen.panel(GraphPanel).breakpoints = screen.model.breakpoints = lambda: self.breakpoints
        self._list.changed = self._show_marks

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return what each key does."""
        return {
            **{name: partial(self.act, name) for name in ("into", "over", "out")},
            "go_on": self.go_on,
            "undo": self.undo,
            "break": self.break_here,
            "delete": lambda: self.screen.say("Breakpoints: the cursor is on none that could be deleted"),
        }

    # -- what the queue tells -----------------------------------------------------------------------------------------
    def wants(self) -> Sequence[tuple[str, Request]]:
        """Ask for the breakpoints whatever is seen, and have forwards note their lines."""
        wanted: list[tuple[str, Request]] = []
        if self._breaks and "breakpoints" not in self.screen.places:
            wanted.append(("breakpoints", self._list.request()))
        outside = self.screen.status.stop.position is None and "source" not in self.screen.places
        if outside and self.screen.layout_name in INSIDE["backward"]:
            # who asks for the source has forwards note the lines that a stop in the backward will show
            wanted.append(("source", LookSource(1)))
        return wanted

    def stopping(
        self,
        stop: Stop,
        outcome: Outcome | None,  # noqa: ARG002
        views: Sequence[tuple[str, Request, View]],
    ) -> Sequence[tuple[str, Request, View]]:
        """Come to the layout of a stop inside a phase; Graph and Model go to what runs."""
        position = stop.position
        # nodes of a backward that a forward runs by itself are looked at as those of any other
        self.screen.come_inside("" if position is None else "backward" if position.kind == "node" else position.phase)
        self.screen.panel(GraphPanel).follow(stop)
        self.screen.model.follow(stop)
        self._list.follow(stop)
        if self._breaks and all(name != "breakpoints" for name, _, _ in views):
            self._list.shown_stop = -1
        return views

    def carried_out(self, command: Command) -> None:
        """Take note of breakpoints, which a load clears."""
        self._breaks = isinstance(command, Break) or (self._breaks and not isinstance(command, Load))

    def _show_marks(self) -> None:
        self.screen.panel(GraphPanel).redraw()
        self.screen.model.redraw()

    # -- going on -----------------------------------------------------------------------------------------------------
    def act(self, line: str) -> None:
        """Run a phase, or go on from a stop inside one."""
        driver = self.queue
        if line in ("over", "out") and driver.stop.position is None and not driver.busy and driver.stop.number:
            self.screen.say(f"not inside a phase: {self.keyboard.key('into').shown} steps into the natural next one")
        else:
            self._training.act(line)

    def go_on(self) -> None:
        """Go on from a stop inside a phase; else with what a pause kept, with the script, or to a breakpoint."""
        self.screen.queueing()
        reading, inside = self.screen.reading, self.queue.stop.position is not None
        refused = inside and reading is not None and isinstance(reading.next, REFUSED_INSIDE)
        script = reading is not None and not reading.at_end and not refused
        if inside and not script:
            self.screen.put(command_job(Continue()))
        elif not inside and self.queue.go_on():
            return
        elif script and reading is not None:
            self.screen.put(reading.rest())
        elif self.queue.busy or (
            self._breaks and (self._list.shown_stop < 0 or any(row.enabled for row in self.breakpoints))
        ):
            self.screen.put(command_job(Continue()))
        else:
            break_ = self.keyboard.key("break").shown
            self.screen.say(f"nothing was paused: there is nothing to continue; {break_} sets a breakpoint")

    def pause(self) -> None:
        """Drop what is queued, and have a phase that is stepped stop at the next place; once more, interrupt it."""
        running = self.queue.running
        if running is None or self._training.pressed or not self._stops_inside(running):
            self._training.pause()
            return
        self.screen.pausing()
        self.queue.pause()
        self.screen.session.interrupt()
        again = f"{self.keyboard.named('pause')} again gives the phase up"
        self.screen.say(f"pausing at the next place{_waited_for(self.queue.stop.position)}; {again}")
        self._training.pressed = True

    def _stops_inside(self, command: Command) -> bool:
        """Return whether a command that runs is watched from inside, so that it can stop at the next place."""
        if isinstance(command, _STEPS):
            return self.queue.stop.position is not None or isinstance(command, Into)
        name = type(command).__name__.lower()
        return name in self.queue.stop.pausable or any(row.enabled and row.watches(name) for row in self.breakpoints)

    def applies(self, key: str) -> bool | None:
        """Return whether a key would do something now."""
        inside = self.queue.stop.position is not None
        if key in ("over", "out"):
            return inside
        if key == "delete":
            return self._list.here is not None and "breakpoints" in self.screen.places
        if key == "undo":
            return self.queue.stop.number > 1 and not self.queue.dead
        if key == "into":
            return self.queue.stop.number > 0 and not self.queue.dead
        if key == "go_on" and (inside or any(row.enabled for row in self.breakpoints)):
            return not self.queue.dead
        return None

    def undo(self) -> None:
        """Go back: inside a phase to the stop before, else by a command."""
        self.screen.put(command_job(Undo(self.screen.times)))

    # -- breakpoints --------------------------------------------------------------------------------------------------
    @property
    def breakpoints(self) -> tuple[Breakpoint, ...]:
        """Those there are, as far as the screen has been told."""
        return self._list.all if self._breaks else ()

    def break_here(self) -> None:
        """Set a breakpoint at the position, or delete it where there is one."""
        wanted = _break_at(self.queue.stop.position)
        if wanted is None:
            self.screen.say(
                "a breakpoint stands on a row of Graph or Model, or where a phase is stopped: go there first"
            )
        else:
            self.toggle(wanted)

    def toggle(self, wanted: Break) -> None:
        """Set a breakpoint, or delete it where there is one."""
        there = next((row for row in self.breakpoints if _same(row, wanted)), None)
        self.screen.put(command_job(wanted if there is None else Delete(there.number)))


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
