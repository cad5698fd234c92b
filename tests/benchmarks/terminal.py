"""A program in a real pseudo-terminal, every piece of its output with the time at which it came."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pyte

Cell = tuple[str, str, str, bool]
"""A character, its foreground, its background, bold."""


_PAUSE = 0.004
"""Seconds without a byte after which a picture is whole."""


@dataclass
class Painted:
    """What one key did, in seconds from its write.

    Attributes:
        seconds: to the last bytes that changed the screen.
        first: to the first whole picture of what it does; numbers that take long may come after that.
        size: the bytes in all.
    """

    seconds: float
    first: float
    size: int


class Terminal:
    """Runs a program on a terminal; reads first and looks later, so that looking costs the program nothing."""

    def __init__(
        self, command: Sequence[str], environment: dict[str, str] | None = None, size: tuple[int, int] = (120, 40)
    ) -> None:
        """Start the program.

        Args:
            command: the program and its arguments.
            environment: what is to be other than here.
            size: columns and rows.
        """
        self.columns, self.rows = size
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self._cells = [self._row(y) for y in range(self.rows)]
        """What was seen at the last look, row by row."""
        full = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(environment or {})}
        for name in ("COLUMNS", "LINES", "PYTHONUNBUFFERED"):
            full.pop(name, None)
        self.started = time.perf_counter()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", self.rows, self.columns, 0, 0))
            os.execvpe(command[0], list(command), full)

    def read(self, quiet: float, limit: float) -> list[tuple[float, bytes]]:
        """Read until nothing has come for `quiet` seconds after the first bytes, at most `limit` seconds in all."""
        pieces: list[tuple[float, bytes]] = []
        end = time.perf_counter() + limit
        while (left := end - time.perf_counter()) > 0:
            ready, _, _ = select.select([self._fd], [], [], min(left, quiet) if pieces else left)
            if not ready:
                break
            try:
                data = os.read(self._fd, 1 << 16)
            except OSError:  # Linux's way to say that the program has closed the terminal
                break
            pieces.append((time.perf_counter(), data))
        return pieces

    def show(self, pieces: Sequence[tuple[float, bytes]]) -> list[float]:
        """Draw the pieces; return when those came that changed a cell."""
        changed = []
        for moment, data in pieces:
            self._stream.feed(data)
            if self._look():
                changed.append(moment)
        return changed

    def _look(self) -> bool:
        """Take note of the rows that were written since the last look; return whether a cell of them is another."""
        changed = False
        for y in self.screen.dirty:
            cells = self._row(y)
            changed = changed or cells != self._cells[y]
            self._cells[y] = cells
        self.screen.dirty.clear()
        return changed

    def until(self, seen: Callable[[str], bool], limit: float) -> float:
        """Read until the text on the screen satisfies `seen`; return the seconds since the start at which it did."""
        end = time.perf_counter() + limit
        while time.perf_counter() < end:
            found = None
            for moment, data in self.read(quiet=0.0, limit=end - time.perf_counter()):
                # to the last piece: what is not fed now would be missing from every screen after this one
                self._stream.feed(data)
                self._look()
                if found is None and seen(self.text()):
                    found = moment - self.started
            if found is not None:
                return found
        raise TimeoutError(f"never seen; the screen was:\n{self.text()}")

    def type(self, text: str) -> None:
        """Type something."""
        os.write(self._fd, text.encode())

    def press(self, key: str, done: Callable[[str], bool], quiet: float = 0.12, limit: float = 20.0) -> Painted:
        """Type a key; return when its last change was painted.

        Args:
            key: what to type.
            done: tells from the text of the screen that what the key does is on it.
            quiet: seconds for which the screen must then have been still.
            limit: seconds after which it has failed.
        """
        start = time.perf_counter()
        self.type(key)
        changed, first, size = [start], None, 0
        while time.perf_counter() < start + limit:
            pieces = self.read(quiet, start + limit - time.perf_counter())
            size += sum(len(data) for _, data in pieces)
            pauses = [i for i in range(1, len(pieces)) if pieces[i][0] - pieces[i - 1][0] > _PAUSE]
            for begin, end in pairwise([0, *pauses, len(pieces)]):
                changed += self.show(pieces[begin:end])
                if first is None and done(self.text()):
                    first = changed[-1]
            if first is not None:
                return Painted(changed[-1] - start, first - start, size)
        raise TimeoutError(f"{key!r} never came to its end; the screen was:\n{self.text()}")

    def settle(self, quiet: float = 0.7) -> None:
        """Read what is still to come, until the screen is still."""
        self.show(self.read(quiet, quiet))

    def text(self) -> str:
        """Return the screen as lines of text."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def cells(self) -> list[list[Cell]]:
        """Return every cell of the screen with its looks; reverse is resolved."""
        return list(self._cells)

    def _row(self, y: int) -> list[Cell]:
        row = self.screen.buffer[y]
        cells = (row[x] for x in range(self.columns))
        return [(c.data, *((c.bg, c.fg) if c.reverse else (c.fg, c.bg)), c.bold) for c in cells]

    def close(self) -> None:
        """Kill the program and wait for its end."""
        os.close(self._fd)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
