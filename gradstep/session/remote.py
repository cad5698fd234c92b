"""The session as the screen holds it: commands go over a socket to the process that holds the model."""

from __future__ import annotations

import asyncio
import codecs
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from gradstep.session.process import Link, exit_words, spawn_engine
from gradstep.session.wire import (
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
    frame,
    read_reply,
)
from gradstep.values.commands import Command
from gradstep.values.errors import wrong
from gradstep.values.outcomes import Died, Event, Outcome, Output, Stop
from gradstep.values.travels import HISTORY
from gradstep.values.views import NoView, Request, View

_CHUNK = 1 << 16
_MOST_AT_ONCE = 16
"""Chunks of output read in one go; a debuggee that prints without end must not hold the screen."""
_GOOD_ORDER = 1.0
"""Seconds an idle engine gets to end by itself before it is killed."""


class RemoteSession:
    """A `FrontSession` whose engine is another process.

    Started in two steps: the process is spawned before there is an event loop, and the session joins the loop on its
    first await.
    """

    def __init__(self, link: Link, again: Callable[[], Link] | None = None) -> None:
        """Hold an engine; `again` starts another one in its place, None where that cannot be done."""
        self.on_event: Callable[[Event], None] = _nobody_listens
        self._again = again
        self._begin(link)

    def _begin(self, link: Link) -> None:
        self._link = link
        self._loop: asyncio.AbstractEventLoop | None = None
        self._frames = Frames()
        self._unsent = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._last = 0
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._stop = Stop()
        self._answered = self._ending = False
        self._how = ""
        self._pidfd = -1
        self._waiter: threading.Thread | None = None

    @classmethod
    def spawn(cls, history: int = HISTORY) -> RemoteSession:
        """Start an engine and return the session with it. Call on the main thread, before anything slow is imported.

        Args:
            history: bytes that may be kept to go back in time with.
        """
        start = partial(spawn_engine, history=history)
        return cls(start(), start)

    @property
    def stop(self) -> Stop:
        """Where the session stands, as far as the screen was told."""
        return self._stop

    # -- what the screen asks ------------------------------------------------------------------------------------------
    async def execute(self, command: Command) -> Outcome:
        """Carry out one command; see `FrontSession.execute`."""
        outcome, _ = await self.execute_and_look(command, ())
        return outcome

    async def execute_and_look(self, command: Command, requests: Sequence[Request]) -> tuple[Outcome, tuple[View, ...]]:
        """Carry out one command and look at once; see `FrontSession.execute_and_look`."""
        reply = await self._ask(Execute(command, tuple(requests)))
        match reply:
            case Done(outcome, views):
                return outcome, views
            case Refused(problem):
                return Outcome(command, self._stop, problem), ()
        raise ConnectionError(f"the engine answered a command with {type(reply).__name__}")

    async def look(self, requests: Sequence[Request], at: int = 0) -> tuple[View, ...]:
        """Return one view for each request, all of the same stop; see `FrontSession.look`."""
        reply = await self._ask(Look(tuple(requests), at))
        match reply:
            case Seen(views):
                return views
            case Refused(problem):
                return tuple(NoView(at or self._stop.number, problem.what) for _ in requests)
        raise ConnectionError(f"the engine answered a look with {type(reply).__name__}")

    def interrupt(self) -> None:
        """Interrupt every command sent so far and not yet carried out; a phase that runs is rolled back."""
        if self._waiting:
            self._send(frame(self._last, Interrupt()))

    async def restart(self) -> None:
        """Start a fresh, empty engine in place of this one, dead or alive."""
        if self._again is None:
            raise wrong(
                "the engine cannot be restarted from here",
                "It is the program that called gradstep.open: the model lives in that program.",
                "Quit, and call gradstep.open again.",
            )
        await self.close()
        self._begin(self._again())
        await self.attach()

    async def attach(self) -> None:
        """Join the running event loop. Every other call does so by itself."""
        if self._loop is not None or self._how:
            return
        self._loop = loop = asyncio.get_running_loop()
        self._link.sock.setblocking(False)
        os.set_blocking(self._link.output, False)
        self._ended: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._link.sock, self._on_readable)
        loop.add_reader(self._link.output, self._read_output)
        self._watch_for_the_end(loop)

    async def close(self) -> None:
        """End the engine, or in `gradstep.open` give the caller back; leave no process, thread or descriptor."""
        await self.attach()
        self._ending = True
        if not self._how:
            if self._link.process is None:
                self._send(frame(0, Close()))
            else:
                await self._end_the_engine()
        self._drop()

    def kill(self) -> None:
        """End the engine at once, without an event loop; what is left to do after a screen that failed. Idempotent."""
        self._ending = True
        process = self._link.process
        if process is not None and process.returncode is None:
            self._kill_the_group()
            process.wait()
        self._drop()

    # -- the conversation ----------------------------------------------------------------------------------------------
    async def _ask(self, order: Order) -> Reply:
        await self.attach()
        if self._how or self._ending:
            raise ConnectionError("the session is closed" if self._ending else self._how)
        self._last += 1
        number = self._last
        try:
            data = frame(number, order)
        except UNENCODABLE as error:
            return Refused(cannot_send(error))
        assert self._loop is not None
        self._waiting[number] = answer = self._loop.create_future()
        try:
            self._send(data)
            reply: Reply = await answer
            return reply
        finally:
            self._waiting.pop(number, None)

    def _send(self, data: bytes) -> None:
        self._unsent += data
        self._flush()

    def _flush(self) -> None:
        if self._loop is None or self._link.sock.fileno() < 0:
            return
        try:
            del self._unsent[: self._link.sock.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:  # the engine is going; its end is noticed by itself
            self._unsent.clear()
        if self._unsent:
            self._loop.add_writer(self._link.sock, self._flush)
        else:
            self._loop.remove_writer(self._link.sock)

    def _on_readable(self) -> None:
        """Read what has come; where the engine is not our child, the stream's end is the session's end."""
        try:
            while data := self._link.sock.recv(_CHUNK * 16):
                for number, body in self._frames.feed(data):
                    self._take(number, body)
        except BlockingIOError:
            return
        except OSError:
            pass
        if self._loop is not None:
            self._loop.remove_reader(self._link.sock)
        if self._link.process is None:
            self._finish("ended its session")

    def _take(self, number: int, body: bytes) -> None:
        try:
            reply = read_reply(body)
        except UNENCODABLE as error:
            reply = Refused(cannot_send(error))
        match reply:
            case Told(event):
                self.on_event(event)
                return
            case Joined(stop):
                self._stop = stop
            case Done(outcome, _):
                self._stop = outcome.stop
                self._read_output()  # what the command printed is shown before its outcome
            case _:
                pass
        self._answered = True
        answer = self._waiting.get(number)
        if answer is not None and not answer.done():
            answer.set_result(reply)

    def _read_output(self) -> None:
        text = ""
        for _ in range(_MOST_AT_ONCE):
            try:
                data = os.read(self._link.output, _CHUNK)
            except BlockingIOError:
                break
            text += self._decoder.decode(data, final=not data)
            if not data:
                if self._loop is not None:
                    self._loop.remove_reader(self._link.output)
                break
        if text:
            self.on_event(Output(text))

    # -- the end -------------------------------------------------------------------------------------------------------
    def _watch_for_the_end(self, loop: asyncio.AbstractEventLoop) -> None:
        # never by the end of the socket or the pipe: the debuggee's children hold those open
        process = self._link.process
        if hasattr(os, "pidfd_open"):
            try:
                self._pidfd = os.pidfd_open(self._link.pid)
            except OSError:
                loop.call_soon(self._on_end)
            else:
                loop.add_reader(self._pidfd, self._on_end)
        elif process is not None:
            self._waiter = threading.Thread(target=partial(_wait, process, loop, self._on_end), daemon=True)
            self._waiter.start()

    def _on_end(self) -> None:
        if self._how:
            return
        if self._pidfd >= 0 and self._loop is not None:
            self._loop.remove_reader(self._pidfd)
        self._on_readable()  # answers sent before the end still count
        process = self._link.process
        if process is None:
            self._finish("has ended")
        else:
            self._kill_the_group()
            self._finish(exit_words(process.wait()))

    def _finish(self, how: str) -> None:
        if self._how:
            return
        self._read_output()
        self._how = how
        if not self._ending:
            self.on_event(Died(how))
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionError(how))
        if not self._ended.done():
            self._ended.set_result(None)

    async def _end_the_engine(self) -> None:
        if self._answered and not self._waiting:
            self._send(frame(0, Close()))
            await asyncio.wait([self._ended], timeout=_GOOD_ORDER)
        if not self._ended.done():
            self._kill_the_group()
            await self._ended

    def _kill_the_group(self) -> None:
        """Kill the engine and its children. The engine leads a group of its own; it must not have been waited for."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._link.pid, signal.SIGKILL)

    def _drop(self) -> None:
        if self._link.sock.fileno() < 0:
            return
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._link.sock)
            self._loop.remove_writer(self._link.sock)
            self._loop.remove_reader(self._link.output)
            if self._pidfd >= 0:
                self._loop.remove_reader(self._pidfd)
        self._link.sock.close()
        os.close(self._link.output)
        if self._pidfd >= 0:
            os.close(self._pidfd)
        if self._waiter is not None:
            self._waiter.join()
        self._how = self._how or "the session is closed"


def _nobody_listens(_event: Event) -> None:
    """Stand in until the screen says who is to be told."""


def _wait(process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop, on_end: Callable[[], None]) -> None:
    process.wait()
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(on_end)
