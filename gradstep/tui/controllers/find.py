"""Incremental search: the line after `/`, its matches, and going there or back."""

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
    """Receives the edits of the line."""

    def searched(self, text: str) -> None:
        """Search for the text typed so far."""
        ...

    def stepped(self, by: int) -> None:
        """Go to the next or previous match."""
        ...

    def found(self) -> None:
        """Stay at the match."""
        ...

    def left(self) -> None:
        """Go back to where the search began."""
        ...


class FindLine(TypedLine):
    """Takes the place of the prompt row during a search."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,tab", "step(1)", "next", show=False, id="find.next"),
        Binding("up,shift+tab", "step(-1)", "back", show=False, id="find.back"),
        Binding("escape", "leave", "leave", show=False, id="find.leave"),
    ]

    def __init__(self, finder: Finder) -> None:
        """Prepare a line; `finder` receives its edits."""
        super().__init__("find")
        self._finder = finder

    def watch_value(self, value: str) -> None:
        """Search at every edit."""
        self._finder.searched(value)

    def action_step(self, by: int) -> None:
        """Go through the matches."""
        self._finder.stepped(by)

    def action_leave(self) -> None:
        """Go back."""
        self._finder.left()

    async def action_submit(self) -> None:
        """Stay at the match."""
        self._finder.found()


class _Home(NamedTuple):
    """Focus and cursors when `/` was pressed."""

    recent: list[str]
    model: tuple[int, int]
    graph: tuple[int, int]
    """Cursor and first visible row."""


class Find(Controller):
    """Finds modules, parameters and nodes by their names."""

    def __init__(self, screen: Desk, typing: CommandLines) -> None:
        """Attach to the screen; `typing` opens and closes the line."""
        super().__init__(screen)
        self._typing = typing
        self._finding: FindLine | None = None
        """The search line; None until it is first opened."""
        self._home: _Home | None = None
        self._hits: FoundView | None = None
        """The matches of the typed text; None until they arrive."""
        self._hit = 0
        self.stays = False
        """True when enter was pressed before the matches arrived."""

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return the handler of each key."""
        return {"find": self.begin}

    def applies(self, key: str) -> bool | None:
        """Return whether a key would do something now."""
        return self.queue.stop.number > 0 and not self.queue.dead if key == "find" else None

    def begin(self) -> None:
        """Begin a search."""
        if not self.applies("find"):
            self.screen.say("there is nothing to search yet")
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

    # -- edits of the line --------------------------------------------------------------------------------------------
    def searched(self, text: str) -> None:
        """Search for the text typed so far; go back when it is empty."""
        self._hits = None
        if text.strip():
            self.screen.run_worker(self._seek(text), name="find", group="find")
        elif self._home is not None:
            self._go_back(self._home)

    def stepped(self, by: int) -> None:
        """Go to the next or previous match."""
        if self._hits is not None and self._hits.hits:
            self._hit = (self._hit + by) % len(self._hits.hits)
            self._see(self._hits, self._hit)

    def found(self) -> None:
        """Stay at the match, and select it."""
        text = self._finding.value if self._finding is not None else ""
        hits, self.stays = self._hits, True
        self._typing.close_line()
        if hits is not None:
            self._stay(hits)
        elif not text.strip():
            self.stays = False

    def left(self) -> None:
        """Go back to where the search began."""
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
                self.screen.say(f"no match for {clean(text.strip())}")
            if self.stays:
                self._stay(view)

    def _see(self, view: FoundView, place: int) -> None:
        """Move the panels' cursors to a match."""
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
        graph, model = self.screen.panel(GraphPanel), self.screen.model
        graph.seek("")
        (model.at, model.first), model.sought = home.model, ""
        graph.at, graph.first = home.graph
        self.screen.go_to(home.recent[0])
        self.screen.recent = [*home.recent]
        self.screen.rearrange()
        self.screen.redraw()
        self.screen.check_idle()


def _words(hit: Hit) -> str:
    return clean(f"{hit.kind} {hit.name}  {hit.about}")
