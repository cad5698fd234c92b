"""The screen of gradstep: the board, its keys, the command line, and how a session begins."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import BindingType
from textual.events import Key, Paste

from gradstep.tui import keymap
from gradstep.tui.acts import parse_commands
from gradstep.tui.jobs import load_job
from gradstep.tui.lines import clean
from gradstep.tui.panels.log import Entry
from gradstep.tui.panels.script import Page
from gradstep.tui.panels.why import Stage
from gradstep.tui.reading import Reading, Walk
from gradstep.tui.remembered import Look
from gradstep.tui.trying import TryingBoard
from gradstep.values import numbers
from gradstep.values.commands import Command, Load
from gradstep.values.errors import GradstepError, refuse_to_overwrite, wrong
from gradstep.values.outcomes import Outcome, Problem
from gradstep.values.views import LookNames, Names

if TYPE_CHECKING:
    from gradstep.session.protocol import FrontSession
    from gradstep.steps.script import Script
    from gradstep.tui.prompt import CommandLine


HANDED_OVER = "Opened by a program: there is no load line"


class StepScreen(TryingBoard, inherit_bindings=False):
    """Everything that is seen and done while a session is stepped."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [*keymap.bindings()]

    def __init__(
        self,
        session: FrontSession,
        opening: Sequence[Command],
        script: Script | None,
        noted: Callable[[Outcome], None],
        rest: float = 0.2,
        left: Script | None = None,
        look: Look = Look(),  # noqa: B008
    ) -> None:
        """Prepare the screen.

        Args:
            session: the session to step.
            opening: commands to begin with.
            script: a script to step through.
            noted: told of every outcome, for the record.
            rest: seconds without a command after which a digest is taken.
            left: a session to bring back to where it was left, by carrying it out again.
            look: how it looks at first.
        """
        super().__init__(session, opening, noted, rest, look)
        self._script = script
        self._left = Walk(left.statements, again=True) if left is not None else None
        self._typed: list[str] = []
        self._typing: CommandLine | None = None
        """The command line, once there was one."""
        self._names: Names | None = None
        self._begun = False
        """True from the first frame on, once what was opened with is queued."""
        self._early: list[tuple[Key | Paste, Callable[[str], Awaitable[None]]]] = []
        """Keys that came before that."""

    @property
    def whole(self) -> bool:
        """True when what has been carried out is the whole session: none is left half brought back."""
        return self._left is None or self._left.at_end

    def complain(self, faults: Sequence[str]) -> None:
        """Say what is wrong with files that were read before the screen was there."""
        self.log_panel.add([Entry("notice", clean(fault)) for fault in faults])
        if faults:
            more = f"   ({numbers.count(len(faults) - 1, 'more fault')} in Log)" if faults[1:] else ""
            self._footer.complaint = clean(faults[0]) + more

    # -- start --------------------------------------------------------------------------------------------------------
    def on_mount(self) -> None:
        """Start once the first frame is painted."""
        self.start_clocks()
        stage = "starting the engine" if self._opening or self._script or self._left else ""
        self._begin_stage(stage)
        if self._opening or self._left:
            # the first frame says already what is waited for
            self.why.tell(stages=(Stage(stage, 0.0),))
        self.call_after_refresh(self._start)

    async def _start(self) -> None:
        self._session.on_event = self.on_session_event
        if not (self._opening or self._script or self._left or self.driver.history):
            self.log_panel.add([Entry("notice", HANDED_OVER)])
            self.log_panel.redraw()
        if self._script is not None:
            self._open(self._script)
        if self._left is not None:
            self._bring_back(self._left)
        self._begin()
        self.run_worker(self.driver.run(), name="driver")
        self.run_worker(asyncio.to_thread(_warm_up), name="parser", exit_on_error=False)
        while self._early:
            await self._take(*self._early.pop(0))
        self._begun = True

    def _open(self, script: Script) -> None:
        self._reading = Reading(script, self._turned, self.told)
        self._recent.insert(0, "script")
        self._focus("script")
        self._turned(self._reading.page)
        self.script_panel.redraw()
        if self._reading.begins_with_load:
            self.driver.put(self._reading.job())
        else:
            line, rest = map(self.keyboard.named, ("natural", "go_on"))
            hint = f"{line} runs the next line of the script, {rest} those up to the next narration."
            self.why.tell(said=self._reading.preface, notice=hint)
            self._arrange()
            self.why.redraw()

    def _bring_back(self, walk: Walk) -> None:
        def done(problem: Problem | None) -> None:
            if problem is None and walk.at_end:
                self.told(f"The session is where it was left: {numbers.count(walk.total, 'command')} replayed.")
            elif problem is not None:
                self.told("The session could not be brought back whole. It stays kept as it was.")

        self.log_panel.add([Entry("notice", f"Replaying the last session: {numbers.count(walk.total, 'command')}")])
        self.driver.put(walk.job(done))

    def _turned(self, page: Page) -> None:
        """Take the script at its new line; it is drawn with the stop."""
        self.script_panel.turn(page)

    def action_pause(self) -> None:
        """Let go of the line that is being typed, or pause."""
        if self._line is not None:
            self._line.action_leave()
        else:
            super().action_pause()

    def happened(self, outcome: Outcome, again: bool) -> None:
        """Take note of an outcome; after a load the names are others."""
        if isinstance(outcome.command, Load):
            self._names = None
            # what there is now stays; else a collection in the middle of a key looks through all of Textual
            gc.freeze()
        super().happened(outcome, again)
        if self._reading is not None and not again and self._reading.followed(outcome):
            self.why.tell(said=self._reading.said)

    # -- keys: commands -----------------------------------------------------------------------------------------------
    def action_command(self) -> None:
        """Begin to type a command."""
        self.type_command("")

    def type_command(self, text: str) -> None:
        """Begin to type a command that starts with `text`."""
        from gradstep.tui.prompt import CommandLine

        if self._typing is None:
            self._typing = CommandLine(self._typed, self)
            self.mount(self._typing)
        self._prompt.mark = ""
        self._line = self._typing
        self._line.begin(text)
        self._lay_out()
        # the function, not its coroutine: a quit would leave that unawaited
        self.run_worker(self._ask_names, name="names")  # type: ignore[arg-type]

    async def take(self, event: Key | Paste, press_bound: Callable[[str], Awaitable[None]]) -> None:
        """Take a key or what is pasted: into the line that is being typed, or as what the key is bound to.

        What comes before the first frame has its turn after what the screen is opened with.
        """
        if self._begun:
            await self._take(event, press_bound)
        else:
            self._early.append((event, press_bound))

    async def _take(self, event: Key | Paste, press_bound: Callable[[str], Awaitable[None]]) -> None:
        line = self._line
        if self._footer.said or self._footer.complaint:
            self._footer.complaint = ""
            self._say("")
        # Textual takes the focus away while another window has the terminal's
        self.set_focus(line, scroll_visible=False)
        if isinstance(event, Key) and (line is None or not event.is_printable):
            if line is not None or not self._counts(event.key, event.time):
                await press_bound(event.key)
            self._times = 1
        elif line is not None:
            line.write(event.text if isinstance(event, Paste) else event.character or "")
        self.check_idle()

    def close_line(self) -> None:
        """Let go of the line that is being typed."""
        if self._line is not None:
            self._line, self._prompt.mark = None, ""
            self.set_focus(None)
            self.offered(())
            self._lay_out()

    def offered(self, candidates: Sequence[str]) -> None:
        """Show how the line could go on."""
        self._footer.candidates = candidates
        self._say("")

    def given(self, line: str) -> None:
        """Carry a typed line out. The line closes, whatever comes of it: the keys that follow are keys again."""
        text = line.strip()
        self.close_line()
        if not text:
            return
        self._typed.append(text)
        try:
            self._give(text)
        except GradstepError as error:
            from gradstep.steps.faults import problem_of_line

            problem = problem_of_line(error)
            self.why.tell(fault=problem, stages=())
            self._arrange()
            self.why.redraw()
            self._came_of(problem)

    def _came_of(self, problem: Problem | None) -> None:
        """Say how a line that failed is had again."""
        if problem is not None and problem.kind != "interrupted" and not self.driver.dead:
            self._say(f"{problem.title}.   {self.keyboard.key('command').shown} then ↑ brings the line back to edit")

    def _give(self, text: str) -> None:
        """Make a job of a line.

        Raises:
            GradstepError: the line is wrong.
        """
        from gradstep.steps.parse import parse_line
        from gradstep.steps.script import Line
        from gradstep.tui.console import console

        if console(text, self):
            return
        statements = parse_line(text)
        first = statements[0] if len(statements) == 1 else None
        if isinstance(first, Line) and isinstance(first.command, Load):
            self._put(load_job(first.command, parse_commands)._replace(done=self._came_of))
        elif statements:
            self._put(Walk(statements).job(self._came_of))

    def complete(self, line: str) -> Sequence[str]:
        """Return the whole lines that a beginning could become."""
        from gradstep.steps.complete import complete
        from gradstep.tui.element import complete_element

        if line.lstrip().startswith("element "):
            return complete_element(line)
        if line.startswith("try "):
            return [f"try {whole}" for whole in complete(line.removeprefix("try "), self._names)]
        return complete(line, self._names)

    async def _ask_names(self) -> None:
        """Learn what there is to complete, when nothing stands in the way of asking."""
        if self.driver.dead or self.driver.running is not None or not self.driver.stop.number:
            return
        with suppress(ConnectionError):
            view = (await self._session.look([LookNames()]))[0]
            self._names = view if isinstance(view, Names) else None

    def save(self, path: str, over: bool = False) -> None:
        """Write the session so far as a script; over a file that is there only if told to.

        Raises:
            GradstepError: the file cannot be written.
        """
        from gradstep.steps.record import save

        refuse_to_overwrite(Path(path), f"save {path}", over)
        try:
            save(path, self.driver.history)
        except OSError as error:
            raise wrong("the script was not written", f"{path}: {error.strerror}.", "Give another path.") from None
        replay = f"Replay it with: gradstep replay {path}"
        if not any(isinstance(command, Load) for command in self.driver.history):
            replay = f"{HANDED_OVER}. Put one in front before you replay it: load FILE.py:factory"
        self.told(f"Wrote {path}: {numbers.count(len(self.driver.history), 'command')}. {replay}")

    def action_help(self, topic: str = "") -> None:
        """Show what is in focus, every key and every command; from the command `topic` on, if one is named."""
        from gradstep.tui.helps import HelpScreen

        self.app.push_screen(HelpScreen(self.keyboard, self.focus_panel, topic))


def _warm_up() -> None:
    """Import the parser while the engine starts, so that the first typed line need not wait for it."""
    with suppress(GradstepError):
        parse_commands("forward")
