"""The screen's connection to an engine: sends and receives frames, reads its output, and detects its exit."""

from __future__ import annotations

import asyncio
import codecs
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from gradstep.session.transport.process import EngineLink, exit_words, oom_kills
from gradstep.session.transport.shell import read_reports
from gradstep.session.transport.wire import Frames

_CHUNK = 1 << 16
_LOOK = 0.02
"""Seconds between two looks for the last output of a script that has ended."""
_REPLACED = 0.5
"""Seconds in which the exit of a script is reported after the end of its socket."""
_MOST_AT_ONCE = 1 << 20
"""Maximum number of bytes of output read at once; a debuggee that never stops printing must not block the screen."""


class Callbacks(NamedTuple):
    """What a connection calls.

    Attributes:
        frame: called with the number and the body of each message.
        output: called with what the debuggee has printed.
        end: called with how the engine ended, in words.
    """

    frame: Callable[[int, bytes], None]
    output: Callable[[str], None]
    end: Callable[[str], None]


class Connection:
    """One engine as the event loop sees it: its socket, the pipe of its output, and its process."""

    def __init__(self, link: EngineLink, callbacks: Callbacks) -> None:
        """Hold a link; nothing is read before `join`."""
        self._link = link
        self._callbacks = callbacks
        self._loop: asyncio.AbstractEventLoop | None = None
        self._frames = Frames()
        self._unsent = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._over = False
        self._oom_kills = oom_kills()
        self._hung_up = False
        """True once nobody can write output any more."""
        self._shell = link.pid
        """The process that the screen started."""
        self._pidfd = -1
        self._replaced = ""
        """How a script has left gradstep while it ran on; empty where it has not."""
        self._waiter: threading.Thread | None = None

    @property
    def joined(self) -> bool:
        """True once it has joined an event loop."""
        return self._loop is not None

    def join(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have an event loop read the socket and the output, and watch for the engine's exit."""
        self._loop = loop
        self._link.sock.setblocking(False)
        os.set_blocking(self._link.output, False)
        loop.add_reader(self._link.sock, self._on_readable)
        loop.add_reader(self._link.output, self.read_output)
        self._watch_for_exit(loop)

    def send(self, data: bytes) -> None:
        """Send a frame, now or as soon as the socket is writable."""
        self._unsent += data
        self._flush()

    def read_output(self) -> None:
        """Read what the debuggee has printed so far."""
        text, left = "", _MOST_AT_ONCE
        while left > 0:
            try:
                data = os.read(self._link.output, _CHUNK)
            except BlockingIOError:
                break
            except OSError:  # a terminal that nobody writes to any more
                data = b""
            left -= len(data)
            text += self._decoder.decode(data, final=not data)
            if not data:
                self._hung_up = True
                if self._loop is not None:
                    self._loop.remove_reader(self._link.output)
                break
        if text:
            self._callbacks.output(text)

    def kill_group(self) -> None:
        """Kill the engine and its children: its process group. Its exit status must not have been collected yet."""
        for group in {self._link.pid, self._shell}:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)

    def collect(self) -> None:
        """Kill what is left of our child's group, and collect its exit status. Idempotent."""
        process = self._link.process
        if process is not None and process.returncode is None:
            self.kill_group()
            process.wait()

    def drop(self) -> None:
        """Release all descriptors and threads. Idempotent."""
        if self._link.sock.fileno() < 0:
            return
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._link.sock)
            self._loop.remove_writer(self._link.sock)
            self._loop.remove_reader(self._link.output)
            for descriptor in {self._link.report, self._pidfd} - {-1}:
                self._loop.remove_reader(descriptor)
        self._link.sock.close()
        os.close(self._link.output)
        if self._link.report >= 0:
            self.collect()
            os.close(self._link.report)
        if self._pidfd >= 0:
            os.close(self._pidfd)
        if self._waiter is not None:
            self._waiter.join()
        self._over = True

    def _flush(self) -> None:
        if self._loop is None or self._link.sock.fileno() < 0:
            return
        try:
            del self._unsent[: self._link.sock.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:  # the engine is exiting, which is detected separately
            self._unsent.clear()
        if self._unsent:
            self._loop.add_writer(self._link.sock, self._flush)
        else:
            self._loop.remove_writer(self._link.sock)

    def _on_readable(self) -> None:
        """Read what has arrived; if the engine is not our child, the end of the stream is the end of the session."""
        try:
            while data := self._link.sock.recv(_CHUNK * 16):
                for number, body in self._frames.feed(data):
                    self._callbacks.frame(number, body)
        except BlockingIOError:
            return
        except OSError:
            pass
        if self._loop is not None:
            self._loop.remove_reader(self._link.sock)
        if self._link.process is None:
            self._end("ended its session")
        elif self._link.report >= 0 and self._loop is not None and not self._over:
            self._loop.call_later(_REPLACED, self._on_replaced)

    def _watch_for_exit(self, loop: asyncio.AbstractEventLoop) -> None:
        # not by the end of the socket or the pipe: the debuggee's children keep those open
        process = self._link.process
        if self._link.report >= 0:
            loop.add_reader(self._link.report, self._on_report)
        elif hasattr(os, "pidfd_open"):
            try:
                self._pidfd = os.pidfd_open(self._link.pid)
            except OSError:
                loop.call_soon(self._on_exit)
            else:
                loop.add_reader(self._pidfd, self._on_exit)
        elif process is not None:
            self._waiter = threading.Thread(target=partial(_wait, process, loop, self._on_exit), daemon=True)
            self._waiter.start()

    def _on_exit(self) -> None:
        if self._over:
            return
        if self._pidfd >= 0 and self._loop is not None:
            self._loop.remove_reader(self._pidfd)
        self._on_readable()  # answers sent before the exit still count
        process = self._link.process
        if process is None:
            self._end("has ended")
        else:
            self.kill_group()
            self._end(exit_words(process.wait()))

    def _on_report(self) -> None:
        """Read the process id of a script, and later its exit status."""
        data = os.read(self._link.report, _CHUNK)
        for number in read_reports(data):
            if self._link.pid == self._shell:
                self._link.pid = number
            else:
                status = os.waitstatus_to_exitcode(number)
                how = f"ended with exit code {status}" if status >= 0 else exit_words(status)
                out_of_memory = status == -signal.SIGKILL and oom_kills() > self._oom_kills
                self._ended(f"{how}: the kernel was out of memory" if out_of_memory else how)
        if not data:
            self._ended("killed with its terminal")

    def _on_replaced(self) -> None:
        """Report that a running script has closed the socket; most likely it replaced itself with os.execv."""
        if not self._over:
            self._replaced = "closed gradstep's socket, as os.execv does, and "
            self._callbacks.end(f"{self._replaced}runs on without gradstep")

    def _ended(self, how: str, looks: int = 10) -> None:
        """Report the exit of a script once its output is read; children that still run may keep its terminal open."""
        loop = self._loop
        if self._over or loop is None:
            return
        loop.remove_reader(self._link.report)
        self._on_readable()  # answers sent before the exit still count
        self.read_output()
        if self._hung_up or not looks:
            self._end(how)
        else:
            loop.call_later(_LOOK, self._ended, how, looks - 1)

    def _end(self, how: str) -> None:
        if not self._over:
            self.read_output()
            self._over = True
            self._callbacks.end(self._replaced + how)


def _wait(process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop, on_exit: Callable[[], None]) -> None:
    process.wait()
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(on_exit)
