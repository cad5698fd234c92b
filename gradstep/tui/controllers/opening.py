"""How a session starts and ends: opening commands, a script, the last session, help, quit."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from gradstep.steps.language.script import Script
from gradstep.tui.commands.reading import Reading, StatementRunner
from gradstep.tui.controllers.command_line import HANDED_OVER
from gradstep.tui.controllers.layouts import one_of
from gradstep.tui.controllers.training import Training, parse_commands
from gradstep.tui.desk import Controller, Desk
from gradstep.tui.panels.log import LogRow
from gradstep.tui.panels.script import OpenScript
from gradstep.tui.panels.why import Stage
from gradstep.tui.render.lines import clean
from gradstep.tui.showing import Showing
from gradstep.values import numbers
from gradstep.values.commands import Command, Load, Run
from gradstep.values.errors import GradstepError
from gradstep.values.outcomes import Problem


class Opening(Controller):
    """Starts a session, shows the help, and quits."""

    def __init__(
        self, screen: Desk, training: Training, showing: Showing, script: Script | None, resumed: Script | None
    ) -> None:
        """Attach to the screen.

        Args:
            screen: the screen.
            training: queues the opening commands.
            showing: shows what is being waited for.
            script: a script to step through.
            resumed: a session to resume by replaying it.
        """
        super().__init__(screen)
        self._training, self._showing, self._script = training, showing, script
        self._resumed = StatementRunner(resumed.statements, replay=True) if resumed is not None else None

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return the handler of each key."""
        return {
            "help": self.help,
            "palette": lambda: self.screen.app.action_command_palette(),
            "suspend": lambda: self.screen.app.action_suspend_process(),
            "quit": self.quit,
        }

    def commands(self) -> Mapping[str, Callable[[str], object]]:
        """Return the handler of each screen command."""
        quits = dict.fromkeys(("q", "quit"), lambda _: self.quit())
        return {**quits, "help": self.help, "?": self.help}

    @property
    def whole(self) -> bool:
        """True unless a session to resume was only partly replayed."""
        return self._resumed is None or self._resumed.at_end

    def show_faults(self, faults: Sequence[str]) -> None:
        """Show faults in files that were read before the screen opened."""
        self.screen.log_panel.add([LogRow("notice", clean(fault)) for fault in faults])
        if faults:
            more = f"   ({numbers.count(len(faults) - 1, 'more fault')} in Log)" if faults[1:] else ""
            self.screen.footer.complaint = clean(faults[0]) + more

    # -- the beginning ------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Show what is being waited for, with the first frame."""
        loads = bool(self._training.opening or self._resumed)
        stage = "starting the engine" if loads or self._script else ""
        self._showing.begin_stage(stage)
        if loads:
            self.screen.why.tell(stages=(Stage(stage, 0.0),))

    def begin(self) -> None:
        """Queue the opening commands, once the first frame is painted."""
        screen = self.screen
        if not (self._training.opening or self._script or self._resumed or screen.queue.history):
            screen.log_panel.add([LogRow("notice", HANDED_OVER)])
            screen.log_panel.redraw()
        if self._script is not None:
            self._open(self._script)
        if self._resumed is not None:
            self._resume(self._resumed)
        self._training.begin()
        screen.run_worker(screen.queue.run(), name="queue")
        screen.run_worker(asyncio.to_thread(_warm_up), name="parser", exit_on_error=False)

    def _open(self, script: Script) -> None:
        screen = self.screen
        reading = screen.reading = Reading(script, self._show_script, screen.show_notice)
        screen.recent.insert(0, "script")
        screen.go_to("script")
        self._show_script(reading.progress)
        screen.script_panel.redraw()
        if reading.begins_with_load:
            screen.queue.put(reading.job())
        else:
            line, rest = map(screen.keyboard.named, ("natural", "go_on"))
            hint = f"{line} runs the next line of the script, {rest} those up to the next narration."
            screen.why.tell(said=reading.preface, notice=hint)
            screen.rearrange()
            screen.why.redraw()

    def _resume(self, runner: StatementRunner) -> None:
        def done(problem: Problem | None) -> None:
            if problem is None and runner.at_end:
                self.screen.show_notice(f"The session is resumed: {numbers.count(runner.total, 'command')} replayed.")
            elif problem is not None:
                self.screen.show_notice("The session could not be replayed to its end. Its saved file is unchanged.")

        replaying = f"Replaying the last session: {numbers.count(runner.total, 'command')}"
        self.screen.log_panel.add([LogRow("notice", replaying)])
        self.queue.put(runner.job(done))

    def _show_script(self, script: OpenScript) -> None:
        """Show the script at its new line; it is painted with the stop."""
        self.screen.script_panel.show(script)

    def carried_out(self, command: Command) -> None:
        """Freeze the garbage collector's objects after a load, so that a collection during a key does not scan them."""
        if isinstance(command, Load | Run):
            gc.freeze()

    # -- help and the end ---------------------------------------------------------------------------------------------
    def help(self, topic: str = "") -> None:
        """Show the help: the focused panel, every key, every command; scrolled to the command `topic`, if given.

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
    """Import the parser while the engine starts, so that the first typed line does not wait for it."""
    with suppress(GradstepError):
        parse_commands("forward")
