"""Start the engine process, and describe how a process ended."""

from __future__ import annotations

import ctypes
import os
import pty
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from gradstep.values.commands import HISTORY, HISTORY_TIME

WHEELS = ("msgspec", "xxhash", "safetensors", "lark")
"""What the engine imports besides torch and numpy."""
CODE = """\
import sys
sys.path[:] = [folder for folder in sys.path if folder]
class Gradstep:
    def find_spec(name, path=None, target=None):
        from importlib.machinery import PathFinder
        return PathFinder.find_spec(name, {folders}) if path is None and name in {names} else None
sys.meta_path.append(Gradstep)
from {module} import main
sys.exit(main())
"""
"""What the process runs, without the working directory on its path: it may contain a `types.py` of the user's.

Modules that gradstep needs and the interpreter lacks are imported from where this process has them. Only those: a
script can import nothing else that it could not import without gradstep, and its `sys.path` is the same.
"""

_PR_SET_PDEATHSIG = 1
_STACK = 1 << 30
"""Bytes that the stack of an engine's main thread may grow to: torch frees a graph recursively (see
`engine/autograd/long_graphs.py`), and 4 million nodes take as much."""


@dataclass
class EngineLink:
    """One engine as the screen sees it.

    Attributes:
        sock: the screen's end of the socket.
        output: descriptor of the pipe with the debuggee's output.
        pid: the process that holds the model, and its process group; of a script, once it is reported.
        process: that process, or of a script the one between us and it, if it is our child; None if we are its child.
        report: descriptor of the pipe with the process id and the exit of a script, whose terminal is `output`; or -1.
    """

    sock: socket.socket
    output: int
    pid: int
    process: subprocess.Popen[bytes] | None
    report: int = -1


def command_of(module: str, *arguments: object, python: str = "") -> list[str]:
    """Return the command line that runs `main` of one of gradstep's modules, on our own interpreter or another."""
    found = filter(None, map(find_spec, WHEELS))
    origins = [Path(__file__).parents[2] / "__init__.py", *(Path(spec.origin) for spec in found if spec.origin)]
    folders = list(dict.fromkeys(str(origin.resolve().parents[1]) for origin in origins))
    code = CODE.format(folders=folders, names=("gradstep", *WHEELS), module=module)
    return [python or sys.executable, "-c", code, *map(str, arguments)]


def spawn_engine(
    module: str = "gradstep.session.transport.engine_main",
    history: int = HISTORY,
    history_offload: bool = False,
    script: bool = False,
    python: str = "",
    history_time: float = HISTORY_TIME,
) -> EngineLink:
    """Start an engine process that runs `main` of a module.

    With `script` it runs a script, in its own terminal, and on another interpreter where `python` is given.

    Call it on the main thread: the engine is killed when the thread that started it ends.
    """
    ours, theirs = socket.socketpair()
    output, into = pty.openpty() if script else os.pipe()
    report, reports = os.pipe() if script else (-1, -1)
    passed = [theirs.fileno(), *[reports] * script]
    kept = history, int(history_offload), history_time
    # unbuffered, so that output before an abort or os._exit is not lost; passive, so that torch's idle threads do not
    # spin while the screen draws
    environment = None if script else {"OMP_WAIT_POLICY": "passive", **os.environ, "PYTHONUNBUFFERED": "1"}
    try:
        with nullcontext() if script else _large_stack():
            process = subprocess.Popen(
                command_of(module, theirs.fileno(), os.getpid(), *kept, reports, python=python),
                stdin=into if script else subprocess.DEVNULL,
                stdout=into,
                stderr=into,
                pass_fds=passed,
                start_new_session=True,
                env=environment,
            )
    except BaseException:
        ours.close()
        os.close(output)
        if script:
            os.close(report)
        raise
    finally:
        theirs.close()
        os.close(into)
        if script:
            os.close(reports)
    return EngineLink(ours, output, process.pid, process, report)


@contextmanager
def _large_stack() -> Iterator[None]:
    """Raise the stack limit for a process that the block starts: only then does the kernel keep the room free."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = _STACK if hard == resource.RLIM_INFINITY else min(_STACK, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # not every system lets it be raised
            resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))
    try:
        yield
    finally:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))


def die_with(parent: int, by: int = signal.SIGKILL) -> None:
    """Have the kernel signal this process when its parent ends, even while C code holds the GIL.

    Linux only; elsewhere the end of the socket shows it. The signal is sent when the thread that started us ends.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)


def oom_kills() -> int:
    """Return how many processes the kernel's out-of-memory killer has killed since boot; 0 where there is no /proc."""
    with suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


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
