"""The desk: every surface of the screen, where each stands, and which of the panels has the focus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, TypeVar

from msgspec.structs import replace
from textual import events
from textual.app import ComposeResult
from textual.layout import Layout
from textual.screen import Screen

from gradstep.tui.chrome import Banner, FooterRow, PromptRow
from gradstep.tui.keyboard import Keyboard
from gradstep.tui.layout import ABOUT_LOOPS, LAYOUTS, PANELS, REGISTRY, layout_of
from gradstep.tui.panels import why
from gradstep.tui.panels.ledger import LedgerPanel
from gradstep.tui.panels.log import LogPanel
from gradstep.tui.panels.loss import LossPanel
from gradstep.tui.panels.model import ModelPanel
from gradstep.tui.panels.panel import Panel
from gradstep.tui.panels.past import PastRow
from gradstep.tui.panels.position import PositionRow
from gradstep.tui.panels.script import ScriptPanel
from gradstep.tui.panels.status import PhasesRow, StatusRow
from gradstep.tui.panels.surface import Surface
from gradstep.tui.panels.tensor import TensorPanel
from gradstep.tui.panels.why import WhyPanel
from gradstep.tui.places import Place, PlacesLayout, Wish, plan, size_class
from gradstep.tui.remembered import Look, Taste
from gradstep.tui.sizes import Grip, grip_at, resized
from gradstep.tui.tones import PLAIN, THEMES

if TYPE_CHECKING:
    from gradstep.tui.driver import Driver
    from gradstep.tui.prompt import TypedLine
    from gradstep.tui.reading import Reading

_SomePanel = TypeVar("_SomePanel", bound=Panel)


class Desk(Screen[None], inherit_bindings=False):
    """Holds the surfaces and arranges them; what they show is the board's business."""

    driver: Driver
    """Carries out what is asked for; the board's."""
    keyboard = Keyboard()
    """The keys as they are bound."""
    ALLOW_SELECT: ClassVar[bool] = False

    def __init__(self, look: Look) -> None:
        """Prepare the surfaces; they look as `look` says."""
        super().__init__(id="step")
        self._taste, self._kept = look.taste, look.kept
        self._held: tuple[Grip, int, int, Wish] | None = None
        """What the mouse has hold of, where it took it, and how things stood then."""
        self._reading: Reading | None = None
        """The script that is open."""
        self._line: TypedLine | None = None
        """The line that is being typed."""
        self._account = False
        """True once there was a backward, for the Ledger to give account of."""
        self._layout = look.layout
        """Which of `LAYOUTS` it is."""
        self._inside = ""
        """The phase that is stopped inside, which has layouts of its own; empty between phases."""
        self._recents = {
            (name, phase): [layout_of(name, phase).focus] for name in LAYOUTS for phase in ("", "forward", "backward")
        }
        self._maximised = False
        self._planned: tuple[int, int, Wish] | None = None
        """Size and wish that the places are for."""
        self._places: dict[str, Place] = {}
        self._desk = PlacesLayout(self._place)
        self._status, self._phases, self._position, self._past = StatusRow(), PhasesRow(), PositionRow(), PastRow()
        self._banner, self._prompt, self._footer = Banner(), PromptRow(), FooterRow()
        self._prompt.layout_name = look.layout
        self.panels: dict[str, Panel] = {name: make() for name, make in REGISTRY.items()}
        self.model, self.why = self.panel(ModelPanel), self.panel(WhyPanel)
        self.log_panel, self.script_panel = self.panel(LogPanel), self.panel(ScriptPanel)
        self.tensor, self.loss, self.ledger = self.panel(TensorPanel), self.panel(LossPanel), self.panel(LedgerPanel)
        self.focus_panel.focused = True
        rows = (self._status, self._phases, self._position, self._past, self._banner, self._prompt, self._footer)
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

    def _say(self, text: str) -> None:
        """Say something on the footer."""
        raise NotImplementedError

    # -- places -------------------------------------------------------------------------------------------------------
    @property
    def _wish(self) -> Wish:
        news = self.why.news
        problem = news.problem is not None
        printed = news.outcome is not None and bool(why.printed(news.outcome))
        tall = not news.stages and (problem or printed or bool(news.notice) or self._recent[0] == "why")
        needed = why.rows if tall else why.sentence_rows
        width = max(self.size.width, 20)
        rows, said = needed(news, width), why.said_rows(news, width)
        script, banner = self._reading is not None, bool(self.driver.dead)
        matrix = self.tensor.view is not None and self.tensor.view.kind == "matrix"
        account = self._account and not banner
        sizes = self._taste.sizes.get(self._sized, {})
        rows, focus, name = max(rows, 3), tuple(self._recent), self._layout
        past = self._past.row is not None
        return Wish(
            focus, script, banner, self._maximised, matrix, rows, account, self._inside, name, sizes, past, said
        )

    def _place(self, width: int, height: int) -> dict[str, Place]:
        self._planned = (width, height, self._wish)
        places = plan(*self._planned)
        for name, panel in self.panels.items():
            if name in places:
                panel.shares, panel.titled = places[name].shares, places[name].titled
                panel.maximised = self._maximised
        self._places = dict(places)
        self._position.alone = "phases" not in places
        if self._line is not None and "prompt" in places:
            at = places["prompt"]
            places["prompt"] = at._replace(width=min(3, at.width))
            places[self._line.id or "line"] = at._replace(x=3, width=max(0, at.width - 3))
        return places

    def _arrange(self) -> None:
        """Lay out again if that would change anything; it is asked at every stop."""
        wanted = (*self.size, self._wish)
        if wanted == self._planned:
            return
        self._planned = wanted
        if self._places != plan(*wanted):
            self._lay_out()

    @property
    def _placed(self) -> bool:
        """False while a layout that was asked for is still to come."""
        return not self.is_current or self._places == plan(*self.size, self._wish)

    def _lay_out(self) -> None:
        # asked of a child, because only that makes the screen forget the places it knows
        self._status.refresh(layout=True)

    # -- focus --------------------------------------------------------------------------------------------------------
    @property
    def _recent(self) -> list[str]:
        """The panels that had the focus in the present layout, the one that has it first."""
        return self._recents[self._layout, self._inside]

    @_recent.setter
    def _recent(self, names: list[str]) -> None:
        self._recents[self._layout, self._inside] = names

    @property
    def _order(self) -> list[str]:
        return [name for name in PANELS if name != "script" or self._reading is not None]

    def _come_inside(self, phase: str) -> None:
        """Go to the layout of a stop inside a phase, or back (empty); the focus stays where it still says something."""
        if phase == self._inside:
            return
        focus, self._inside = self._recent[0], phase
        if phase and focus not in {*ABOUT_LOOPS, "tensor", "ledger"}:
            self._recent = [focus, *(name for name in self._recent if name != focus)]
        for name, panel in self.panels.items():
            panel.focused = name == self._recent[0]

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

    # -- layouts, sizes, themes ---------------------------------------------------------------------------------------
    @property
    def _sized(self) -> str:
        """What the present sizes are remembered by."""
        return " ".join(filter(None, [self._layout, self._inside, size_class(*self.size)]))

    def choose_layout(self, name: str) -> None:
        """Lay the panels out in another way, and remember it."""
        self._layout = self._prompt.layout_name = name
        self._maximised = False
        self._keep(replace(self._taste, layout=name))
        self._focus(self._recent[0])
        self._say(f"layout {name}")

    def choose_theme(self, name: str) -> None:
        """Show other colours, and remember it."""
        if self.app.theme == PLAIN:
            self._say("NO_COLOR is set: there are no colours to choose from")
            return
        self.app.theme = name
        self._keep(replace(self._taste, theme=name))
        self._redraw()
        self._say(f"theme {name}")

    def _keep(self, taste: Taste) -> None:
        if taste != self._taste:
            self._taste = taste
            self._kept(taste)

    def _resize(self, sizes: Mapping[str, int]) -> None:
        """Give the panels of this layout and size class other sizes; none: as they come."""
        own = {name: cells for name, cells in self._taste.sizes.items() if name != self._sized}
        self._taste = replace(self._taste, sizes=own | ({self._sized: dict(sizes)} if sizes else {}))
        self._arrange()

    def action_maximise(self) -> None:
        """Give the panel in focus everything below the phases, or take it back."""
        self._maximised = not self._maximised
        self._arrange()
        self._redraw()

    def action_layout(self, name: str) -> None:
        """Choose a layout."""
        self.choose_layout(name)

    def action_theme(self) -> None:
        """Go to the next theme."""
        names = list(THEMES)
        following = names.index(self.app.theme) + 1 if self.app.theme in names else 0
        self.choose_theme(names[following % len(names)])

    def action_resize(self, across: int, down: int) -> None:
        """Make the panel in focus wider or higher, as far as the others allow it."""
        wish = self._wish
        sizes = resized(*self.size, wish, self._recent[0], across, down)
        if sizes == wish.sizes:
            back = f"{self.keyboard.key('maximise').shown} takes the panel back first"
            self._say(back if wish.maximised else "the panels beside it give no more room")
        else:
            self._resize(sizes)
            self._kept(self._taste)

    def action_reset_sizes(self) -> None:
        """Give the panels of this layout the sizes that they come with."""
        self._resize({})
        self._kept(self._taste)
        self._say(f"layout {self._layout}: the sizes are as they come")

    # -- the mouse ----------------------------------------------------------------------------------------------------
    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Take hold of an edge."""
        x, y = event.screen_offset
        wish = self._wish
        grip = grip_at(*self.size, wish, x, y) if event.button == 1 and not wish.maximised else None
        self._held = None if grip is None else (grip, x, y, wish)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Drag it."""
        if self._held is None:
            return
        grip, x, y, wish = self._held
        across = event.screen_offset.x - x if grip.across else 0
        down = 0 if grip.across else event.screen_offset.y - y
        self._resize(resized(*self.size, wish, grip.panel, across, down) if across or down else wish.sizes)

    def on_mouse_up(self) -> None:
        """Let go, and remember the sizes."""
        if self._held is not None and self._held[3].sizes != self._wish.sizes:
            self._kept(self._taste)
        self._held = None

    def on_panel_named(self, message: Panel.Named) -> None:
        """Go to a panel whose name was clicked."""
        self._focus(message.name)

    def on_panel_doubled(self) -> None:
        """Maximise the panel whose title was clicked twice, or take it back."""
        self.action_maximise()
