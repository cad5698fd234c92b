"""The screen's end of a script's pseudo-terminal: typing into it, its size, and whether the script waits for input."""

from __future__ import annotations

import fcntl
import os
import platform
import struct
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gradstep.session.transport.process import EngineLink

_READ = {"x86_64": "0", "aarch64": "63"}.get(platform.machine(), "")
"""The number of the system call `read`, as /proc/PID/syscall has it."""
_SELECT = {"x86_64": ("23", "270", "7", "271", "232", "281"), "aarch64": ("72", "73", "22")}.get(platform.machine(), ())
"""Those of select, poll and epoll_wait, in all their forms."""


class PseudoTerminal:
    """The terminal of the script that a link is to; its descriptor is non-blocking."""

    def __init__(self, link: EngineLink) -> None:
        self._link, self._descriptor = link, link.output

    def write(self, text: str) -> bool:
        """Type a text; return False when the script has not read what was typed before, and there is no room."""
        data = text.encode("utf-8", "replace")
        try:
            return os.write(self._descriptor, data) == len(data)
        except OSError:  # full, or the script has gone
            return False

    def resize(self, columns: int, rows: int) -> None:
        """Change its size; the kernel sends SIGWINCH to the script when it is another one."""
        with suppress(OSError):
            fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def awaits_input(self) -> bool:
        """Return whether the script or a child of its waits for something to be typed.

        It sleeps in a read of the terminal; or, as readline does, it has taken line editing from the kernel and sleeps
        until something comes. How it sleeps is known on Linux only.
        """
        try:
            raw = not termios.tcgetattr(self._descriptor)[3] & termios.ICANON
        except termios.error:  # the script has gone
            return False
        if not _READ:
            return raw
        return any(_reads_a_terminal(thread, raw) for thread in _main_threads(self._link.pid))


def _main_threads(pid: int) -> Iterator[Path]:
    """Yield the folder of the main thread of a process and of each descendant, from Linux's /proc."""
    pids = [pid]
    for each in pids:
        thread = Path(f"/proc/{each}/task/{each}")
        yield thread
        with suppress(OSError):
            pids += map(int, (thread / "children").read_text().split())


def _reads_a_terminal(thread: Path, raw: bool) -> bool:
    with suppress(OSError, ValueError):
        call, descriptor, *_ = (thread / "syscall").read_text().split()
        if raw and call in _SELECT:
            return True
        file = os.readlink(thread / "fd" / str(int(descriptor, 16))) if call == _READ else ""
        return file.startswith(("/dev/pts/", "/dev/tty"))
    return False
