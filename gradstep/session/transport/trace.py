"""`gradstep.set_trace` and `gradstep.watch`: open a screen on a script that is running, in its own terminal."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import pty
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from gradstep.session.transport.open import Redirected, start_screen, terminal_of_this_process, watch_screen
from gradstep.session.transport.request_loop import Gate
from gradstep.values.errors import GradstepError, wrong

if TYPE_CHECKING:
    import torch


def set_trace(
    model: torch.nn.Module | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    loss: torch.Tensor | None = None,
    *,
    header: str = "",
) -> None:
    """Open the debugger at the line that calls this, or stop there where it is open.

    On quit the script runs on, and further calls do nothing, so that one in a loop opens it once; at Python's prompt
    they open it again.

    `PYTHONBREAKPOINT=gradstep.set_trace` makes `breakpoint()` do this.

    Args:
        model: the model; None to look for models in the variables of the callers, and by watching.
        optimizer: the optimizer; None likewise.
        loss: the loss whose graph is shown; None for the callers' variable `loss`.
        header: shown as the reason of the stop.

    Raises:
        GradstepError: there is no terminal, or this is a child process.
    """
    frame = sys._getframe(1)
    screen = _Screen.of(frame, [each for each in (model, optimizer) if each is not None])
    if screen is not None:
        screen.session.show_loss(loss, frame)
        screen.stop(header or "set_trace")


@contextmanager
def watch(model: torch.nn.Module | None = None, optimizer: torch.optim.Optimizer | None = None) -> Iterator[None]:
    """Open the debugger for a block: it stops at its first line, at phases, and once more at its end.

    Raises:
        GradstepError: there is no terminal, or this is a child process.
    """
    frame = sys._getframe(2)
    screen = _Screen.of(frame, [each for each in (model, optimizer) if each is not None])
    if screen is not None:
        screen.session.show_loss(None, frame)
        screen.stop("watch")
    try:
        yield
    finally:
        if screen is not None:
            screen.end()


class _Screen:
    """The screen on this process, while it is open."""

    _open: _Screen | None = None

    @classmethod
    def of(cls, frame: FrameType, parts: list[Any]) -> _Screen | None:
        """Return the open screen; one is opened where there is none. None once it was quit."""
        if cls._open is not None and cls._open.pid != os.getpid():
            raise _in_child("it was forked from the process that has the screen")
        if cls._open is not None and not cls._open.alive:
            if not (cls._open.over or hasattr(sys, "ps1")):
                return None
            cls._open = None
        if cls._open is None:
            cls._open = cls(frame, parts)
        return cls._open

    def __init__(self, frame: FrameType, parts: list[Any]) -> None:
        if multiprocessing.parent_process() is not None:
            raise _in_child(f"{multiprocessing.current_process().name} has no terminal of its own")
        from gradstep.session.script_session import ScriptSession

        self.pid = os.getpid()
        self.over = False
        """True once the end of what was watched was reached: it was not quit before."""
        self._kept = ExitStack()
        self.session = ScriptSession(on_running=lambda running: self._gate.tell(running))
        self._terminal = self._kept.enter_context(terminal_of_this_process())
        master, slave = pty.openpty()
        self._process, sock = start_screen(self._terminal, master)
        self._gate = Gate(sock, pause=self.session.pause)
        self.session.waits = self._gate.waits
        self._redirected = Redirected(slave, (0, 1, 2))
        self._loop = self.session.attach(os.path.basename(frame.f_code.co_filename), frame, parts)
        self._serving = threading.Thread(target=self._serve, name="gradstep-session", daemon=True)
        self._serving.start()
        self._watching = threading.Thread(
            target=watch_screen, args=(self._process, self._gate, self._redirected), name="gradstep-screen", daemon=True
        )
        self._watching.start()
        os.register_at_fork(after_in_child=self.session.forked)
        atexit.register(self.end)

    @property
    def alive(self) -> bool:
        """True until the screen is quit."""
        return self._serving.is_alive()

    def stop(self, reason: str) -> None:
        """Stop at the caller's line until the screen lets it go on."""
        self._loop.stops.stop_here(reason)

    def end(self) -> None:
        """Say that what was watched has ended; return once the screen is quit."""
        from gradstep.engine.problems import problem_of_script
        from gradstep.engine.script.program import Ended

        atexit.unregister(self.end)
        self.over = self.alive
        error = sys.exc_info()[1] or getattr(sys, "last_value", None)
        self.session.end(Ended(0) if error is None else Ended(1, problem_of_script(error)))
        self._serving.join()
        self._watching.join()

    def _serve(self) -> None:
        self.session.joined()
        self._gate.serve(self.session)
        self._gate.hang_up()
        self._watching.join()
        if self._process.returncode:
            self._terminal.restore()
        self.session.close()
        self._gate.close()
        self._kept.close()


def _in_child(what: str) -> GradstepError:
    remedy = "call it in the main process: num_workers=0 has a DataLoader load there"
    return wrong("the debugger can't open in a child process", what, remedy)
