"""Stepping inside a phase: continuing, pausing at the next stop, breakpoints on the row under the cursor."""

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
from gradstep.tui.panels.source import SourcePanel
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


class SteppingController(Controller):
    """Continues from a stop inside a phase, pauses at the next one, and toggles breakpoints."""

    def __init__(self, screen: Desk, training: Training) -> None:
        """Attach to the screen; `training` handles the same keys between phases."""
        super().__init__(screen)
        self._training = training
        self._list = screen.panel(BreakpointsPanel)
        self._breaks = False
        """True once a breakpoint was set: their list is then always requested."""
        self._source = screen.panel(SourcePanel)
        screen.panel(GraphPanel).breakpoints = screen.model.breakpoints = lambda: self.breakpoints
        self._source.breakpoints = lambda: self.breakpoints
        self._list.changed = self._show_marks

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return the handler of each key."""
        return {
            **{name: partial(self.act, name) for name in ("into", "over", "out")},
            "go_on": self.go_on,
            "undo": self.undo,
            "break": self.break_here,
            "delete": lambda: self.screen.say("Breakpoints: there is no breakpoint under the cursor"),
        }

    # -- stops and requests -------------------------------------------------------------------------------------------
    def wants(self) -> Sequence[tuple[str, Request]]:
        """Ask for the breakpoints even when hidden, and have forwards record source lines."""
        wanted: list[tuple[str, Request]] = []
        if self._breaks and "breakpoints" not in self.screen.placements:
            wanted.append(("breakpoints", self._list.request()))
        outside = self.screen.status.stop.position is None and "source" not in self.screen.placements
        if outside and self.screen.layout_name in INSIDE["backward"]:
            # asking for the source has forwards record the lines that a stop in the backward shows
            wanted.append(("source", LookSource(1)))
        return wanted

    def stopping(
        self,
        stop: Stop,
        outcome: Outcome | None,  # noqa: ARG002
        views: Sequence[tuple[str, Request, View]],
    ) -> Sequence[tuple[str, Request, View]]:
        """Switch to the layout of the stop; move the cursors of Graph and Model to what runs."""
        position = stop.position
        # a node of a backward that runs inside a forward uses the backward layout, too
        self.screen.lay_out_inside(
            "" if position is None else "backward" if position.kind == "node" else position.phase
        )
        self.screen.panel(GraphPanel).follow(stop)
        self.screen.model.follow(stop)
        self._list.follow(stop)
        if self._breaks and all(name != "breakpoints" for name, _, _ in views):
            self._list.shown_stop = -1
        return views

    def carried_out(self, command: Command) -> None:
        """Track whether breakpoints were set; a load clears them."""
        self._breaks = isinstance(command, Break) or (self._breaks and not isinstance(command, Load))

    def _show_marks(self) -> None:
        for panel in (self.screen.panel(GraphPanel), self.screen.model, self._source):
            panel.redraw()

    # -- continuing ---------------------------------------------------------------------------------------------------
    def act(self, line: str) -> None:
        """Run a phase, or continue from a stop inside one."""
        queue = self.queue
        if line == "over" and queue.stop.script:
            self.screen.put(command_job(Over()))
        elif line in ("over", "out") and queue.stop.position is None and not queue.busy and queue.stop.number:
            self.screen.say(f"not inside a phase: {self.keyboard.key('into').shown} steps into the next one")
        else:
            self._training.act(line)

    def go_on(self) -> None:
        """Continue: from a stop inside a phase, else a paused job, the script, or to a breakpoint."""
        self.screen.queueing()
        reading, inside = self.screen.reading, self.queue.stop.position is not None
        refused = inside and reading is not None and isinstance(reading.next, REFUSED_INSIDE)
        script = reading is not None and not reading.at_end and not refused
        if (inside or self.queue.stop.script) and not script:
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
            self.screen.say(f"nothing is paused, so there is nothing to continue; {break_} sets a breakpoint")

    def pause(self) -> None:
        """Clear the queue, and stop a stepped phase at its next stop; pressed again, interrupt it."""
        running = self.queue.running
        if running is not None and self.queue.stop.script:
            self.screen.pausing()
            self.queue.pause()
            self.screen.session.interrupt()
            self.screen.say("pausing the script at the next place where it can stop")
            return
        if running is None or self._training.pressed or not self._stops_inside(running):
            self._training.pause()
            return
        self.screen.pausing()
        self.queue.pause()
        self.screen.session.interrupt()
        again = f"{self.keyboard.named('pause')} again rolls the phase back"
        self.screen.say(f"pausing at the next stop{_waited_for(self.queue.stop.position)}; {again}")
        self._training.pressed = True

    def _stops_inside(self, command: Command) -> bool:
        """Return whether a running command is observed inside, so that it can pause at the next stop."""
        if isinstance(command, _STEPS):
            return self.queue.stop.position is not None or isinstance(command, Into)
        name = type(command).__name__.lower()
        return name in self.queue.stop.pausable or any(row.enabled and row.watches(name) for row in self.breakpoints)

    def applies(self, key: str) -> bool | None:
        """Return whether a key would do something now."""
        inside = self.queue.stop.position is not None
        if key == "undo" and self.queue.stop.script:
            return False
        if key in ("over", "out"):
            return inside or (key == "over" and self.queue.stop.script)
        if key == "delete":
            return self._list.here is not None and "breakpoints" in self.screen.placements
        if key == "undo":
            return self.queue.stop.number > 1 and not self.queue.dead
        if key == "into":
            return self.queue.stop.number > 0 and not self.queue.dead
        if key == "go_on" and (inside or self.queue.stop.script or any(row.enabled for row in self.breakpoints)):
            return not self.queue.dead
        return None

    def undo(self) -> None:
        """Undo: to the previous stop inside a phase, else the last command."""
        self.screen.put(command_job(Undo(self.screen.times)))

    # -- breakpoints --------------------------------------------------------------------------------------------------
    @property
    def breakpoints(self) -> tuple[Breakpoint, ...]:
        """The breakpoints that the screen knows of."""
        return self._list.all if self._breaks else ()

    def break_here(self) -> None:
        """Set a breakpoint at the position, or between phases of a script at its line; delete the existing one."""
        wanted = _break_at(self.queue.stop.position)
        if wanted is None and self.queue.stop.script:
            wanted = self._source.line_break
        if wanted is None:
            self.screen.say("a breakpoint needs a row of Graph or Model, or a stop inside a phase: go there first")
        else:
            self.toggle(wanted)

    def toggle(self, wanted: Break) -> None:
        """Set a breakpoint, or delete the existing one."""
        there = next((row for row in self.breakpoints if _same(row, wanted)), None)
        self.screen.put(command_job(wanted if there is None else Delete(there.number)))


def _break_at(position: Position | None) -> Break | None:
    """Return the breakpoint for a position; for an op, one on its module."""
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
    return "" if position is None else f": what has run since {place_words(position)} can't be interrupted"
