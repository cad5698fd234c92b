"""`gradstep.open`: the caller's process becomes the engine, and a screen is started on its terminal."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from gradstep.session.transport.process import command_of, exit_words
from gradstep.session.transport.request_loop import Gate, flush_output
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.outcomes import Waiting
from gradstep.workload import Workload

RESET = b"\x1b[?1000;1002;1003;1006;1015l\x1b[?1004l\x1b[?2004l\x1b[?2026l\x1b[?2048l\x1b[<u\x1b[?1049l\x1b[?25h\x1b[0m"
"""Resets what a screen sets: reports of mouse, focus, paste, size and keys, the alternate buffer, a hidden cursor."""


def open(workload: Workload) -> None:
    """Open the screen on a workload, in this terminal; return when the user quits, with the model as it is then.

    Raises:
        GradstepError: the workload is incomplete, there is no terminal, or the screen was killed.
        KeyboardInterrupt: ctrl+c before the screen was open.
    """
    if threading.current_thread() is not threading.main_thread():
        raise wrong(
            "gradstep.open needs the main thread", "It was called on another thread.", "Call it on the main thread."
        )
    from gradstep.session.local import Session

    with terminal_of_this_process() as terminal:
        session = Session(workload)
        status = _run_screen(session, terminal)
        if status != 0:
            terminal.restore()
    if status == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if status != 0:
        raise wrong(
            f"the screen {exit_words(status)}",
            "The terminal was restored.",
            "The model is as the last command left it: call gradstep.open again to continue.",
        )


SCREEN = "gradstep.tui.open"
"""The module whose `main` is the screen process."""


@dataclass
class Terminal:
    """The terminal of this process, by its descriptors."""

    reading: int
    writing: int
    found: list[Any]
    """Its attributes before the screen."""

    def restore(self) -> None:
        """Restore the terminal for a screen that was killed."""
        with suppress(OSError, termios.error):  # the terminal may be gone too
            termios.tcsetattr(self.reading, termios.TCSAFLUSH, self.found)
            os.write(self.writing, RESET)


@contextmanager
def terminal_of_this_process() -> Iterator[Terminal]:
    """Yield the terminal that a screen can be drawn on.

    Raises:
        GradstepError: there is none.
    """
    if os.environ.get("TERM", "") in ("", "dumb"):
        raise _no_terminal(f"TERM is {os.environ.get('TERM') or 'not set'}: this terminal cannot draw a screen")
    opened = []
    try:
        if os.isatty(0) and os.isatty(2):
            opened += [os.dup(0), os.dup(2)]
        else:
            opened.append(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        yield Terminal(opened[0], opened[-1], termios.tcgetattr(opened[0]))
    except OSError as error:
        if opened:
            raise
        raise _no_terminal(f"{error.strerror}: {error.filename}") from error
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _no_terminal(why: str) -> GradstepError:
    notebook = "ipykernel" in sys.modules
    return wrong(
        "there is no terminal to open the screen in",
        f"This is a notebook's kernel, which has none ({why})." if notebook else f"{why}.",
        "In a notebook use gradstep.Session(workload): session.forward() and the others show what changed."
        if notebook
        else "Run this in a terminal, or use gradstep.Session(workload), which needs none.",
    )


def _run_screen(session: Any, terminal: Terminal) -> int:
    """Serve the session at the gate while a screen process runs; return the exit status of that process."""
    # read in the screen process: read here, C code that prints with the GIL held would deadlock
    reading, writing = os.pipe()
    try:
        screen, ours = start_screen(terminal, reading)
    except BaseException:
        os.close(writing)
        raise
    gate = Gate(ours)
    session.can_pause(lambda what: gate.tell(Waiting(what)), gate.interrupted, gate.waits)
    gate.idle = session.idle
    redirected = Redirected(writing, (1, 2))
    watcher = threading.Thread(
        target=watch_screen, args=(screen, gate, redirected), name="gradstep-screen", daemon=True
    )
    watcher.start()
    try:
        gate.serve(session)
    finally:
        gate.hang_up()
        watcher.join()
        gate.close()
        flush_output()
    return screen.returncode


def start_screen(terminal: Terminal, output: int) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a screen process on a terminal, which reads the debuggee's output; return it, and our end of its socket.

    The descriptor `output` is closed here.
    """
    ours, theirs = socket.socketpair()
    try:
        screen = subprocess.Popen(
            command_of(SCREEN, theirs.fileno(), output, os.getpid()),
            stdin=terminal.reading,
            stdout=terminal.writing,
            stderr=terminal.writing,
            pass_fds=(theirs.fileno(), output),
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        os.close(output)
    return screen, ours


def watch_screen(screen: subprocess.Popen[bytes], gate: Gate, redirected: Redirected) -> None:
    """Wait for the screen to exit, then restore the output and release the gate; stop when the screen is suspended."""
    while True:
        _, status = os.waitpid(screen.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            break
        # ctrl+z stopped the screen, and the shell waits for this process; `fg` continues both, as they are one job
        os.kill(os.getpid(), signal.SIGSTOP)
    screen.returncode = os.waitstatus_to_exitcode(status)
    redirected.restore()
    gate.release()


class Redirected:
    """Standard streams of this process, including C code's, redirected until `restore`.

    Args:
        into: the descriptor of a pipe or terminal; closed here.
        streams: the descriptors of the streams.
    """

    def __init__(self, into: int, streams: tuple[int, ...]) -> None:
        flush_output()
        self._kept = {stream: os.dup(stream) for stream in streams}
        for stream in streams:
            os.dup2(into, stream)
        os.close(into)

    def restore(self) -> None:
        """Undo the redirection: what is printed from now on must not go into a pipe that nobody reads."""
        for stream, kept in self._kept.items():
            os.dup2(kept, stream)
            os.close(kept)
