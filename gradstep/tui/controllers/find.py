"""Finding as one types: the line after `/`, what is found while it grows, and going there or back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import ClassVar, NamedTuple, Protocol

from textual.binding import Binding, BindingType

from gradstep.tui.commands.jobs import command_job, show_of
from gradstep.tui.commands.prompt import TypedLine
from gradstep.tui.controllers.command_line import CommandLines
from gradstep.tui.desk import Controller, Desk
from gradstep.tui.panels.graph.panel import GraphPanel
from gradstep.tui.render.lines import clean
from gradstep.values.views.search import FoundView, Hit, LookFind


class Finder(Protocol):
    """Who is told what becomes of the line."""

    def searched(self, text: str) -> None:
        """Look for what has been typed so far."""
        ...

    def stepped(self, by: int) -> None:
        """Go to the next of what was found, or back."""
        ...

    def found(self) -> None:
        """Stay where this has led."""
        ...

    def left(self) -> None:
        """Go back to where it was begun."""
        ...


class FindLine(TypedLine):
    """Takes the place of the prompt row while something is looked for."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,tab", "step(1)", "next", show=False, id="find.next"),
        Binding("up,shift+tab", "step(-1)", "back", show=False, id="find.back"),
        Binding("escape", "leave", "leave", show=False, id="find.leave"),
    ]

    def __init__(self, finder: Finder) -> None:
        """Prepare a line; `finder` is told what becomes of it."""
        super().__init__("find")
        self._finder = finder

    def watch_value(self, value: str) -> None:
        """Look for it at each letter."""
        self._finder.searched(value)

    def action_step(self, by: int) -> None:
        """Go through what was found."""
        self._finder.stepped(by)

    def action_leave(self) -> None:
        """Go back."""
        self._finder.left()

    async def action_submit(self) -> None:
        """Stay there."""
        self._finder.found()


class _Home(NamedTuple):
    """Where one was when `/` was pressed."""

    recent: list[str]
    model: tuple[int, int]
    graph: tuple[int, int]
    """Cursor and first row of each."""


class Find(Controller):
    """Finds modules, parameters and nodes by their names."""

    def __init__(self, screen: Desk, typing: CommandLines) -> None:
        """Hold the screen; `typing` has the line in its place."""
        super().__init__(screen)
        self._typing = typing
        self._finding: FindLine | None = None
        """The line, once there was one."""
        self._home: _Home | None = None
        self._hits: FoundView | None = None
        """What was found for what is typed; None until the answer has come."""
        self._hit = 0
        self.stays = False
        """True when enter came before the answer."""

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return what each key does."""
        return {"find": self.begin}

    def applies(self, key: str) -> bool | None:
        """Return whether a key would do something now."""
        return self.queue.stop.number > 0 and not self.queue.dead if key == "find" else None

    def begin(self) -> None:
        """Begin to find something."""
        if not self.applies("find"):
            self.screen.say("there is nothing to find yet")
            return
        graph = self.screen.panel(GraphPanel)
        self._home = _Home(
            [*self.screen.recent], (self.screen.model.at, self.screen.model.first), (graph.at, graph.first)
        )
        if self._finding is None:
            self._finding = FindLine(self)
            self.screen.mount(self._finding)
        self._hits, self.stays = None, False
        self._typing.open(self._finding, self.keyboard.key("find").shown or "/")
        self.screen.prompt.redraw()
        self.screen.say("a part of the name of a module, parameter or node; #12 is node 12")

    # -- what the line tells ------------------------------------------------------------------------------------------
    def searched(self, text: str) -> None:
        """Look for what has been typed so far; where nothing is, go back."""
        self._hits = None
        if text.strip():
            self.screen.run_worker(self._seek(text), name="find", group="find")
        elif self._home is not None:
            self._go_back(self._home)

    def stepped(self, by: int) -> None:
        """Go to the next of what was found, or back."""
        if self._hits is not None and self._hits.hits:
            self._hit = (self._hit + by) % len(self._hits.hits)
            self._see(self._hits, self._hit)

    def found(self) -> None:
        """Stay where this has led, and select it."""
        text = self._finding.value if self._finding is not None else ""
        hits, self.stays = self._hits, True
        self._typing.close_line()
        if hits is not None:
            self._stay(hits)
        elif not text.strip():
            self.stays = False

    def left(self) -> None:
        """Go back to where it was begun."""
        self._typing.close_line()
        if self._home is not None:
            self._go_back(self._home)

    # -- going there --------------------------------------------------------------------------------------------------
    async def _seek(self, text: str) -> None:
        with suppress(ConnectionError):
            view = (await self.screen.session.look([LookFind(text)]))[0]
            typed = self._finding.value if self._finding is not None else ""
            if (
                not isinstance(view, FoundView)
                or typed != text
                or not (self.screen.line is self._finding or self.stays)
            ):
                return
            self._hits, self._hit = view, 0
            if view.hits:
                self._see(view, 0)
            elif self._home is not None:
                self._go_back(self._home)
                self.screen.say(f"nothing here is called {clean(text.strip())}")
            if self.stays:
                self._stay(view)

    def _see(self, view: FoundView, place: int) -> None:
        """Point the panels at what was found."""
        hit, graph = view.hits[place], self.screen.panel(GraphPanel)
        if hit.kind == "node":
            graph.seek(f"#{hit.order}")
        else:
            graph.seek(hit.path)
            self.screen.model.point(hit.path)
        self.screen.go_to("graph" if hit.kind == "node" else "model")
        if self.screen.line is self._finding:
            self.screen.say(f"{place + 1:,} of {view.total:,}: {_words(hit)}   tab next, enter stays, esc goes back")

    def _stay(self, view: FoundView) -> None:
        self.stays, self._home = False, None
        if view.hits and view.hits[self._hit].shows:
            self.screen.put(command_job(show_of(view.hits[self._hit].shows)))

    def _go_back(self, home: _Home) -> None:
        graph = self.screen.panel(GraphPanel)
        graph.seek("")
        self.screen.model.at, self.screen.model.first = home.model
        graph.at, graph.first = home.graph
        self.screen.go_to(home.recent[0])
        self.screen.recent = [*home.recent]
        self.screen.rearrange()
        self.screen.redraw()
        self.screen.check_idle()


def _words(hit: Hit) -> str:
    return clean(f"{hit.kind} {hit.name}  {hit.about}")
