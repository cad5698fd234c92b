"""A terminal for tests: a real pseudo-terminal, what it shows, and what a program has switched on in it."""

from __future__ import annotations

import os
import re
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pexpect
import pyte

MODES = re.compile(rb"\x1b\[\?([\d;]+)([hl])")
SYNCHRONIZED = b"\x1b[?2026"
"""Begins the mode of synchronized output: `h` opens an update, `l` closes it, `$p` asks whether the terminal has it."""


class Terminal:
    """A program in a pseudo-terminal of its own."""

    def __init__(self, command: Sequence[str], size: tuple[int, int] = (100, 30), **environment: str) -> None:
        columns, rows = size
        env = {**os.environ, "TERM": "xterm-256color", **environment}
        # tests beside this file may be imported by the program
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
        for name in ("COLUMNS", "LINES", "PYTHONUNBUFFERED"):
            env.pop(name, None)
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.bytes = b""
        self.child = pexpect.spawn(command[0], list(command[1:]), dimensions=(rows, columns), env=env)
        self.child.delaybeforesend = None

    @property
    def text(self) -> str:
        """What is on the screen, lines without their trailing blanks."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def read(self, timeout: float) -> bool:
        """Take in what the program has written; False at its end."""
        try:
            data = self.child.read_nonblocking(1 << 16, timeout)
        except pexpect.TIMEOUT:
            raise AssertionError(f"nothing came for {timeout} s; the terminal shows:\n{self.text}") from None
        except pexpect.EOF:
            return False
        asked = self.bytes.count(SYNCHRONIZED + b"$p")
        self.bytes += data
        self._stream.feed(data)
        if self.bytes.count(SYNCHRONIZED + b"$p") > asked:
            self.child.send(SYNCHRONIZED + b";2$y")
        return True

    @property
    def _whole(self) -> bool:
        """Whether no update is half drawn."""
        return self.bytes.rfind(SYNCHRONIZED + b"h") <= self.bytes.rfind(SYNCHRONIZED + b"l")

    def wait(self, wanted: str | Callable[[str], bool], timeout: float = 60) -> str:
        """Read until a text is on the screen, or a condition holds for what is; return the screen, wholly drawn.

        A cursor that blinks is drawn for ever: the time is that of the whole wait.
        """
        holds = wanted if callable(wanted) else lambda text: wanted in text
        end = time.monotonic() + timeout
        while not (self._whole and holds(self.text)):
            if time.monotonic() > end:
                raise AssertionError(f"{wanted!r} was not shown in {timeout} s; the terminal shows:\n{self.text}")
            if not self.read(timeout):
                raise AssertionError(f"the program ended before {wanted!r} was shown; the terminal shows:\n{self.text}")
        return self.text

    def press(self, *keys: str) -> None:
        """Send keys, each by itself."""
        for key in keys:
            self.child.send(key)

    def end(self, timeout: float = 60) -> int:
        """Read until the program has ended; return its status, negative for a signal."""
        end = time.monotonic() + timeout
        while self.read(timeout):
            if time.monotonic() > end:
                raise AssertionError(f"the program did not end in {timeout} s; the terminal shows:\n{self.text}")
        self.child.wait()
        return -self.child.signalstatus if self.child.signalstatus is not None else self.child.exitstatus

    def close(self) -> None:
        """Take program and terminal away."""
        self.child.close(force=True)

    @property
    def attributes(self) -> list[object]:
        """The terminal's attributes: echo, line editing, signals."""
        return termios.tcgetattr(self.child.child_fd)

    @property
    def switched_on(self) -> set[int]:
        """Private modes that were switched on and not off again: mouse, other buffer, paste; not the cursor."""
        state: dict[int, bool] = {}
        for numbers, how in MODES.findall(self.bytes):
            state.update((int(n), how == b"h") for n in numbers.split(b";") if n)
        return {n for n, on in state.items() if on and n not in (25, 7, 12)}


def screen_of(terminal: Terminal) -> int:
    """Wait for the stub screen and return its process id."""
    found = re.search(r"pid (\d+) stop 1", terminal.wait(lambda text: re.search(r"pid \d+ stop 1\n", text) is not None))
    return int(found[1])
