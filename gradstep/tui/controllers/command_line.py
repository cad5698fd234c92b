"""The command line at `:`: completion, parsing, queueing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gradstep.tui.commands.jobs import load_job
from gradstep.tui.commands.reading import StatementRunner
from gradstep.tui.controllers.training import parse_commands
from gradstep.tui.desk import Controller, Desk
from gradstep.values import numbers
from gradstep.values.commands import Command, Load, Run
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.files import refuse_to_overwrite
from gradstep.values.outcomes import Problem
from gradstep.values.views import LookNames, Names

if TYPE_CHECKING:
    from gradstep.tui.commands.prompt import CommandLine, TypedLine

HANDED_OVER = "Opened by a program: no load command"


class CommandLines(Controller):
    """Opens input lines, completes and executes what is typed at `:`."""

    def __init__(self, screen: Desk) -> None:
        """Attach to the screen."""
        super().__init__(screen)
        self._typed: list[str] = []
        self._command_line: CommandLine | None = None
        """The command line; None until it is first opened."""
        self._names: Names | None = None

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return the handler of each key."""
        return {"command": lambda: self.begin("")}

    def commands(self) -> Mapping[str, Callable[[str], object]]:
        """Return the handler of each screen command."""
        return {"save": self.save, "save!": self.save_over}

    def carried_out(self, command: Command) -> None:
        """Forget the names after a load."""
        if isinstance(command, Load | Run):
            self._names = None

    # -- the line -----------------------------------------------------------------------------------------------------
    def begin(self, text: str) -> None:
        """Open the command line with `text` in it."""
        from gradstep.tui.commands.prompt import CommandLine

        if self._command_line is None:
            self._command_line = CommandLine(self._typed, self)
            self.screen.mount(self._command_line)
        self.open(self._command_line, "", text)
        # the function, not its coroutine: a quit would leave that unawaited
        self.screen.run_worker(self._ask_names, name="names")  # type: ignore[arg-type]

    def open(self, line: TypedLine, mark: str, text: str = "") -> None:
        """Open an input line in place of the prompt, after a mark; the command line has none."""
        self.screen.prompt.mark = mark
        self.screen.line = line
        line.begin(text)
        self.screen.lay_out()

    def close_line(self) -> None:
        """Close the input line."""
        if self.screen.line is not None:
            self.screen.line, self.screen.prompt.mark = None, ""
            self.screen.set_focus(None)
            self.offered(())
            self.screen.lay_out()

    def offered(self, candidates: Sequence[str]) -> None:
        """Show completion candidates."""
        self.screen.footer.candidates = candidates
        self.screen.say("")

    def complete(self, line: str) -> Sequence[str]:
        """Return the lines that `line` completes to."""
        from gradstep.steps.language.complete import complete
        from gradstep.tui.commands.screen_commands import SCREEN_COMMANDS

        return complete(line, self._names, SCREEN_COMMANDS)

    async def _ask_names(self) -> None:
        """Ask for the names to complete, unless the engine is busy."""
        queue = self.queue
        if queue.dead or queue.running is not None or not queue.stop.number:
            return
        with suppress(ConnectionError):
            view = (await self.screen.session.look([LookNames()]))[0]
            self._names = view if isinstance(view, Names) else None

    # -- executing a line ---------------------------------------------------------------------------------------------
    def given(self, line: str) -> None:
        """Execute a typed line. The input line closes even on an error, so that the next keys are keys again."""
        text = line.strip()
        self.close_line()
        if not text:
            return
        self._typed.append(text)
        try:
            self._give(text)
        except GradstepError as error:
            from gradstep.steps.language.faults import problem_of_line

            problem = problem_of_line(error)
            self.screen.why.tell(fault=problem, stages=())
            self.screen.rearrange()
            self.screen.why.redraw()
            self._came_of(problem)

    def _came_of(self, problem: Problem | None) -> None:
        """Show how to bring a failed line back for editing."""
        if problem is not None and problem.kind != "interrupted" and not self.queue.dead:
            again = f"{self.keyboard.key('command').shown} then ↑ recalls the line for editing"
            self.screen.say(f"{problem.title}.   {again}")

    def _give(self, text: str) -> None:
        """Run a screen command, or queue the line as a job.

        Raises:
            GradstepError: the line is wrong.
        """
        from gradstep.steps.language.parse import parse_line
        from gradstep.steps.language.script import StepsLine

        word, _, rest = text.partition(" ")
        for controller in self.screen.controllers:
            if do := controller.commands().get(word):
                do(rest.strip())
                return
        statements = parse_line(text)
        first = statements[0] if len(statements) == 1 else None
        if isinstance(first, StepsLine) and isinstance(first.command, Load):
            self.screen.put(load_job(first.command, parse_commands)._replace(done=self._came_of))
        elif statements:
            self.screen.put(StatementRunner(statements).job(self._came_of))

    # -- saving -------------------------------------------------------------------------------------------------------
    def save(self, given: str) -> None:
        """Write the session so far as a script; refuse to overwrite.

        Raises:
            GradstepError: the file exists or cannot be written.
        """
        path = _path(given)
        refuse_to_overwrite(Path(path), f"save {path}", False)
        self._save(path)

    def save_over(self, given: str) -> None:
        """Write the session so far as a script; overwrite an existing file.

        Raises:
            GradstepError: the file cannot be written.
        """
        self._save(_path(given))

    def _save(self, path: str) -> None:
        from gradstep.steps.record import save

        history = self.queue.history
        try:
            save(path, history)
        except OSError as error:
            raise wrong("the script was not written", f"{path}: {error.strerror}.", "Choose another path.") from None
        replay = f"Replay it with: gradstep replay {path}"
        if self.screen.last_load is None:
            replay = f"{HANDED_OVER}. Add one at the top before you replay it: load FILE.py:factory"
        self.screen.show_notice(f"Wrote {path}: {numbers.count(len(history), 'command')}. {replay}")


def _path(given: str) -> str:
    import shlex

    try:
        paths = shlex.split(given)
    except ValueError as error:
        raise wrong("the path cannot be parsed", str(error), "Write: save FILE.steps") from None
    if len(paths) != 1:
        raise wrong("`save` takes one path", "It writes the session so far as a script.", "Write: save FILE.steps")
    return paths[0]
