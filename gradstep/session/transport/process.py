"""The engine as a process: how it is started, and how its end is put in words."""

from __future__ import annotations

import ctypes
import os
import pty
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from gradstep.values.commands import HISTORY

CODE = """\
import sys
sys.path[:] = [folder for folder in sys.path if folder]
sys.path.append({root!r})
from {module} import main
main()
"""
"""What a process of ours runs, without the working directory on its path: a user's `types.py` may lie there."""


_PR_SET_PDEATHSIG = 1


@dataclass
class Link:
    """One engine as the screen holds it.

    Attributes:
        sock: the screen's end of the socket.
        output: descriptor of the pipe that the debuggee's output comes out of.
        pid: the process that holds the model.
        process: that process when it is our child; None when we are its child.
    """

    sock: socket.socket
    output: int
    pid: int
    process: subprocess.Popen[bytes] | None


def command_of(module: str, *arguments: object) -> list[str]:
    """Return the command line that runs `main` of one of gradstep's modules."""
    root = str(Path(__file__).resolve().parents[2])
    return [sys.executable, "-c", CODE.format(root=root, module=module), *map(str, arguments)]


def spawn_engine(
    module: str = "gradstep.session.transport.engine_main",
    history: int = HISTORY,
    history_offload: bool = False,
    script: bool = False,
) -> Link:
    """Start an engine process that runs `main` of a module, with so many bytes to go back in time with.

    With `script` it runs a script, in a terminal of its own.

    Call on the main thread: the engine ends when the thread that started it does.
    """
    ours, theirs = socket.socketpair()
    output, into = pty.openpty() if script else os.pipe()
    # unbuffered, so that what was printed before an abort or os._exit is not lost; passive, so that torch's idle
    # threads do not spin beside the screen
    environment = None if script else {"OMP_WAIT_POLICY": "passive", **os.environ, "PYTHONUNBUFFERED": "1"}
    try:
        process = subprocess.Popen(
            command_of(module, theirs.fileno(), os.getpid(), history, int(history_offload), int(script)),
            stdin=into if script else subprocess.DEVNULL,
            stdout=into,
            stderr=into,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            env=environment,
        )
    except BaseException:
        ours.close()
        os.close(output)
        raise
    finally:
        theirs.close()
        os.close(into)
    return Link(ours, output, process.pid, process)


def die_with(parent: int, by: int = signal.SIGKILL) -> None:
    """Have the kernel send a signal to this process when its parent ends, even while C code holds the GIL.

    Linux only; elsewhere the end of the socket is what tells. The signal follows the parent's thread that started us.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by, 0, 0, 0)
    if os.getppid() != parent:  # it had ended before the kernel was told
        os._exit(1)


def exit_words(status: int) -> str:
    """Return how a process ended, from its status as subprocess gives it (negative: the signal)."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        return f"killed by signal {-status}"
    words = {"SIGSEGV": "segmentation fault", "SIGABRT": "aborted", "SIGBUS": "bus error", "SIGFPE": "arithmetic error"}
    return f"{words[name]} ({name})" if name in words else f"killed by {name}"
