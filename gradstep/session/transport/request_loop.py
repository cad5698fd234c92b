"""The gate: the loop in which the thread that holds the model answers the screen's requests at a stop."""

from __future__ import annotations

import ctypes
import errno
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Protocol

from gradstep.session.transport.wire import (
    UNENCODABLE,
    Close,
    Execute,
    Executed,
    Frames,
    Interrupt,
    Look,
    Looked,
    Notified,
    Order,
    Ready,
    Refused,
    Reply,
    cannot_send,
    read_order,
    reply_frame,
)
from gradstep.values.commands import Command, Load
from gradstep.values.outcomes import Event, Outcome, Problem, Stop
from gradstep.values.views import NoView, Request, View
from gradstep.values.views.graph import LookGraph
from gradstep.values.views.ledger import LookLedger

INTERRUPTED = Problem(
    kind="interrupted",
    title="interrupted",
    what="The command was interrupted; the state is unchanged.",
    remedy="Run the command again to complete it.",
)
_RECORD = (LookLedger(), LookGraph(count=1))
"""What a screen requests sooner or later, so that it is recorded from the start: what every backward added, and the
lines that made the graph."""
_POLL = 1000
"""Milliseconds after which a socket that a script has closed is noticed."""
_QUIET = 0.1
"""Seconds without a message after which the user pauses: until then, panels may still be painted."""
_LIBC = ctypes.CDLL(None)
_ALL = 1 << 64
"""A number above that of every message."""


class ServedSession(Protocol):
    """What the gate needs of the session that it serves."""

    @property
    def running(self) -> bool:
        """True while a phase runs: a KeyboardInterrupt then rolls it back and becomes its outcome."""
        ...

    @property
    def stop(self) -> Stop:
        """The present stop."""
        ...

    def execute(self, command: Command) -> Outcome:
        """Run one command; the debuggee's errors are returned in the outcome."""
        ...

    def look(self, *requests: Request, at: int = 0) -> tuple[View, ...]:
        """Return one view for each request, of the present stop or of a past one."""
        ...


