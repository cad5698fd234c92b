"""The engine process: holds the model, answers the screen that started it, and exits with it."""

from __future__ import annotations

import ctypes
import faulthandler
import fcntl
import gc
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import NoReturn

from gradstep.session.transport.process import die_with
from gradstep.session.transport.request_loop import Gate, ServedSession, flush_output
from gradstep.session.transport.shell import fork_script
from gradstep.values.commands import Command
from gradstep.values.outcomes import Outcome, Problem, Progress, Stop, Waiting
from gradstep.values.views import NoView, Request, View

_OUT_OF_THE_WAY = 200
"""The lowest descriptor for the socket of a script, which counts its own files from 3."""
_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
"""Options of glibc's `mallopt`."""
_SPARE = 1 << 30
"""The most free bytes at the end of the heap that are not returned to the system."""


def main() -> None:
    """Serve one screen until it closes the session.

    `sys.argv` has the socket's descriptor, the screen's process id, the bytes of history, 1 to offload it, else 0, its
    time budget, and to run a script, the descriptor that its exit is reported to, else -1.
    """
    descriptor, screen, history, offload = map(int, sys.argv[1:5])
    share, report = float(sys.argv[5]), int(sys.argv[6])
    sys.argv[1:] = []
    die_with(screen)
    if report >= 0:
        fork_script(report, descriptor)
        high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_THE_WAY)
        os.close(descriptor)
        serve_script(socket.socket(fileno=high), history, bool(offload), share)
    _set_malloc({_M_ARENA_MAX: 1})  # before there is a thread: the heaps of others are returned whenever they are free
    kill_children_on_exit()
    sys.path.append(os.getcwd())  # for pkg.module:factory; last, where it shadows nothing
    faulthandler.enable()
    os.set_inheritable(descriptor, False)
    gate = Gate(socket.socket(fileno=descriptor), on_lost=kill_own_group, on_loaded=_loaded)
    try:
        gate.serve(_session(gate, history, bool(offload), share))
    except SystemExit as end:
        _end(end.code if isinstance(end.code, int) else 1 if end.code else 0)
    _end(0)


def serve_script(sock: socket.socket, history: int, offload: bool, share: float) -> NoReturn:
    """Run a script on this thread, the main one, and serve a screen on another."""
    session: ScriptSession | None = None
    gate = Gate(sock, on_lost=kill_own_group, pause=lambda: session.pause() if session is not None else None)
    gate.tell(Progress("importing torch"))
    try:
        from gradstep.session.script_session import ScriptSession
    except Exception as error:
        gate.serve(_NoSession(_no_torch(error)))
        _end(1)
    session = ScriptSession(
        on_progress=lambda stage: gate.tell(Progress(stage)),
        on_waiting=lambda what: gate.tell(Waiting(what)),
        on_running=gate.tell,
        history=history,
        history_offload=offload,
        history_time=share,
    )
    session.waits = gate.waits

    def serve() -> None:
        gate.serve(session)
        if not gate.closed:
            _end(0)
        session.close()

    def in_child() -> None:
        session.forked()
        sock.close()

    os.register_at_fork(after_in_child=in_child)
    threading.Thread(target=serve, name="gradstep-session", daemon=True).start()
    _end(session.run_script().code)


def kill_children_on_exit() -> None:
    """Have forked children, such as a DataLoader's workers, killed when this process ends, however it ends.

    Only for forks from the main thread: the kernel sends the signal when the forking thread ends, and others end first.
    """
    ours, on_main = os.getpid(), [False]

    def before() -> None:
        on_main[0] = os.getpid() == ours and threading.current_thread() is threading.main_thread()

    def in_child() -> None:
        if on_main[0]:
            die_with(ours)

    os.register_at_fork(before=before, after_in_child=in_child)


def freeze_objects() -> None:
    """Exclude all present objects from garbage collection: a collection in the middle of a phase would scan torch.

    The garbage of an earlier workload is collected first.
    """
    if gc.get_freeze_count():
        gc.unfreeze()
        gc.collect()
    gc.freeze()


def reuse_freed_memory() -> None:
    """Have malloc reuse freed memory, where glibc would return large blocks to the system.

    The page faults of new gradients would otherwise take as long as the rest of the backward of a GPT-2.
    """
    _set_malloc({_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: _SPARE})


def _set_malloc(options: dict[int, int]) -> None:
    with suppress(AttributeError):  # not glibc
        for option, value in options.items():
            ctypes.CDLL(None).mallopt(option, value)


def kill_own_group() -> None:
    """Kill this process and its children: the screen is gone."""
    os.killpg(0, signal.SIGKILL)


def _loaded() -> None:
    freeze_objects()
    reuse_freed_memory()  # not before: what loading needs only for a while is returned


def _session(gate: Gate, history: int, offload: bool, share: float) -> ServedSession:
    gate.tell(Progress("importing torch"))
    try:
        from gradstep.session.local import Session
    except Exception as error:
        return _NoSession(_no_torch(error))
    session = Session(
        history=history,
        history_offload=offload,
        history_time=share,
        on_progress=lambda stage: gate.tell(Progress(stage)),
    )
    session.can_pause(lambda what: gate.tell(Waiting(what)), gate.interrupted, gate.waits)
    gate.idle = session.idle
    return session


def _no_torch(error: Exception) -> Problem:
    return Problem(
        kind="wrong",
        title="the engine cannot start",
        what=f"{type(error).__name__}: {error}",
        remedy=f"PyTorch must be importable by {sys.executable}: see https://pytorch.org/get-started/locally",
    )


class _NoSession:
    """Replaces the session when torch cannot be imported: every command returns that problem."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.running = False
        self.stop = Stop()

    def execute(self, command: Command) -> Outcome:
        return Outcome(command, self.stop, self._problem)

    def look(self, *requests: Request, at: int = 0) -> tuple[View, ...]:  # noqa: ARG002
        return tuple(NoView(0, self._problem.what) for _ in requests)


def _end(status: int) -> NoReturn:
    flush_output()
    # an orderly shutdown of torch takes a second, and frees nothing that the kernel does not free
    os._exit(status)
