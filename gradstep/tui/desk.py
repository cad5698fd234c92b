"""The base of the screen: its panels and bars, their layout, the focus, and the command queue."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from textual.app import ComposeResult
from textual.layout import Layout
from textual.screen import Screen

from gradstep.session.protocol import FrontSession
from gradstep.tui.commands.jobs import Job
from gradstep.tui.commands.queue import QUEUE, CommandQueue
from gradstep.tui.commands.reading import Reading
from gradstep.tui.keys.in_keys import in_keys
from gradstep.tui.keys.keyboard import Keyboard
from gradstep.tui.keys.keymap import RUNNING
from gradstep.tui.layout.layouts import ABOUT_LOOPS, LAYOUTS, PANELS, REGISTRY, layout_of
from gradstep.tui.layout.plan import LayoutState, Placement, PlanLayout, plan, size_class
from gradstep.tui.layout.preferences import Appearance
from gradstep.tui.panels import why
from gradstep.tui.panels.bars.past import PastRow
from gradstep.tui.panels.bars.position import PositionRow
from gradstep.tui.panels.bars.prompt_and_footer import Banner, FooterRow, PromptRow
from gradstep.tui.panels.bars.status import PhasesRow, StatusRow
from gradstep.tui.panels.ledger import LedgerPanel
from gradstep.tui.panels.log import LogPanel, LogRow
from gradstep.tui.panels.loss import LossPanel
from gradstep.tui.panels.model import ModelPanel
from gradstep.tui.panels.output import OutputPanel
from gradstep.tui.panels.panel import Panel
from gradstep.tui.panels.script import ScriptPanel
from gradstep.tui.panels.tensor.panel import TensorPanel
from gradstep.tui.panels.why import WhyPanel
from gradstep.tui.render.surface import Surface
from gradstep.values.commands import Command, Load
from gradstep.values.outcomes import Outcome, Stop
from gradstep.values.views import Request, View

if TYPE_CHECKING:
    from gradstep.tui.commands.prompt import TypedLine

_SomePanel = TypeVar("_SomePanel", bound=Panel[Any])


class Controller:
    """One concern of the screen: the keys it handles, the views it requests, what it does at a stop."""

    def __init__(self, screen: Desk) -> None:
        """Attach to the screen."""
        self.screen = screen

    @property
    def queue(self) -> CommandQueue:
        """The command queue."""
        return self.screen.queue

    @property
    def keyboard(self) -> Keyboard:
        """The current key bindings."""
        return self.screen.keyboard

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return the handler of each key, by its id in the key table."""
        return {}

    def commands(self) -> Mapping[str, Callable[[str], object]]:
        """Return the handler of each screen command; it is given the text after the command word."""
        return {}

    def applies(self, key: str) -> bool | None:  # noqa: ARG002
        """Return whether a key would do something now; None for a key of another controller."""
        return None

    def start(self) -> None:
        """Start timers, once the event loop runs."""

    def wants(self) -> Sequence[tuple[str, Request]]:
        """Set the subject of panels, and return requests beyond those of the visible panels."""
        return ()

    def queueing(self) -> None:
        """Prepare for a job that is about to be queued."""

    def pausing(self) -> None:
        """Discard what waits to be queued: a pause was pressed."""

    def carried_out(self, command: Command) -> None:
        """Update after a command was executed."""

    def stopping(
        self,
        stop: Stop,  # noqa: ARG002
        outcome: Outcome | None,  # noqa: ARG002
        views: Sequence[tuple[str, Request, View]],
    ) -> Sequence[tuple[str, Request, View]]:
        """Prepare for a stop before its views are assigned to panels; return the views to assign."""
        return views

    def stopped(self, stop: Stop) -> None:
        """React to a stop after its views are assigned, before anything is painted."""

    def restarted(self) -> None:
        """Attach to a new engine."""

    def moved(self) -> None:
        """Follow the cursor of the panel in focus."""

    def drawing(self) -> None:
        """Update what depends on more than a view, before the bars are drawn."""


