"""What the panels that are visible ask the session for, beside what comes with each outcome."""

from __future__ import annotations

import asyncio
from functools import partial

from gradstep.tui.desk import Desk
from gradstep.tui.keys.in_keys import view_in_keys
from gradstep.tui.panels.bars.past import past_words
from gradstep.tui.render.textual_internals import paint
from gradstep.values.views import Request

_LATE = 0.1
"""Seconds after which a panel says that its view is on its way."""


class Looking:
    """Has every visible panel show what belongs to the present stop, or say that it is loading.

    Nobody has to remember to ask: whenever the screen has dealt with what there was to do (a key, an outcome, a
    layout, the mouse), it compares what each visible panel shows with what it is to show, and asks for the rest.
    """

    def __init__(self, screen: Desk) -> None:
        """Hold the screen, and have its panels say what they wait for."""
        self._screen = screen
        self._catching = False
        """True while an answer is on its way."""
        self._late = False
        """True when it has been for so long that panels say so; before that they stay blank, without a flicker."""
        for name, panel in screen.panels.items():
            panel.placeholder = partial(self._awaited, name)

    def requests(self) -> list[tuple[str, Request]]:
        """Return what each visible panel wants to see, and what controllers want beside that."""
        screen = self._screen
        screen.why.element = screen.ledger.element = screen.tensor.element
        more = [each for controller in screen.controllers for each in controller.wants()]
        wanted = [(name, panel.request()) for name, panel in screen.panels.items() if name in screen.places]
        return [*((name, request) for name, request in wanted if request is not None), *more]

    async def settled(self) -> None:
        """Wait until what is assigned is painted, and every visible panel has what it asks for."""
        while True:
            painted = asyncio.Event()
            self._screen.call_after_refresh(painted.set)
            await painted.wait()
            self._screen.rearrange()
            if self.at_rest:
                return

    @property
    def at_rest(self) -> bool:
        """True when everything stands where it is to stand, and every visible panel shows what it is to show."""
        return self._screen.placed and not self._catching and not (self._can_ask and self._lacking())

    @property
    def _can_ask(self) -> bool:
        return bool(self._screen.status.stop.number) and not self._screen.queue.dead

    def catch_up(self) -> None:
        """Ask for what visible panels lack."""
        if self._can_ask and not self._catching and self._lacking():
            self._catching = True
            self._screen.run_worker(self._ask(), name="catch up")

    def _say_loading(self) -> None:
        """Have panels say that they are loading."""
        self._late = True
        for name, _ in self._lacking():
            self._screen.panels[name].redraw()

    def moment_of(self, name: str) -> int:
        """Return the number of the stop that a panel is to show: the present one, unless the past is looked at."""
        past, timeless = self._screen.past.row, self._screen.panels[name].timeless
        return self._screen.status.stop.number if past is None or timeless else past.stop

    def _awaited(self, name: str) -> str:
        """Return what a panel says in place of a view that is not of the stop that it is to show; empty for none."""
        panel, moment = self._screen.panels[name], self.moment_of(name)
        if not moment or panel.shown_stop == moment or panel.request() is None:
            return ""
        if self._screen.queue.dead:
            return f"Stop {moment} was not loaded here before the engine died."
        return f"Loading stop {moment} ..." if self._late else " "

    def _lacking(self) -> list[tuple[str, Request]]:
        panels = self._screen.panels
        return [
            (name, request)
            for name, request in self.requests()
            if panels[name].shown_request != request
            or panels[name].shown_stop != self.moment_of(name)
            or panels[name].due
        ]

    async def _ask(self) -> None:
        screen = self._screen
        late = asyncio.get_running_loop().call_later(_LATE, self._say_loading)
        try:
            while wanted := self._lacking():
                present, shown = screen.status.stop.number, self.moment_of(wanted[0][0])
                wanted = [each for each in wanted if self.moment_of(each[0]) == shown]
                past = () if shown == present else (shown,)
                views = await screen.session.look([request for _, request in wanted], *past)
                # a stop that came meanwhile brought what was wanted as its command began, not what is in sight since
                if screen.status.stop.number != present or any(self.moment_of(name) != shown for name, _ in wanted):
                    continue
                if any(view.stop != shown for view in views):
                    return  # a stop is on its way, and looks for what it leaves open
                for (name, request), view in zip(wanted, views, strict=True):
                    panel = screen.panels[name]
                    panel.assign(view_in_keys(view, screen.keyboard))
                    panel.shown_request, panel.shown_stop = request, view.stop
                    self._caught_up(name)
                # not with the next frame: this may be the second part of what a key does
                paint(screen, [screen.panels[name].surface for name, _ in wanted])
                screen.rearrange()
                screen.rearrange()  # a matrix in Tensor has other places
        except ConnectionError:
            return
        finally:
            late.cancel()
            self._catching = self._late = False
            screen.check_idle()

    def _caught_up(self, name: str) -> None:
        """Have a panel say that it shows the past, when it does."""
        panel, past = self._screen.panels[name], self._screen.past.row
        seen = past is not None and not panel.timeless and panel.shown_stop == past.stop
        panel.badge = panel.own_badge or (past_words(past.stop) if seen and past is not None else "")
