"""The session as a front end sees it, independent of the process that holds the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gradstep.values.commands import Command
from gradstep.values.outcomes import Event, Outcome, Stop
from gradstep.values.views import Request, View


class ScriptTerminal(Protocol):
    """The terminal of a script, as the screen that shows it sees it."""

    def write(self, text: str) -> bool:
        """Type a text; return False when the script has not read what was typed before, and there is no room."""
        ...

    def resize(self, columns: int, rows: int) -> None:
        """Change its size; the script is told with SIGWINCH."""
        ...

    def awaits_input(self) -> bool:
        """Return whether the script, or a child of its, waits for something to be typed."""
        ...


class FrontSession(Protocol):
    """The session as a screen sees it: awaitable, so that the screen stays responsive while the debuggee runs."""

    on_event: Callable[[Event], None]
    """Called with progress while loading, with the debuggee's output, and when the engine dies."""

    @property
    def stop(self) -> Stop:
        """The present stop, as last reported to the front end."""
        ...

    @property
    def terminal(self) -> ScriptTerminal | None:
        """The script's terminal; None for a held workload."""
        ...

    async def execute(self, command: Command) -> Outcome:
        """Run one command. The debuggee's errors are returned in the outcome, never raised.

        Raises:
            ConnectionError: the engine is dead; `on_event` was called with the cause.
        """
        ...

    async def execute_and_look(self, command: Command, requests: Sequence[Request]) -> tuple[Outcome, tuple[View, ...]]:
        """Run one command and return views of the stop it ended at, in one message: what a key press waits for.

        Returns:
            The outcome, and one view for each request; no views if the command did not end at a stop.

        Raises:
            ConnectionError: the engine is dead; `on_event` was called with the cause.
        """
        ...

    async def look(self, requests: Sequence[Request], at: int = 0) -> tuple[View, ...]:
        """Return one view for each request, all of one stop: the present one, or with `at` a past one.

        Looking at the past does not travel there; `Goto` does.
        """
        ...

    def interrupt(self) -> None:
        """Interrupt the phase that is running, if any; it is rolled back and its outcome is `interrupted`."""
        ...

    async def restart(self) -> None:
        """Replace this engine, dead or alive, by a new one with nothing loaded."""
        ...

    async def close(self) -> None:
        """End the session: end its engine, or let `gradstep.open` return."""
        ...
