"""The session as a front end sees it, whichever process holds the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gradstep.values.commands import Command
from gradstep.values.outcomes import Event, Outcome, Stop
from gradstep.values.views import Request, View


class FrontSession(Protocol):
    """The session as a screen holds it: awaitable, so that the screen lives while the debuggee works."""

    on_event: Callable[[Event], None]
    """Called with progress while loading, with the debuggee's output, and when the engine dies."""

    @property
    def stop(self) -> Stop:
        """The present stop, as last reported to the front end."""
        ...

    async def execute(self, command: Command) -> Outcome:
        """Carry out one command. The debuggee's errors are in the outcome, never raised.

        Raises:
            ConnectionError: the engine is dead; `on_event` was called with how it died.
        """
        ...

    async def execute_and_look(self, command: Command, requests: Sequence[Request]) -> tuple[Outcome, tuple[View, ...]]:
        """Carry out one command and return views of the stop it led to, in one message: what a key waits for.

        Returns:
            The outcome, and one view for each request; no views when the command did not lead to a stop.

        Raises:
            ConnectionError: the engine is dead; `on_event` was called with how it died.
        """
        ...

    async def look(self, requests: Sequence[Request], at: int = 0) -> tuple[View, ...]:
        """Return one view for each request, all of the same stop: the present one, or with `at` a past one.

        Looking at the past does not travel there; `Goto` does.
        """
        ...

    def interrupt(self) -> None:
        """Interrupt the phase that is running, if one is; it is rolled back and its outcome says `interrupted`."""
        ...

    async def restart(self) -> None:
        """Start a fresh, empty engine in place of this one, dead or alive."""
        ...

    async def close(self) -> None:
        """End the session: its engine, or in `gradstep.open` its hold on the caller."""
        ...
