"""The gate: where the thread that holds the model sits at a stop and answers what the screen asks."""

from __future__ import annotations

import ctypes
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from types import FrameType
from typing import Protocol

from gradstep.session.transport.wire import (
    UNENCODABLE,
    Close,
    Done,
    Execute,
    Frames,
    Interrupt,
    Joined,
    Look,
    Order,
    Refused,
    Reply,
    Seen,
    Told,
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
    what="The command was interrupted; the state is as it was before it.",
    remedy="Give the command again to run it whole.",
)
_RECORD = (LookLedger(), LookGraph(count=1))
"""What a screen will ask sooner or later: what every backward added, and the lines that made the graph, from the
first one on."""
_LIBC = ctypes.CDLL(None)
_ALL = 1 << 64
"""A number above that of every order."""


class Inside(Protocol):
    """What the gate needs of the session that it guards."""

    @property
    def running(self) -> bool:
        """True while a phase runs: KeyboardInterrupt is then rolled back and becomes its outcome."""
        ...

    @property
    def stop(self) -> Stop:
        """Where the session stands."""
        ...

    def execute(self, command: Command) -> Outcome:
        """Carry out one command; the debuggee's errors are in its outcome."""
        ...

    def look(self, *requests: Request, at: int = 0) -> tuple[View, ...]:
        """Return one view for each request, of the present stop or of one of the past."""
        ...


class Gate:
    """Answer orders from a socket on the calling thread; a second thread only reads them off the socket.

    Args:
        sock: the engine's end; the gate closes it.
        on_lost: called on the reading thread when the screen's end is gone, before the gate is released.
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
        """Return whether the command that is carried out was interrupted, at a time when nothing could be cut short."""
        return 0 < self._number <= self._interrupted

    def tell(self, event: Event) -> None:
        """Send an event. Call on the thread that holds the gate."""
        self._send(0, Told(event))

    def serve(self, session: Inside) -> None:
        """Tell the screen where the session stands, then answer until it closes the session or is gone."""
        self._send(0, Joined(session.stop))
        if session.stop.number:
            self._look(session, _RECORD)
        while True:
            number, order = self._orders.get()
            match order:
                case Execute(command, requests):
                    outcome = self._execute(session, number, command)
                    if isinstance(command, Load) and outcome.ok:
                        self._look(session, _RECORD)
                        self._on_loaded()
                    flush_output()
                    reply: Reply = Done(outcome, self._look(session, requests) if requests else ())
                case Look(requests, at):
                    reply = Seen(self._look(session, requests, at))
                case Problem():
                    reply = Refused(order)
                case _:
                    return
            self._send(number, reply)

    def release(self) -> None:
        """Interrupt what runs and let `serve` return. Call from any thread."""
        self._interrupt(_ALL)
        self._orders.put((0, Close()))

    def hang_up(self) -> None:
        """End the conversation: the screen's side comes to its end."""
        self._on_lost = lambda: None
        with suppress(OSError):  # close() alone would not wake the reading thread
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give back socket, reading thread and the handler of SIGINT. Call on the thread that holds the gate.

        Whoever may call `release` must be done: its signal would meet the caller's own handler.
        """
        self.hang_up()
        self._reader.join()
        self._sock.close()
        if self._pause is None:
            signal.signal(signal.SIGINT, self._before)

    def _execute(self, session: Inside, number: int, command: Command) -> Outcome:
        if number <= self._interrupted:
            return Outcome(command, session.stop, INTERRUPTED)
        # outside a phase an interrupt would tear gradstep's own state; a factory may hang, so loading counts as one
        self._interruptible = (lambda: True) if isinstance(command, Load) else (lambda: session.running)
        try:
            self._number = number
            return session.execute(command)
        except KeyboardInterrupt:  # on the way into a factory or out of it
            return Outcome(command, session.stop, INTERRUPTED)
        except Exception as error:
            return Outcome(command, session.stop, own_failure(error))
        finally:
            self._number = 0

    def _look(self, session: Inside, requests: tuple[Request, ...], at: int = 0) -> tuple[View, ...]:
        try:
            return session.look(*requests, at=at)
        except Exception as error:
            return tuple(NoView(at or session.stop.number, own_failure(error).what) for _ in requests)

    def _send(self, number: int, reply: Reply) -> None:
        # a screen that is gone is noticed by the reading thread
        with suppress(OSError):
            self._sock.sendall(reply_frame(number, reply))

    def _read(self) -> None:
        frames = Frames()
        with suppress(OSError):
            while data := self._sock.recv(1 << 16):
                for number, body in frames.feed(data):
                    self._take(number, body)
        self._on_lost()
        self.release()

    def _take(self, number: int, body: bytes) -> None:
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
        # to the holder itself, so that a system call it waits in returns
        signal.pthread_kill(self._holder, signal.SIGINT)

    def _on_interrupt(self, _signum: int, _frame: FrameType | None) -> None:
        # exact by number: an interrupt that comes late never hits the command after the one it was meant for
        if self.interrupted() and self._interruptible():
            raise KeyboardInterrupt


def _never() -> bool:
    return False


def own_failure(error: BaseException) -> Problem:
    """Return the problem for an exception that only a mistake in gradstep explains."""
    return Problem(
        kind="wrong",
        title="gradstep itself failed",
        what="".join(traceback.format_exception(error)).strip(),
        remedy="This is a bug in gradstep, not in your code: please report it with the lines above.",
    )


def flush_output() -> None:
    """Write out what Python and C code have printed, so that it is read before the outcome is shown."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # a stream that the debuggee has replaced may do anything
            stream.flush()
    _LIBC.fflush(None)
