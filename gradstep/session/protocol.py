"""What a front end knows of a session, whichever process holds the model."""

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
        """Where the session stands, as far as the front end was told."""
        ...

    async def execute(self, command: Command) -> Outcome:
        """Carry out one command. The debuggee's errors are in the outcome, never raised.

        Raises:
            ConnectionError: the engine is dead; `on_event` was told how.
        """
        ...

    async def execute_and_look(self, command: Command, requests: Sequence[Request]) -> tuple[Outcome, tuple[View, ...]]:
        """Carry out one command and look at the stop it led to, in one message: what a key waits for.

        Returns:
            The outcome, and one view for each request; no view at all when the command did not get as far as that.

        Raises:
            ConnectionError: the engine is dead; `on_event` was told how.
        """
        ...

    async def look(self, requests: Sequence[Request], at: int = 0) -> tuple[View, ...]:
        """Return one view for each request, all of the same stop: the present one, or with `at` one of the past.

        Looking at the past goes nowhere: `Goto` does.
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
