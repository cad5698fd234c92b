"""What the panels that are visible ask the session for, beside what comes with each outcome."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from gradstep.tui.desk import Desk
from gradstep.tui.in_keys import view_in_keys
from gradstep.tui.painting import paint
from gradstep.tui.remembered import Look
from gradstep.values.views import Request

if TYPE_CHECKING:
    from gradstep.session.protocol import FrontSession


class AskingDesk(Desk, inherit_bindings=False):
    """A desk whose visible panels belong to the present stop, or say that they are loading.

    Nobody has to remember to ask: whenever the screen has dealt with what there was to do (a key, an outcome, a
    layout, the mouse), it compares what each visible panel shows with what it is to show, and asks for the rest.
    """

    def __init__(self, session: FrontSession, look: Look) -> None:
        """Prepare the surfaces.

        Args:
            session: who is asked.
            look: how they look at first.
        """
        super().__init__(look)
        self._session = session
        self._catching = False
        """True while an answer is on its way."""
        for name, panel in self.panels.items():
            panel.awaited = partial(self._awaited, name)

    def requests(self) -> list[tuple[str, Request]]:
        """Return what each visible panel wants to see; Why and Ledger are about the element under Tensor's cursor."""
        self.why.element = self.ledger.element = self.tensor.element
        wanted = [(name, panel.request()) for name, panel in self.panels.items() if name in self._places]
        return [(name, request) for name, request in wanted if request is not None]

    async def settled(self) -> None:
        """Wait until what is assigned is painted, and every visible panel has what it asks for."""
        while True:
            painted = asyncio.Event()
            self.call_after_refresh(painted.set)
            await painted.wait()
            self._arrange()
            if self.at_rest:
                return

    @property
    def at_rest(self) -> bool:
        """True when everything stands where it is to stand, and every visible panel shows what it is to show."""
        return self._placed and not self._catching and not (self._can_ask and self._lacking())

    @property
    def _can_ask(self) -> bool:
        return bool(self._status.stop.number) and not self.driver.dead

    def on_idle(self) -> None:
        """Ask for what visible panels lack, once there is nothing else to do."""
        self._catch_up()

    def _catch_up(self) -> None:
        """Ask for what visible panels lack."""
        if self._can_ask and not self._catching and self._lacking():
            self._catching = True
            self.run_worker(self._ask(), name="catch up")

    def _awaited(self, name: str) -> str:
        """Return what a panel says in place of a view that is not of the stop that it is to show; empty for none."""
        panel, moment = self.panels[name], self.moment_of(name)
        if not moment or panel.seen == moment or panel.request() is None:
            return ""
        if self.driver.dead:
            return f"Stop {moment} was not loaded here before the engine died."
        return f"Loading stop {moment} ..."

    def moment_of(self, name: str) -> int:  # noqa: ARG002
        """Return the number of the stop that a panel is to show: the present one, unless the past is looked at."""
        return self._status.stop.number

    def mark_moment(self, name: str) -> None:
        """Have a panel say that it shows the past, when it does."""

    def _lacking(self) -> list[tuple[str, Request]]:
        return [
            (name, request)
            for name, request in self.requests()
            if self.panels[name].asked != request
            or self.panels[name].seen != self.moment_of(name)
            or self.panels[name].due
        ]

    async def _ask(self) -> None:
        try:
            while wanted := self._lacking():
                present, shown = self._status.stop.number, self.moment_of(wanted[0][0])
                wanted = [each for each in wanted if self.moment_of(each[0]) == shown]
                past = () if shown == present else (shown,)
                views = await self._session.look([request for _, request in wanted], *past)
                # a stop that came meanwhile brought what was wanted as its command began, not what is in sight since
                if self._status.stop.number != present or any(self.moment_of(name) != shown for name, _ in wanted):
                    continue
                if any(view.stop != shown for view in views):
                    return  # a stop is on its way, and looks for what it leaves open
                for (name, request), view in zip(wanted, views, strict=True):
                    panel = self.panels[name]
                    panel.assign(view_in_keys(view, self.keyboard))
                    panel.asked, panel.seen = request, view.stop
                    self.mark_moment(name)
                # not with the next frame: this may be the second part of what a key does
                paint(self, [self.panels[name] for name, _ in wanted])
                self._arrange()
                self._arrange()  # a matrix in Tensor has other places
        except ConnectionError:
            return
        finally:
            self._catching = False
            self.check_idle()
