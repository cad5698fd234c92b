"""Where a script stops, and what its loop has to print there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import FrameType

from msgspec.structs import replace

from gradstep.engine.held import Held
from gradstep.engine.observe.engine_calls import is_transformed
from gradstep.engine.observe.loop_phases import Name
from gradstep.engine.script.found import Found
from gradstep.engine.script.iterations import Iterations
from gradstep.engine.script.lines import LineStops
from gradstep.engine.script.loop_client import LoopClient, Wanted
from gradstep.engine.script.losses import Losses
from gradstep.engine.script.main_thread import MainThread

_NOTES = 20
"""Maximum number of lines that are printed at a stop."""


class ScriptStops:
    """Stops a script on its thread. All but `wanted` is written there.

    Args:
        thread: the script's.
        client: has the breakpoints.
        found: what is trained.
        iterations: counts the iterations.
        losses: the losses; a stop reads those that were left unread.
        counted: called before a stop: the views show what was only counted.
        complete: called at the end of a phase with the innermost frame: finds what only a stop shows.
    """

    def __init__(
        self,
        thread: MainThread,
        client: LoopClient,
        found: Found,
        iterations: Iterations,
        losses: Losses,
        counted: Callable[[], None],
        complete: Callable[[FrameType], None],
    ) -> None:
        self.thread, self._client, self._found = thread, client, found
        self._iterations, self._losses, self._counted, self._complete = iterations, losses, counted, complete
        self.lines = LineStops(self._at_line)
        self.wanted = Wanted()
        self.held: Held | None = None
        """What was found, as of the last stop."""
        self.reason = ""
        """The breakpoint that was hit at the stop."""
        self.before = ""
        """The phase that the stop is in front of; empty for a stop after one."""
        self.notes: list[str] = []
        """The lines to print at the next stop."""

    def now(self, checks: bool = False) -> Held:
        """Return what was found so far; see `Found.held`."""
        self.held = self._found.held(checks)
        return self.held

    @property
    def runs_on(self) -> bool:
        """True while nothing can stop it but a pause: what only the next stop would show is not looked for."""
        return self.wanted.runs_on and not (self._client.armed or self.thread.pausing)

    def shows(self, phase: Name, nests: bool) -> bool:
        """Return whether the end of a phase is looked at, so that what it changes has to be known.

        Args:
            phase: the phase.
            nests: True where a step may run a closure, whose phases are stopped at.
        """
        wanted = self.wanted
        if wanted.runs_on or is_transformed():  # there a copy would be one of its tensors
            return False
        if wanted.until == "phase" and wanted.names and phase not in wanted.names:
            return phase == "step" and nests
        return True

    def end_of(self, name: Name, last: bool = False) -> None:
        """Stop at the end of a phase where that is wanted; a step is the last of its iteration."""
        wanted, held = self.wanted, self.now()
        self.reason = self._client.after(held, name, self._iterations.number, last or name == "step")
        if self.reason or self.thread.pausing or (wanted.until == "phase" and self._meets(wanted, name)):
            self.stop()

    def _meets(self, wanted: Wanted, name: Name) -> bool:
        if (wanted.names and name not in wanted.names) or self._iterations.number < wanted.iteration:
            return False
        return wanted.condition is None or self._client.holds(self.now(), wanted.condition)

    def stop(self, before: str = "") -> None:
        """Stop at the end of a phase, or in front of one."""
        self.before = before
        self._look()
        self._halt()

    def stop_here(self, reason: str = "") -> None:
        """Stop at the line that the script's thread is at."""
        self.reason = reason
        self._counted()
        self._look()
        self._halt()

    def _look(self) -> None:
        self._complete(sys._getframe(1))
        self.now(checks=True)

    def _at_line(self, frame: FrameType, numbers: tuple[int, ...]) -> None:
        """Stop at a line, if one of its breakpoints is hit or a pause was asked for."""
        if not self.thread.released:
            file = frame.f_code.co_filename
            self._counted()
            self.reason = self._client.at_line(self.now(), f"{os.path.basename(file)}:{frame.f_lineno}", numbers)
            if self.reason or self.thread.pausing:
                self._halt()

    def _halt(self) -> None:
        if self.thread.pausing and not self.reason:
            self.reason = "pause"
        self.lines.paused()
        self._counted()
        held, number = self.held, self._iterations.number
        if held is not None and held.point.iteration != number:  # the stop is in front of an iteration's first
            held.point = replace(held.point, iteration=number)
        self.read_losses()
        self.thread.halt("phase")
        self.reason = ""

    def read_losses(self) -> None:
        """Read the losses that were left unread, and show the last one."""
        last = self._losses.read(self.now()) if self._losses.unread else None
        if last is not None and self.held is not None:
            self.held.point = replace(self.held.point, value=last.value, change=last.change)

    def tell(self, text: str) -> None:
        """Print a line at the next stop; a line that repeats is printed once."""
        if text not in self.notes and len(self.notes) < _NOTES:
            self.notes.append(text)