class Desk(Screen[None], inherit_bindings=False):
    """The screen as controllers see it: surfaces, layout, focus and command queue."""

    controllers: Sequence[Controller] = ()
    queue: CommandQueue
    """Executes commands in order."""
    keyboard = Keyboard()
    """The current key bindings."""
    ALLOW_SELECT: ClassVar[bool] = False

    def __init__(self, session: FrontSession, appearance: Appearance) -> None:
        """Prepare the surfaces.

        Args:
            session: the session to step.
            appearance: the initial layout and theme.
        """
        super().__init__(id="step")
        self.session = session
        self.preferences, self.save_preferences = appearance.preferences, appearance.save
        self.reading: Reading | None = None
        """The script that is open."""
        self.line: TypedLine | None = None
        """The input line in use; None when none is open."""
        self.times = 1
        """The count typed before the key being handled."""
        self.account = False
        """True once a backward ran, so that the Ledger has something to show."""
        self.layout_name = appearance.layout
        """The current layout, one of `LAYOUTS`."""
        self.inside = ""
        """The phase stopped inside, which has its own layouts; empty between phases."""
        self._recents = {
            (name, phase, script): [layout_of(name, phase, script).focus]
            for name in LAYOUTS
            for phase in ("", "forward", "backward")
            for script in (False, True)
        }
        self.maximised = False
        self._planned: tuple[int, int, LayoutState] | None = None
        """The size and state that `placements` was planned for."""
        self.placements: dict[str, Placement] = {}
        self._plan_layout = PlanLayout(self._plan)
        self.status, self.phases, self.position, self.past = StatusRow(), PhasesRow(), PositionRow(), PastRow()
        self.banner, self.prompt, self.footer = Banner(), PromptRow(), FooterRow()
        self.prompt.layout_name = appearance.layout
        self.panels: dict[str, Panel[Any]] = {name: make() for name, make in REGISTRY.items()}
        self._of_kind: dict[type, Any] = {type(panel): panel for panel in self.panels.values()}
        self.model, self.why = self.panel(ModelPanel), self.panel(WhyPanel)
        self.log_panel, self.script_panel = self.panel(LogPanel), self.panel(ScriptPanel)
        self.output = self.panel(OutputPanel)
        self.tensor, self.loss, self.ledger = self.panel(TensorPanel), self.panel(LossPanel), self.panel(LedgerPanel)
        self.focus_panel.focused = True
        self.bars = (self.status, self.phases, self.position, self.past, self.banner, self.prompt, self.footer)
        self.surfaces: tuple[Surface, ...] = (*self.bars, *(panel.surface for panel in self.panels.values()))

    def panel(self, kind: type[_SomePanel]) -> _SomePanel:
        """Return the panel of the given class."""
        found: _SomePanel = self._of_kind[kind]
        return found

    @property
    def layout(self) -> Layout:
        """The layout that places every surface."""
        return self._plan_layout

    def compose(self) -> ComposeResult:
        """Yield every surface; the plan decides which are visible."""
        yield from self.surfaces

    def bind(self, keyboard: Keyboard) -> None:
        """Use these key bindings, also wherever a key is named."""
        self.keyboard = keyboard
        for bar in self.bars:
            bar.keyboard = keyboard
        for panel in self.panels.values():
            panel.keyboard = keyboard

    def applies(self, key: str) -> bool:
        """Return whether a key would do something now; footer and palette list only those."""
        if self.queue.stop.ended and key in RUNNING:
            return False
        for controller in self.controllers:
            answer = controller.applies(key)
            if answer is not None:
                return answer
        return True

    @property
    def nothing_loaded(self) -> bool:
        """True when a load failed and there is nothing that a phase could run."""
        return bool(self.why.news.ways_out)

    # -- the queue ----------------------------------------------------------------------------------------------------
    def put(self, job: Job) -> None:
        """Queue a job, or show why it can't be queued."""
        self.queueing()
        if not self.queue.put(job):
            full = f"{QUEUE} commands are queued already: {self.keyboard.named('pause')} clears them"
            self.say(self.dead_words if self.queue.dead else full)

    @property
    def dead_words(self) -> str:
        """Why nothing runs any more, and the key that helps."""
        restart = self.keyboard.key("restart").shown
        if self.session.terminal is not None:
            return f"the script has ended: {restart} runs it again"
        return f"the engine is dead: {restart} restarts it"

    def queueing(self) -> None:
        """Have every controller prepare for a job."""
        for controller in self.controllers:
            controller.queueing()

    def pausing(self) -> None:
        """Have every controller discard what waits to be queued."""
        for controller in self.controllers:
            controller.pausing()

    @property
    def last_load(self) -> Load | None:
        """The last load command; None when a program passed its workload to `gradstep.open`."""
        return next((command for command in reversed(self.queue.history) if isinstance(command, Load)), None)

    # -- words --------------------------------------------------------------------------------------------------------
    def say(self, text: str) -> None:
        """Show a message in the footer, in place of the keys, until the next key or stop (with a line open: key)."""
        self.footer.said = text
        self.footer.redraw()

    def show_notice(self, notice: str) -> None:
        """Show a notice in Why and in the log."""
        notice = in_keys(notice, self.keyboard)
        self.why.tell(notice=notice)
        self.log_panel.add([LogRow("notice", notice)])
        self.rearrange()
        self.redraw()

    def redraw(self) -> None:
        """Redraw every surface."""
        self.redraw_bars()
        for panel in self.panels.values():
            panel.redraw()

    def redraw_bars(self) -> None:
        """Redraw the bars above and below the panels."""
        for controller in self.controllers:
            controller.drawing()
        for bar in self.bars:
            bar.redraw()

    # -- places -------------------------------------------------------------------------------------------------------
    @property
    def layout_state(self) -> LayoutState:
        """What placements depend on now."""
        news = self.why.news
        problem = news.problem is not None
        printed = news.outcome is not None and bool(why.printed(news.outcome))
        tall = not news.stages and (problem or printed or bool(news.notice) or self.recent[0] == "why")
        needed = why.rows if tall else why.sentence_rows
        width = max(self.size.width, 20)
        banner = bool(self.queue.dead)
        return LayoutState(
            recent=tuple(self.recent),
            script=self.reading is not None,
            banner=banner,
            maximised=self.maximised,
            matrix=self.tensor.view is not None and self.tensor.view.kind == "matrix",
            why=max(needed(news, width), 3),
            ledger=self.account and not banner,
            inside=self.inside,
            layout=self.layout_name,
            sizes=self.preferences.sizes.get(self.sized, {}),
            past=self.past.row is not None,
            narration=why.said_rows(news, width),
            terminal=self.session.terminal is not None,
            training_script=self.training_script,
        )

    @property
    def training_script(self) -> bool:
        """True when a training script is stepped."""
        return self.session.terminal is not None or self.status.stop.script

    @property
    def sized(self) -> str:
        """The key under which the current panel sizes are stored."""
        what = "script" if self.training_script else ""
        return " ".join(filter(None, [what, self.layout_name, self.inside, size_class(*self.size)]))

    def _plan(self, width: int, height: int) -> dict[str, Placement]:
        self._planned = (width, height, self.layout_state)
        placements = plan(*self._planned)
        for name, panel in self.panels.items():
            if name in placements:
                panel.tabs, panel.titled = placements[name].tabs, placements[name].titled
                panel.maximised = self.maximised
        self.placements = dict(placements)
        self.position.alone = "phases" not in placements
        if self.line is not None and "prompt" in placements:
            at = placements["prompt"]
            placements["prompt"] = at._replace(width=min(3, at.width))
            placements[self.line.id or "line"] = at._replace(x=3, width=max(0, at.width - 3))
        self.check_idle()  # what became visible has to be asked for
        return placements

    def rearrange(self) -> None:
        """Lay out again if that would change anything; called at every stop."""
        wanted = (*self.size, self.layout_state)
        if wanted == self._planned:
            return
        self._planned = wanted
        if self.placements != plan(*wanted):
            self.lay_out()

    @property
    def placed(self) -> bool:
        """False while a requested layout is still pending."""
        return not self.is_current or self.placements == plan(*self.size, self.layout_state)

    def lay_out(self) -> None:
        """Lay out again."""
        # only a refresh of a child makes the screen drop its cached layout
        self.status.refresh(layout=True)

    # -- focus --------------------------------------------------------------------------------------------------------
    @property
    def recent(self) -> list[str]:
        """The panels by most recent focus in the current layout; the first one has it."""
        return self._recents[self.layout_name, self.inside, self.training_script]

    @recent.setter
    def recent(self, names: list[str]) -> None:
        self._recents[self.layout_name, self.inside, self.training_script] = names

    @property
    def order(self) -> list[str]:
        """The available panels, in tab order."""
        return [name for name in PANELS if name not in self.layout_state.absent]

    @property
    def focus_panel(self) -> Panel[Any]:
        """The panel in focus."""
        return self.panels[self.recent[0]]

    def lay_out_inside(self, phase: str) -> None:
        """Use the layout of a stop inside a phase, or between phases (empty); keep a focus that is still useful."""
        if phase == self.inside:
            return
        focus, self.inside = self.recent[0], phase
        if phase and focus not in {*ABOUT_LOOPS, "tensor", "ledger"}:
            self.recent = [focus, *(name for name in self.recent if name != focus)]
        self.mark_focus()

    def mark_focus(self) -> None:
        """Have each panel know whether it has the focus: the first stop of a script brings its own layouts."""
        for name, panel in self.panels.items():
            panel.focused = name == self.recent[0]

    def go_to(self, name: str) -> None:
        """Give a panel the focus."""
        self.recent = [name, *(other for other in self.recent if other != name)]
        self.mark_focus()
        self.rearrange()
        self.redraw()
        self.check_idle()

    def bring(self, name: str) -> None:
        """Focus a panel unless it is visible."""
        if name not in self.placements:
            self.go_to(name)

    def follow_cursor(self) -> None:
        """Redraw the focused panel after its cursor moved, and have the others follow."""
        self.focus_panel.redraw()
        for controller in self.controllers:
            controller.moved()
