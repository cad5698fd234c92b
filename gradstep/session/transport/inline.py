"""A local session with the front end's protocol: for drawing a screen in the process that holds the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gradstep.session.local import Session
from gradstep.values.commands import Command
from gradstep.values.outcomes import Event, Outcome, Stop
from gradstep.values.views import Request, View


class InlineSession:
    """Answers at once, on the caller's thread; there is no engine process that could die."""

    def __init__(self, local: Session) -> None:
        self.local = local
        self.on_event: Callable[[Event], None] = lambda _: None
        self.terminal = None

    @property
    def stop(self) -> Stop:
        """The present stop."""
        return self.local.stop

    async def execute(self, command: Command) -> Outcome:
        """Run one command."""
        return self.local.execute(command)

    async def execute_and_look(self, command: Command, requests: Sequence[Request]) -> tuple[Outcome, tuple[View, ...]]:
        """Run one command, then look."""
        return self.local.execute(command), self.local.look(*requests)

    async def look(self, requests: Sequence[Request], at: int = 0) -> tuple[View, ...]:
        """Return one view for each request."""
        return self.local.look(*requests, at=at)

    def interrupt(self) -> None:
        """Do nothing: a command has always finished."""

    async def restart(self) -> None:
        """Release the workload, so that a `Load` starts from nothing."""
        self.local.close()

    async def close(self) -> None:
        """Do nothing: the local session belongs to the caller."""