class Gate:
    """Answers messages from a socket on the calling thread; a second thread only reads the socket.

    Args:
        sock: the engine's end; the gate closes it.
        on_lost: called on the reading thread when the screen is gone, before the gate is released.
        on_loaded: called when a workload has been loaded, before its outcome is sent.
        pause: called on the reading thread in place of an interrupt; None to interrupt the thread that made this.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_lost: Callable[[], None] = lambda: None,
        on_loaded: Callable[[], None] = lambda: None,
        pause: Callable[[], None] | None = None,
    ) -> None:
        self._sock = sock
        self.closed = False
        """True once the script has closed the socket."""
        self.idle: Callable[[], Iterable[None]] = tuple
        """Returns work for idle times, in pieces of less than 50 ms."""
        self._on_lost = on_lost
        self._on_loaded = on_loaded
        self._orders: SimpleQueue[tuple[int, Order | Problem]] = SimpleQueue()
        self._interruptible: Callable[[], bool] = _never
        self._number = self._interrupted = 0
        self._holder, self._pause = threading.get_ident(), pause
        self._before = signal.signal(signal.SIGINT, self._on_interrupt) if pause is None else None
        self._reader = threading.Thread(target=self._read, name="gradstep-reader", daemon=True)
        self._reader.start()

    def interrupted(self) -> bool:
        """Return whether the running command was interrupted at a time when no call could be interrupted."""
        return 0 < self._number <= self._interrupted

    def waits(self) -> bool:
        """Return whether a message waits for the present one to be answered."""
        return not self._orders.empty()

    def tell(self, event: Event) -> None:
        """Send an event. Call it on the thread of `serve`."""
        self._send(0, Notified(event))

    def serve(self, session: ServedSession) -> None:
        """Send the present stop to the screen, then answer until the screen closes the session or is gone."""
        self._send(0, Ready(session.stop))
        if session.stop.number:
            self._look(session, _RECORD)
        while True:
            number, order = self._next()
            match order:
                case Execute(command, requests):
                    outcome = self._execute(session, number, command)
                    if isinstance(command, Load) and outcome.ok:
                        self._look(session, _RECORD)
                        self._on_loaded()
                    flush_output()
                    reply: Reply = Executed(outcome, self._look(session, requests) if requests else ())
                case Look(requests, at):
                    reply = Looked(self._look(session, requests, at))
                case Problem():
                    reply = Refused(order)
                case _:
                    return
            self._send(number, reply)

    def _next(self) -> tuple[int, Order | Problem]:
        """Return the next message; do idle work until it arrives."""
        with suppress(Empty):
            return self._orders.get(timeout=_QUIET)
        with suppress(Exception):  # out of memory, which the command that needs it will report
            for _ in self.idle():
                if self.waits():
                    break
        return self._orders.get()

    def release(self) -> None:
        """Interrupt the running command and let `serve` return. Call it from any thread."""
        self._interrupt(_ALL)
        self._orders.put((0, Close()))

    def hang_up(self) -> None:
        """Shut the socket down, which the screen sees as its end."""
        self._on_lost = lambda: None
        with suppress(OSError):  # close() alone would not wake the reading thread
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Release the socket, the reading thread and the handler of SIGINT. Call it on the thread of `serve`.

        No other thread may call `release` any more: its signal would reach the caller's own handler.
        """
        self.hang_up()
        self._reader.join()
        self._sock.close()
        if self._pause is None:
            signal.signal(signal.SIGINT, self._before)

    def _execute(self, session: ServedSession, number: int, command: Command) -> Outcome:
        if number <= self._interrupted:
            return Outcome(command, session.stop, INTERRUPTED)
        # outside a phase an interrupt could corrupt gradstep's own state; loading counts as one, as a factory may hang
        self._interruptible = (lambda: True) if isinstance(command, Load) else (lambda: session.running)
        try:
            self._number = number
            return session.execute(command)
        except KeyboardInterrupt:  # just before or after a factory ran
            return Outcome(command, session.stop, INTERRUPTED)
        except Exception as error:
            return Outcome(command, session.stop, own_failure(error))
        finally:
            self._number = 0

    def _look(self, session: ServedSession, requests: tuple[Request, ...], at: int = 0) -> tuple[View, ...]:
        try:
            return session.look(*requests, at=at)
        except Exception as error:
            return tuple(NoView(at or session.stop.number, own_failure(error).what) for _ in requests)

    def _send(self, number: int, reply: Reply) -> None:
        # the reading thread detects a screen that is gone
        with suppress(OSError):
            self._sock.sendall(reply_frame(number, reply))

    def _read(self) -> None:
        frames = Frames()
        try:
            while data := self._arrived():
                for number, body in frames.feed(data):
                    self._receive(number, body)
        except OSError as error:
            self.closed = error.errno in (errno.EBADF, errno.ENOTSOCK)
        if not self.closed:
            self._on_lost()
        self.release()

    def _arrived(self) -> bytes:
        if self._pause is not None:  # a script may close any descriptor, which does not end a wait in `recv`
            poll = select.poll()
            poll.register(self._sock, select.POLLIN)
            while not poll.poll(_POLL):
                pass
        return self._sock.recv(1 << 16)

    def _receive(self, number: int, body: bytes) -> None:
        try:
            order = read_order(body)
        except UNENCODABLE as error:
            self._orders.put((number, cannot_send(error)))
            return
        match order:
            case Interrupt():
                self._interrupt(number)
            case Close():
                self.release()
            case _:
                self._orders.put((number, order))

    def _interrupt(self, number: int) -> None:
        if self._pause is not None:
            self._pause()
            return
        self._interrupted = number
        # to that thread itself, so that a system call in which it waits returns
        signal.pthread_kill(self._holder, signal.SIGINT)

    def _on_interrupt(self, _signum: int, _frame: FrameType | None) -> None:
        # by number: a late interrupt never hits the command after the one it was meant for
        if self.interrupted() and self._interruptible():
            raise KeyboardInterrupt


def _never() -> bool:
    return False


def own_failure(error: BaseException) -> Problem:
    """Return the problem for an exception that only a bug in gradstep can raise."""
    return Problem(
        kind="wrong",
        title="gradstep itself failed",
        what="".join(traceback.format_exception(error)).strip(),
        remedy="This is a bug in gradstep, not in your code: please report it with the lines above.",
    )


def flush_output() -> None:
    """Flush the output of Python and C code, so that it is read before the outcome is shown."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # a stream that the debuggee has replaced may do anything
            stream.flush()
    _LIBC.fflush(None)
