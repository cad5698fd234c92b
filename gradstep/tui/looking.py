"""Requests of the visible panels that no outcome has answered."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

from gradstep.tui.desk import Desk
from gradstep.tui.keys.in_keys import view_in_keys
from gradstep.tui.panels.bars.past import past_words
from gradstep.tui.render.textual_internals import paint
from gradstep.values.views import NoView, Request, View

_LATE = 0.1
"""Seconds after which a panel says that it is loading."""


class Looking:
    """Keeps every visible panel up to date with the current stop; one that waits says that it is loading.

    Whenever the screen is idle after a key, an outcome, a layout change or the mouse, it compares what each visible
    panel shows with what it requests, and asks for the difference.
    """

    def __init__(self, screen: Desk) -> None:
        """Attach to the screen and its panels."""
        self._screen = screen
        self._catching = False
        """True while an answer is pending."""
        self._late = False
        """True once it is pending for `_LATE`, so that panels say so; until then they stay blank and do not flicker."""
        self._left: set[str] = set()
        """The panels whose view the engine has left for a later request, as it needs a rerun that takes long."""
        self._asked: list[tuple[str, Request, int]] = []
        """What panels lacked when the pending answer was requested, each with its stop."""
        for name, panel in screen.panels.items():
            panel.placeholder = partial(self._awaited, name)

    def requests(self) -> list[tuple[str, Request]]:
        """Return the requests of the visible panels, then those of the controllers."""
        screen = self._screen
        screen.why.element = screen.ledger.element = screen.tensor.element
        more = [each for controller in screen.controllers for each in controller.wants()]
        wanted = [(name, panel.request()) for name, panel in screen.panels.items() if name in screen.placements]
        return [*((name, request) for name, request in wanted if request is not None), *more]

    def prompt_requests(self) -> list[tuple[str, Request]]:
        """Return the requests to answer together with a command: without those that would delay its outcome."""
        return [(name, request) for name, request in self.requests() if name not in self._left]

    async def settled(self) -> None:
        """Wait until everything assigned is painted and no visible panel lacks a view."""
        while True:
            painted = asyncio.Event()
            self._screen.call_after_refresh(painted.set)
            await painted.wait()
            self._screen.rearrange()
            if self.at_rest:
                return

    @property
    def at_rest(self) -> bool:
        """True when the layout is final and every visible panel is up to date."""
        return self._screen.placed and not self._catching and not (self._can_ask and self._lacking())

    @property
    def _can_ask(self) -> bool:
        return bool(self._screen.status.stop.number) and not self._screen.queue.dead

    def catch_up(self) -> None:
        """Ask for the views that visible panels lack, unless the outcome of a queued command is about to bring them.

        A pending layout comes first: a panel that it hides may need a rerun of the whole phase. What became lacking
        while an answer is pending ends such a rerun.
        """
        if self._catching:
            lacking = self._lacking_there()
            if self._can_ask and any(each not in self._asked for each in lacking):
                self._asked = lacking
                self._screen.run_worker(self._hasten(), name="hasten")
        elif self._can_ask and not self._screen.queue.queued and self._lacking():
            self._screen.rearrange()
            if self._screen.placed:
                self._catching = True
                self._screen.run_worker(self._ask(), name="catch up")

    def _say_loading(self) -> None:
        """Have waiting panels say that they are loading."""
        self._late = True
        for name, _ in self._lacking():
            self._screen.panels[name].redraw()

    def moment_of(self, name: str) -> int:
        """Return the number of the stop that a panel has to show: the current one, or the past one being viewed."""
        past, timeless = self._screen.past.row, self._screen.panels[name].timeless
        return self._screen.status.stop.number if past is None or timeless else past.stop

    def _awaited(self, name: str) -> str:
        """Return what a panel shows in place of an outdated view; empty when its view is current."""
        panel, moment = self._screen.panels[name], self.moment_of(name)
        if not moment or panel.shown_stop == moment or panel.request() is None:
            return ""
        if self._screen.queue.dead and self._screen.status.stop.script:
            return f"The script's process is gone: stop {moment} was not loaded here before."
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

    def _lacking_there(self) -> list[tuple[str, Request, int]]:
        """Return what visible panels lack, each with its stop."""
        return [(name, request, self.moment_of(name)) for name, request in self._lacking()]

    def take(self, name: str, request: Request, view: View) -> None:
        """Assign a view to the panel that requested it, unless the engine has left it for a later request."""
        if isinstance(view, NoView) and view.due:
            if self._screen.past.row is None:
                self._left.add(name)
            return
        self._left.discard(name)
        panel = self._screen.panels[name]
        panel.assign(view_in_keys(view, self._screen.keyboard))
        panel.shown_request, panel.shown_stop = request, view.stop

    async def _hasten(self) -> None:
        """Have the engine give up a rerun: any message that waits does, and this one requests nothing."""
        with suppress(ConnectionError):
            await self._screen.session.look(())

    async def _ask(self) -> None:
        screen = self._screen
        late = asyncio.get_running_loop().call_later(_LATE, self._say_loading)
        try:
            while self._screen.placed and (wanted := self._lacking()):
                present, shown = screen.status.stop.number, self.moment_of(wanted[0][0])
                wanted = [each for each in wanted if self.moment_of(each[0]) == shown]
                wanted = [each for each in wanted if each[0] not in self._left] or wanted
                past, self._asked = () if shown == present else (shown,), self._lacking_there()
                views = await screen.session.look([request for _, request in wanted], *past)
                # a newer stop came with views requested when its command began: other panels may be visible now
                if screen.status.stop.number != present or any(self.moment_of(name) != shown for name, _ in wanted):
                    continue
                if any(view.stop != shown for view in views):
                    return  # a newer stop is about to be presented; it asks for what is still missing
                for (name, request), view in zip(wanted, views, strict=True):
                    self.take(name, request, view)
                    self._caught_up(name)
                # now, not with the next frame: this may complete the response to a key
                paint(screen, [screen.panels[name].surface for name, _ in wanted])
                screen.rearrange()
                screen.rearrange()  # a matrix in Tensor changes the layout
        except ConnectionError:
            return
        finally:
            late.cancel()
            self._catching = self._late = False
            screen.check_idle()

    def _caught_up(self, name: str) -> None:
        """Mark a panel that shows the past."""
        panel, past = self._screen.panels[name], self._screen.past.row
        seen = past is not None and not panel.timeless and panel.shown_stop == past.stop
        panel.badge = panel.own_badge or (past_words(past.stop) if seen and past is not None else "")
