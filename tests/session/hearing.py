"""What a test hears of a session, with a way to wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gradstep.values.outcomes import Event


class Heard(list[Event]):
    """The events of a session in their order; give its `append` as `on_event`."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[tuple[Callable[[Event], bool], asyncio.Future[Event]]] = []

    def append(self, event: Event) -> None:
        """Take an event, and wake who waits for it."""
        super().append(event)
        for wanted, answer in self._waiting:
            if not answer.done() and wanted(event):
                answer.set_result(event)

    async def until(self, wanted: Callable[[Event], bool]) -> Event:
        """Return the first event that is wanted, as soon as it is there."""
        for event in self:
            if wanted(event):
                return event
        answer: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, answer))
        return await answer
