"""The session as the screen holds it: commands go over a socket to the process that holds the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from gradstep.session.transport.connection import Connection, Ears
from gradstep.session.transport.process import Link, spawn_engine
from gradstep.session.transport.wire import (
    UNENCODABLE,
    Close,
    Done,
    Execute,
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
from gradstep.values.commands import HISTORY, Command
from gradstep.values.errors import wrong
from gradstep.values.outcomes import Died, Event, Outcome, Output, Stop
from gradstep.values.views import NoView, Request, View

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
        self._connection = Connection(link, Ears(self._take, self._printed, self._finish))
        self._last = 0
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._stop = Stop()
        self._answered = self._ending = False
        self._how = ""

    @classmethod
    def spawn(cls, history: int = HISTORY, history_offload: bool = False, script: bool = False) -> RemoteSession:
        """Start an engine and return the session with it. Call on the main thread, before anything slow is imported.

        Args:
            history: bytes that may be kept to go back in time with.
            history_offload: True to keep that of a model on a GPU in host memory.
            script: True to run a script, in a terminal of its own.
        """
        start = partial(spawn_engine, history=history, history_offload=history_offload, script=script)
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
            self._connection.send(frame(self._last, Interrupt()))

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
        if self._connection.joined or self._how:
            return
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._connection.join(loop)

    async def close(self) -> None:
        """End the engine, or in `gradstep.open` give the caller back; leave no process, thread or descriptor."""
        await self.attach()
        self._ending = True
        if not self._how:
            if self._link.process is None:
                self._connection.send(frame(0, Close()))
            else:
                await self._end_the_engine()
        self._drop()

    def kill(self) -> None:
        """End the engine at once, without an event loop; what is left to do after a screen that failed. Idempotent."""
        self._ending = True
        process = self._link.process
        if process is not None and process.returncode is None:
            self._connection.kill_the_group()
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
        self._waiting[number] = answer = asyncio.get_running_loop().create_future()
        try:
            self._connection.send(data)
            reply: Reply = await answer
            return reply
        finally:
            self._waiting.pop(number, None)

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
                self._connection.read_output()  # what the command printed is shown before its outcome
            case _:
                pass
        self._answered = True
        answer = self._waiting.get(number)
        if answer is not None and not answer.done():
            answer.set_result(reply)

    def _printed(self, text: str) -> None:
        self.on_event(Output(text))

    # -- the end -------------------------------------------------------------------------------------------------------
    def _finish(self, how: str) -> None:
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
            self._connection.send(frame(0, Close()))
            await asyncio.wait([self._ended], timeout=_GOOD_ORDER)
        if not self._ended.done():
            self._connection.kill_the_group()
            await self._ended

    def _drop(self) -> None:
        self._connection.drop()
        self._how = self._how or "the session is closed"


def _nobody_listens(_event: Event) -> None:
    """Stand in until the screen says who is to be told."""
