"""The process between the screen and a script: it gives the script a terminal and a process group, as a shell does.

Without it the script itself would lead the session of its terminal, and at its end the kernel would hang that up for
children that it leaves behind (setsid(2), credentials(7)).
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import termios
from collections.abc import Iterator
from contextlib import suppress
from typing import NoReturn

from gradstep.session.transport.process import die_with

_STATUS = struct.Struct("i")


def fork_script(report: int, *ours: int) -> None:
    """Fork the process of the script and return in it; the present process stays, and reports how that one ends.

    Args:
        report: the descriptor that the script's process id and then its wait status are written to.
        ours: descriptors that only the script's process keeps.
    """
    with suppress(OSError):  # no terminal
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    shell = os.getpid()
    pid = os.fork()
    if pid:
        _wait(pid, report, ours)
    die_with(shell)
    os.close(report)
    os.setpgid(0, 0)
    _to_foreground(os.getpid())


def read_reports(data: bytes) -> Iterator[int]:
    """Yield the numbers in what was reported, a process id and a wait status."""
    for (number,) in _STATUS.iter_unpack(data[: len(data) // _STATUS.size * _STATUS.size]):
        yield number


def _to_foreground(group: int) -> None:
    """Make a group the one that reads the terminal and gets its signals; from the background too."""
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with suppress(OSError):
        os.tcsetpgrp(0, group)
    signal.signal(signal.SIGTTOU, before)


def _wait(pid: int, report: int, ours: tuple[int, ...]) -> NoReturn:
    with suppress(OSError):
        os.setpgid(pid, pid)
    _to_foreground(pid)
    # whoever else holds the terminal keeps it open; its end is the end of all output
    for descriptor in (0, 1, 2, *ours):
        os.close(descriptor)
    os.write(report, _STATUS.pack(pid))
    os.write(report, _STATUS.pack(_status(pid)))
    while True:
        signal.pause()


def _status(pid: int) -> int:
    """Wait for a process to end; return its wait status."""
    if not hasattr(os, "waitid"):  # macOS before Python 3.13
        return os.waitpid(pid, 0)[1]
    # not collected: its id stays that of its group, which the screen may have to kill
    end = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert end is not None
    return end.si_status << 8 if end.si_code == os.CLD_EXITED else end.si_status
