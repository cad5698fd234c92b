"""Finding as one types: the line after `/`, what is found while it grows, and going there or back."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar, NamedTuple, Protocol

from textual.binding import Binding, BindingType

from gradstep.tui.jobs import command_job
from gradstep.tui.keys import show_of
from gradstep.tui.lines import clean
from gradstep.tui.panels.graph import GraphPanel
from gradstep.tui.prompt import TypedLine
from gradstep.tui.tensor_keys import TensorKeys
from gradstep.values.finding import FoundView, Hit, LookFind


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


class FindingBoard(TensorKeys, inherit_bindings=False):
    """A board on which things are found by their names."""

    _finding: FindLine | None = None
    """The line, once there was one."""
    _home: _Home | None = None
    _hits: FoundView | None = None
    """What was found for what is typed; None until the answer has come."""
    _hit = 0
    _stays = False
    """True when enter came before the answer."""

    def close_line(self) -> None:
        """Let go of the line that is being typed."""
        raise NotImplementedError

    def action_find(self) -> None:
        """Begin to find something."""
        if not self.driver.stop.number or self.driver.dead:
            self._say("there is nothing to find yet")
            return
        graph = self.panel(GraphPanel)
        self._home = _Home([*self._recent], (self.model.at, self.model.first), (graph.at, graph.first))
        if self._finding is None:
            self._finding = FindLine(self)
            self.mount(self._finding)
        self._prompt.mark = self.keyboard.key("find").shown or "/"
        self._line = self._finding
        self._hits, self._stays = None, False
        self._finding.begin("")
        self._lay_out()
        self._prompt.redraw()
        self._say("a part of the name of a module, parameter or node; #12 is node 12")

    # -- what the line tells ------------------------------------------------------------------------------------------
    def searched(self, text: str) -> None:
        """Look for what has been typed so far; where nothing is, go back."""
        self._hits = None
        if text.strip():
            self.run_worker(self._seek(text), name="find", group="find")
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
        hits, self._stays = self._hits, True
        self.close_line()
        if hits is not None:
            self._stay(hits)
        elif not text.strip():
            self._stays = False

    def left(self) -> None:
        """Go back to where it was begun."""
        self.close_line()
        if self._home is not None:
            self._go_back(self._home)

    # -- going there --------------------------------------------------------------------------------------------------
    async def _seek(self, text: str) -> None:
        with suppress(ConnectionError):
            view = (await self._session.look([LookFind(text)]))[0]
            typed = self._finding.value if self._finding is not None else ""
            if not isinstance(view, FoundView) or typed != text or not (self._line is self._finding or self._stays):
                return
            self._hits, self._hit = view, 0
            if view.hits:
                self._see(view, 0)
            elif self._home is not None:
                self._go_back(self._home)
                self._say(f"nothing here is called {clean(text.strip())}")
            if self._stays:
                self._stay(view)

    def _see(self, view: FoundView, place: int) -> None:
        """Point the panels at what was found."""
        hit, graph = view.hits[place], self.panel(GraphPanel)
        if hit.kind == "node":
            graph.seek(f"#{hit.order}")
        else:
            graph.seek(hit.path)
            self.model.point(hit.path)
        self._focus("graph" if hit.kind == "node" else "model")
        self._catch_up()
        if self._line is self._finding:
            self._say(f"{place + 1:,} of {view.total:,}: {_words(hit)}   tab next, enter stays, esc goes back")

    def _stay(self, view: FoundView) -> None:
        self._stays, self._home = False, None
        if view.hits and view.hits[self._hit].shows:
            self._put(command_job(show_of(view.hits[self._hit].shows)))

    def _go_back(self, home: _Home) -> None:
        graph = self.panel(GraphPanel)
        graph.seek("")
        self.model.at, self.model.first = home.model
        graph.at, graph.first = home.graph
        self._focus(home.recent[0])
        self._recent = [*home.recent]
        self._arrange()
        self._redraw()
        self._catch_up()


def _words(hit: Hit) -> str:
    return clean(f"{hit.kind} {hit.name}  {hit.about}")
