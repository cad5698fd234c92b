"""The carrier: sends one command at a time to the session, with the requests of all panels."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Sequence
from typing import NamedTuple, Protocol

from gradstep.session.protocol import FrontSession
from gradstep.values.commands import Command, Say, Screenshot
from gradstep.values.errors import GradstepError
from gradstep.values.outcomes import Outcome, Problem, Stop
from gradstep.values.views import Digest, LookDigest, Request, View

DIGEST_LIMIT = 256 << 20
"""Bytes of state above which no digest is taken when idle."""


class Listener(Protocol):
    """Receives what the queue reports: the screen."""

    @property
    def at_rest(self) -> bool:
        """True when every visible panel is up to date."""
        ...

    def requests(self) -> Sequence[tuple[str, Request]]:
        """Return the requests of the visible panels, each with the panel's name."""
        ...

    def take_outcome(self, outcome: Outcome, replay: bool) -> None:
        """Take an outcome, without painting; `replay` is True in a replay after a restart."""
        ...

    def present(self, stop: Stop, outcome: Outcome | None, views: Sequence[tuple[str, Request, View]]) -> None:
        """Show a stop and all its views at once; each comes with its panel's name and its request."""
        ...

    def activity(self) -> None:
        """Show what runs and how many jobs are queued."""
        ...

    def show_notice(self, notice: str) -> None:
        """Show a notice of the queue."""
        ...

    def take_screenshot(self, command: Screenshot) -> Awaitable[str]:
        """Draw the screen to a file; return a message that says so."""
        ...


class Mark(NamedTuple):
    """A digest taken when idle, and the number of commands in the history at that time."""

    commands: int
    digest: Digest


class Carrier:
    """Keeps one command in flight, the history of executed commands, and the last idle digest."""

    def __init__(self, session: FrontSession, listener: Listener) -> None:
        """Attach to a session, and report to a listener."""
        self.session = session
        self.stop = Stop()
        self.history: list[Command] = []
        self.mark: Mark | None = None
        self.running: Command | None = None
        self.since = 0.0
        """When the command in flight was sent."""
        self._listener = listener
        self._looked = 0.0
        """When views were last presented."""

    async def _execute(
        self, command: Command, wanted: Sequence[tuple[str, Request]] = (), *, replay: bool = False, report: bool = True
    ) -> tuple[Outcome, tuple[View, ...]]:
        self.running, self.since = command, time.monotonic()
        if report:
            self._listener.activity()
        views: tuple[View, ...] = ()
        if isinstance(command, Screenshot):
            outcome = await self._take_screenshot(command)
        elif isinstance(command, Say) and not self.stop.number:
            # narration before a load must not wait for an engine that still imports torch
            outcome = Outcome(command, self.stop, text=command.text)
        else:
            outcome, views = await self.session.execute_and_look(command, [request for _, request in wanted])
        self.running, self.stop = None, outcome.stop
        self.history.extend(outcome.carried_out)
        self._listener.take_outcome(outcome, replay)
        return outcome, views

    async def watch(self, outcome: Outcome, painted: bool) -> None:
        """Take the outcome of a command executed elsewhere; with `painted`, also present its stop."""
        self.stop = outcome.stop
        self.history.extend(outcome.carried_out)
        self._listener.take_outcome(outcome, False)
        if painted:
            await self._look(outcome)

    async def _take_screenshot(self, command: Screenshot) -> Outcome:
        try:
            return Outcome(command, self.stop, text=await self._listener.take_screenshot(command))
        except GradstepError as error:
            return Outcome(command, self.stop, error.problem)
        except OSError as error:
            what = f"{command.path}: {error.strerror or error}"
            remedy = "Choose a path in a writable folder."
            return Outcome(command, self.stop, Problem("wrong", "the screenshot could not be written", what, remedy))

    async def _look(
        self,
        outcome: Outcome | None,
        wanted: Sequence[tuple[str, Request]] = (),
        views: tuple[View, ...] = (),
    ) -> None:
        """Present a stop, with the views that came with its outcome, if any."""
        if not views and outcome is not None and isinstance(outcome.command, Say) and not outcome.stop.number:
            wanted = ()
        elif not views:
            wanted = self._listener.requests()
            views = await self.session.look([request for _, request in wanted]) if wanted else ()
        self._looked = time.monotonic()
        seen = [(name, request, view) for (name, request), view in zip(wanted, views, strict=True)]
        self.stop = outcome.stop if outcome is not None else self.session.stop
        self._listener.present(self.stop, outcome, seen)

    async def _take_digest(self) -> None:
        try:
            view = (await self.session.look([LookDigest(DIGEST_LIMIT)]))[0]
        except ConnectionError:
            return
        if isinstance(view, Digest) and view.digest:
            self.mark = Mark(len(self.history), view)

    async def _compare(self, mark: Mark) -> str:
        view = (await self.session.look([LookDigest(DIGEST_LIMIT)]))[0]
        if not isinstance(view, Digest) or not view.digest:
            return "its digest could not be taken"
        if view.digest == mark.digest.digest:
            return f"the digest of stop {view.stop} is the same, {view.digest[:12]}"
        return f"the digest of stop {view.stop} DIFFERS, {view.digest[:12]} for {mark.digest.digest[:12]}"
