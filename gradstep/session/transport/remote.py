"""The session on the screen's side: sends commands over a socket to the process that holds the model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from gradstep.session.protocol import ScriptTerminal
from gradstep.session.transport.connection import Callbacks, Connection
from gradstep.session.transport.process import EngineLink, spawn_engine
from gradstep.session.transport.pseudo_terminal import PseudoTerminal
from gradstep.session.transport.wire import (
    UNENCODABLE,
    Close,
    Execute,
    Executed,
    Interrupt,
    Look,
    Looked,
    Notified,
    Order,
    Ready,
    Refused,
    Reply,
    cannot_send,
    frame,
    read_reply,
)
from gradstep.values.commands import HISTORY, HISTORY_TIME, Command
from gradstep.values.errors import wrong
from gradstep.values.outcomes import Died, Event, Outcome, Output, Stop
from gradstep.values.views import NoView, Request, View

_EXIT_TIMEOUT = 1.0
"""Seconds that an idle engine has to exit before it is killed."""


class RemoteSession:
    """A `FrontSession` whose engine is another process.

    Started in two steps: the process is spawned before there is an event loop, and the session joins the loop on its
    first await.
    """

    def __init__(self, link: EngineLink, start: Callable[[], EngineLink] | None = None) -> None:
        """Hold an engine; `start` starts another one in its place, None if that is impossible."""
        self.on_event: Callable[[Event], None] = _ignore
        self._start = start
        self._begin(link)

    def _begin(self, link: EngineLink) -> None:
        self._link = link
        self._connection = Connection(link, Callbacks(self._receive, self._printed, self._finish))
        self._terminal = PseudoTerminal(link) if link.report >= 0 else None
        self._last = 0
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._stop = Stop()
        self._answered = self._ending = False
        self._how = ""

    @classmethod
    def spawn(
        cls,
        history: int = HISTORY,
        history_offload: bool = False,
        script: bool = False,
        python: str = "",
        history_time: float = HISTORY_TIME,
    ) -> RemoteSession:
        """Start an engine and return its session. Call it on the main thread, before anything slow is imported.

        Args:
            history: maximum bytes of history.
            history_offload: True to keep the history of a model on a GPU in host memory.
            script: True to run a script, in its own terminal.
            python: the interpreter to run it on; empty for our own.
            history_time: time budget of the history, see `Session`.
        """
        start = partial(
            spawn_engine,
            history=history,
            history_offload=history_offload,
            script=script,
            python=python,
            history_time=history_time,
        )
        return cls(start(), start)

    @property
    def stop(self) -> Stop:
        """The present stop, as last reported by the engine."""
        return self._stop

    @property
    def terminal(self) -> ScriptTerminal | None:
        """The script's terminal; None for a held workload."""
        return self._terminal

    # -- what the screen calls -----------------------------------------------------------------------------------------
    async def execute(self, command: Command) -> Outcome:
        """Run one command; see `FrontSession.execute`."""
        outcome, _ = await self.execute_and_look(command, ())
        return outcome

    async def execute_and_look(self, command: Command, requests: Sequence[Request]) -> tuple[Outcome, tuple[View, ...]]:
        """Run one command and look; see `FrontSession.execute_and_look`."""
        reply = await self._ask(Execute(command, tuple(requests)))
        match reply:
            case Executed(outcome, views):
                return outcome, views
            case Refused(problem):
                return Outcome(command, self._stop, problem), ()
        raise ConnectionError(f"the engine answered a command with {type(reply).__name__}")

    async def look(self, requests: Sequence[Request], at: int = 0) -> tuple[View, ...]:
        """Return one view for each request, all of one stop; see `FrontSession.look`."""
        reply = await self._ask(Look(tuple(requests), at))
        match reply:
            case Looked(views):
                return views
            case Refused(problem):
                return tuple(NoView(at or self._stop.number, problem.what) for _ in requests)
        raise ConnectionError(f"the engine answered a look with {type(reply).__name__}")

    def interrupt(self) -> None:
        """Interrupt every command that was sent and has not finished; a running phase is rolled back."""
        if self._waiting:
            self._connection.send(frame(self._last, Interrupt()))

    async def restart(self) -> None:
        """Replace this engine, dead or alive, by a new one with nothing loaded."""
        if self._start is None:
            raise wrong(
                "the engine cannot be restarted from here",
                "The model is in the program that called gradstep.open.",
                "Quit, and call gradstep.open again.",
            )
        await self.close()
        self._begin(self._start())
        await self.attach()

    async def attach(self) -> None:
        """Join the running event loop. Every other call does this too."""
        if self._connection.joined or self._how:
            return
        loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._connection.join(loop)

    async def close(self) -> None:
        """End the engine, or let `gradstep.open` return; leave no process, thread or descriptor behind."""
        await self.attach()
        self._ending = True
        if not self._how:
            if self._link.process is None:
                self._connection.send(frame(0, Close()))
            else:
                await self._end_engine()
        self._drop()

    def kill(self) -> None:
        """Kill the engine without an event loop, as after an error of the screen. Idempotent."""
        self._ending = True
        self._connection.collect()
        self._drop()

    # -- messages ------------------------------------------------------------------------------------------------------
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

    def _receive(self, number: int, body: bytes) -> None:
        try:
            reply = read_reply(body)
        except UNENCODABLE as error:
            reply = Refused(cannot_send(error))
        match reply:
            case Notified(event):
                self.on_event(event)
                return
            case Ready(stop):
                self._stop = stop
            case Executed(outcome, _):
                self._stop = outcome.stop
                self._connection.read_output()  # show what the command printed before its outcome
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

    async def _end_engine(self) -> None:
        if self._answered and not self._waiting:
            self._connection.send(frame(0, Close()))
            await asyncio.wait([self._ended], timeout=_EXIT_TIMEOUT)
        if not self._ended.done():
            self._connection.kill_group()
            await self._ended

    def _drop(self) -> None:
        self._connection.drop()
        self._how = self._how or "the session is closed"


def _ignore(_event: Event) -> None:
    """Ignore events until the screen sets `on_event`."""
