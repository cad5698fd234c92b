"""What a script trains, copied and held: an ordinary session beside the script, until it is released."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from gradstep.engine.script.holding import Trained
from gradstep.engine.yielding import Waits
from gradstep.session.local import Session
from gradstep.values import commands as cmd
from gradstep.values.commands import Command
from gradstep.values.outcomes import Outcome, Stop
from gradstep.values.views import Request, View
from gradstep.values.views.inside import Breakpoint
from gradstep.views.tensor.view import Selection
from gradstep.workload import Workload


class HeldCopy:
    """A session of the copy. The script's generators are as they were once it is released.

    Args:
        workload: the copy.
        trained: what it was copied from.
        history: maximum bytes of history.
        offload: True to keep the history of a model on a GPU in host memory.
        share: time budget of the history, see `Session`.
        waiting: called with the name of the op that a pause waits for.
        waits: returns whether a message waits for the present look to end.
    """

    def __init__(
        self,
        workload: Workload,
        trained: Trained,
        history: int,
        offload: bool,
        share: float,
        waiting: Callable[[str], None],
        waits: Waits,
    ) -> None:
        self._keeper = trained.held.keeper
        self._random = self._keeper.capture()
        if trained.computed and trained.began is not None:  # its first forward draws what the script's has drawn
            self._keeper.restore(trained.began)
        self._session = Session(workload, history=history, history_offload=offload, history_time=share)
        self._session.can_pause(waiting, lambda: self._interrupted, waits)
        self._interrupted = False
        self._thread = threading.get_ident()

    def take_over(self, breakpoints: Iterable[Breakpoint], selection: Selection | None) -> None:
        """Set the breakpoints of the script, but for those at lines, and select what is selected there."""
        for row in breakpoints:
            if row.enabled and row.kind != "line":
                given = (row.kind, row.what, row.edge, row.condition, row.log, row.ignore)
                self._session.execute(cmd.Break(*given, passing=row.passing))
        self._session.inspector.selection = selection

    @property
    def stop(self) -> Stop:
        """The present stop of the copy."""
        return replace(self._session.stop, held=True)

    def execute(self, command: Command) -> Outcome:
        """Run a command on the copy. A phase that is interrupted is rolled back."""
        self._interrupted, self._thread = False, threading.get_ident()
        outcome = self._session.execute(command)
        return replace(outcome, stop=replace(outcome.stop, held=True))

    def look(self, *requests: Request, at: int = 0) -> tuple[View, ...]:
        """Return a view of the copy for each request."""
        return self._session.look(*requests, at=at)

    def pause(self) -> None:
        """Interrupt the command that runs: a phase that is stepped stops at its next place. Call on any thread."""
        self._interrupted = True
        if self._session.running:
            raised = ctypes.py_object(KeyboardInterrupt)  # no signal reaches the thread: it is not the main one
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), raised)

    def release(self) -> None:
        """Drop the copy; the script draws as if nothing had been held."""
        self._session.close()
        self._keeper.restore(self._random)
