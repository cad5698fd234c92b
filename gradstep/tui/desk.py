"""The desk: every surface of the screen, where each stands, and which of the panels has the focus."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from textual.app import ComposeResult
from textual.layout import Layout
from textual.screen import Screen

from gradstep.tui.chrome import Banner, FooterRow, PromptRow
from gradstep.tui.keyboard import Keyboard
from gradstep.tui.layout import LAYOUTS, PANELS, REGISTRY
from gradstep.tui.panels import why
from gradstep.tui.panels.ledger import LedgerPanel
from gradstep.tui.panels.log import LogPanel
from gradstep.tui.panels.loss import LossPanel
from gradstep.tui.panels.model import ModelPanel
from gradstep.tui.panels.panel import Panel, Surface
from gradstep.tui.panels.script import ScriptPanel
from gradstep.tui.panels.status import PhasesRow, StatusRow
from gradstep.tui.panels.tensor import TensorPanel
from gradstep.tui.panels.why import WhyPanel
from gradstep.tui.places import Place, PlacesLayout, Wish, plan
from gradstep.values.commands import Say

if TYPE_CHECKING:
    from gradstep.tui.driver import Driver
    from gradstep.tui.prompt import CommandLine
    from gradstep.tui.reading import Reading

_SomePanel = TypeVar("_SomePanel", bound=Panel)


class Desk(Screen[None], inherit_bindings=False):
    """Holds the surfaces and arranges them; what they show is the board's business."""

    driver: Driver
    """Carries out what is asked for; the board's."""
    keyboard = Keyboard()
    """The keys as they are bound."""

    def __init__(self, layout: str) -> None:
        """Prepare the surfaces.

        Args:
            layout: one of `LAYOUTS`.
        """
        super().__init__(id="step")
        self._reading: Reading | None = None
        """The script that is open."""
        self._line: CommandLine | None = None
        """The command line while it is typed into."""
        self._account = False
        """True once there was a backward, for the Ledger to give account of."""
        self._layout = layout
        self._recents = {name: [chosen.focus] for name, chosen in LAYOUTS.items()}
        self._maximised = False
        self._places: dict[str, Place] = {}
        self._desk = PlacesLayout(self._place)
        self._status, self._phases = StatusRow(), PhasesRow()
        self._banner, self._prompt, self._footer = Banner(), PromptRow(), FooterRow()
        self.panels: dict[str, Panel] = {name: make() for name, make in REGISTRY.items()}
        self.model, self.why = self.panel(ModelPanel), self.panel(WhyPanel)
        self.log_panel, self.script_panel = self.panel(LogPanel), self.panel(ScriptPanel)
        self.tensor, self.loss, self.ledger = self.panel(TensorPanel), self.panel(LossPanel), self.panel(LedgerPanel)
        self.focus_panel.focused = True
        rows = (self._status, self._phases, self._banner, self._prompt, self._footer)
        self._surfaces: tuple[Surface, ...] = (*rows, *self.panels.values())

    def panel(self, kind: type[_SomePanel]) -> _SomePanel:
        """Return the panel of a class."""
        return next(panel for panel in self.panels.values() if isinstance(panel, kind))

    @property
    def layout(self) -> Layout:
        """Where everything stands."""
        return self._desk

    def compose(self) -> ComposeResult:
        """Yield every surface; the plan says which of them are seen."""
        yield from self._surfaces

    # -- what the board does ------------------------------------------------------------------------------------------
    def _redraw(self) -> None:
        """Draw every surface again."""
        raise NotImplementedError

    def _catch_up(self) -> None:
        """Ask for what visible panels lack."""
        raise NotImplementedError

    # -- places -------------------------------------------------------------------------------------------------------
    @property
    def _wish(self) -> Wish:
        news = self.why.news
        problem = news.problem is not None
        said = news.outcome is not None and (isinstance(news.outcome.command, Say) or bool(news.outcome.text))
        tall = not news.stages and (problem or said or bool(news.notice) or self._recent[0] == "why")
        needed = why.rows if tall else why.sentence_rows
        rows = needed(news, max(self.size.width, 20))
        script, banner = self._reading is not None, bool(self.driver.dead)
        matrix = self.tensor.view is not None and self.tensor.view.kind == "matrix"
        account = self._account and not banner
        return Wish(tuple(self._recent), script, banner, self._maximised, matrix, max(rows, 3), account, self._layout)

    def _place(self, width: int, height: int) -> dict[str, Place]:
        places = plan(width, height, self._wish)
        for name, panel in self.panels.items():
            if name in places:
                panel.shares, panel.titled = places[name].shares, places[name].titled
        self._places = dict(places)
        if self._line is not None and "prompt" in places:
            at = places["prompt"]
            places["prompt"] = at._replace(width=min(3, at.width))
            places["line"] = at._replace(x=3, width=max(0, at.width - 3))
        return places

    def _arrange(self) -> None:
        """Lay out again if that would change anything."""
        if self._places != plan(*self.size, self._wish):
            self._lay_out()
            self.call_after_refresh(self._catch_up)

    def _lay_out(self) -> None:
        # asked of a child, because only that makes the screen forget the places it knows
        self._status.refresh(layout=True)

    # -- focus --------------------------------------------------------------------------------------------------------
    @property
    def _recent(self) -> list[str]:
        """The panels that had the focus in the present layout, the one that has it first."""
        return self._recents[self._layout]

    @_recent.setter
    def _recent(self, names: list[str]) -> None:
        self._recents[self._layout] = names

    @property
    def _order(self) -> list[str]:
        return [name for name in PANELS if name != "script" or self._reading is not None]

    def _focus(self, name: str) -> None:
        for other, panel in self.panels.items():
            panel.focused = other == name
        self._recent = [name, *(other for other in self._recent if other != name)]
        self._arrange()
        self._redraw()

    @property
    def focus_panel(self) -> Panel:
        """The panel in focus."""
        return self.panels[self._recent[0]]
