"""The session of a training script in a process of its own, for callers without an event loop: replay and tests."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from gradstep.session.transport.remote import RemoteSession
from gradstep.values.commands import Command
from gradstep.values.outcomes import Event, Outcome, Output, Problem, Stop
from gradstep.values.views import NoView, Request, View

T = TypeVar("T")


class ScriptProcess:
    """Steps a training script; what it prints goes to this process's standard output. Make it on the main thread."""

    def __init__(self) -> None:
        self._remote = RemoteSession.spawn(script=True)
        self._remote.on_event = _print
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="gradstep-remote", daemon=True)
        self._thread.start()
        self.log: list[Command] = []

    @property
    def stop(self) -> Stop:
        """The current stop."""
        return self._remote.stop

    def execute(self, command: Command) -> Outcome:
        """Carry out one command; the death of the process is a problem of the outcome."""
        try:
            outcome = self._wait(self._remote.execute(command))
        except ConnectionError as error:
            problem = Problem("raised", "the script's process is gone", str(error), "run it alone to see its output")
            return Outcome(command, self.stop, problem)
        except KeyboardInterrupt:
            self._loop.call_soon_threadsafe(self._remote.interrupt)
            raise
        self.log.extend(outcome.carried_out)
        return outcome

    def look(self, *requests: Request, at: int = 0) -> tuple[View, ...]:
        """Return one view for each request."""
        try:
            return self._wait(self._remote.look(requests, at))
        except ConnectionError as error:
            return tuple(NoView(at or self.stop.number, str(error)) for _ in requests)

    def observe(self, on: bool) -> None:
        """Do nothing: a script is always observed."""

    def forget(self) -> None:
        """Do nothing: a script has no history."""

    def close(self) -> None:
        """End the process, wherever it has stopped."""
        self._wait(self._remote.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _print(event: Event) -> None:
    if isinstance(event, Output):
        sys.stdout.write(event.text.replace("\r\n", "\n"))
        sys.stdout.flush()
