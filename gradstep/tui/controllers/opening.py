"""How a session begins: the commands it is opened with, a script, or the last session; help, and how it ends."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from gradstep.steps.language.script import Script
from gradstep.tui.commands.reading import Reading, Walk
from gradstep.tui.controllers.command_line import HANDED_OVER
from gradstep.tui.controllers.layouts import one_of
from gradstep.tui.controllers.training import Training, parse_commands
from gradstep.tui.desk import Controller, Desk
from gradstep.tui.panels.log import Entry
from gradstep.tui.panels.script import Page
from gradstep.tui.panels.why import Stage
from gradstep.tui.render.lines import clean
from gradstep.tui.showing import Showing
from gradstep.values import numbers
from gradstep.values.commands import Command, Load
from gradstep.values.errors import GradstepError
from gradstep.values.outcomes import Problem


class Opening(Controller):
    """Begins a session, shows the help, and quits."""

    def __init__(
        self, screen: Desk, training: Training, showing: Showing, script: Script | None, left: Script | None
    ) -> None:
        """Hold the screen.

        Args:
            screen: the screen.
            training: queues what the screen is opened with.
            showing: says what is waited for.
            script: a script to step through.
            left: a session to bring back to where it was left, by carrying it out again.
        """
        super().__init__(screen)
        self._training, self._showing, self._script = training, showing, script
        self._left = Walk(left.statements, again=True) if left is not None else None

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return what each key does."""
        return {
            "help": self.help,
            "palette": lambda: self.screen.app.action_command_palette(),
            "suspend": lambda: self.screen.app.action_suspend_process(),
            "quit": self.quit,
        }

    def commands(self) -> Mapping[str, Callable[[str], object]]:
        """Return what each command of the screen's own does."""
        quits = dict.fromkeys(("q", "quit"), lambda _: self.quit())
        return {**quits, "help": self.help, "?": self.help}

    @property
    def whole(self) -> bool:
        """True when what has been carried out is the whole session: none is left half brought back."""
        return self._left is None or self._left.at_end

    def complain(self, faults: Sequence[str]) -> None:
        """Say what is wrong with files that were read before the screen was there."""
        self.screen.log_panel.add([Entry("notice", clean(fault)) for fault in faults])
        if faults:
            more = f"   ({numbers.count(len(faults) - 1, 'more fault')} in Log)" if faults[1:] else ""
            self.screen.footer.complaint = clean(faults[0]) + more

    # -- the beginning ------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Say what is waited for, with the first frame."""
        loads = bool(self._training.opening or self._left)
        stage = "starting the engine" if loads or self._script else ""
        self._showing.begin_stage(stage)
        if loads:
            self.screen.why.tell(stages=(Stage(stage, 0.0),))

    def begin(self) -> None:
        """Queue what the screen is opened with, once the first frame is painted."""
        screen = self.screen
        if not (self._training.opening or self._script or self._left or screen.queue.history):
            screen.log_panel.add([Entry("notice", HANDED_OVER)])
            screen.log_panel.redraw()
        if self._script is not None:
            self._open(self._script)
        if self._left is not None:
            self._bring_back(self._left)
        self._training.begin()
        screen.run_worker(screen.queue.run(), name="queue")
        screen.run_worker(asyncio.to_thread(_warm_up), name="parser", exit_on_error=False)

    def _open(self, script: Script) -> None:
        screen = self.screen
        reading = screen.reading = Reading(script, self._turned, screen.told)
        screen.recent.insert(0, "script")
        screen.go_to("script")
        self._turned(reading.page)
        screen.script_panel.redraw()
        if reading.begins_with_load:
            screen.queue.put(reading.job())
        else:
            line, rest = map(screen.keyboard.named, ("natural", "go_on"))
            hint = f"{line} runs the next line of the script, {rest} those up to the next narration."
            screen.why.tell(said=reading.preface, notice=hint)
            screen.rearrange()
            screen.why.redraw()

    def _bring_back(self, walk: Walk) -> None:
        def done(problem: Problem | None) -> None:
            if problem is None and walk.at_end:
                self.screen.told(f"The session is where it was left: {numbers.count(walk.total, 'command')} replayed.")
            elif problem is not None:
                self.screen.told("The session could not be brought back whole. It stays kept as it was.")

        replaying = f"Replaying the last session: {numbers.count(walk.total, 'command')}"
        self.screen.log_panel.add([Entry("notice", replaying)])
        self.queue.put(walk.job(done))

    def _turned(self, page: Page) -> None:
        """Take the script at its new line; it is drawn with the stop."""
        self.screen.script_panel.turn(page)

    def carried_out(self, command: Command) -> None:
        """Take what there is after a load as what stays: a collection in the middle of a key would look through it."""
        if isinstance(command, Load):
            gc.freeze()

    # -- help and the end ---------------------------------------------------------------------------------------------
    def help(self, topic: str = "") -> None:
        """Show what is in focus, every key and every command; from the command `topic` on, if one is named.

        Raises:
            GradstepError: there is no such command.
        """
        from gradstep.tui.keys.help import HelpScreen, topics

        named = one_of("help on", topic.removeprefix(":").partition(" ")[0], topics()) if topic else ""
        self.screen.app.push_screen(HelpScreen(self.keyboard, self.screen.focus_panel, named))

    def quit(self) -> None:
        """Quit."""
        self.screen.app.exit(return_code=0)


def _warm_up() -> None:
    """Import the parser while the engine starts, so that the first typed line need not wait for it."""
    with suppress(GradstepError):
        parse_commands("forward")
