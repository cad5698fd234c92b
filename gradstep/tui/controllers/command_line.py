"""The line that is typed at `:`, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gradstep.tui.commands.jobs import load_job
from gradstep.tui.commands.reading import Walk
from gradstep.tui.controllers.training import parse_commands
from gradstep.tui.desk import Controller, Desk
from gradstep.values import numbers
from gradstep.values.commands import Command, Load
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.files import refuse_to_overwrite
from gradstep.values.outcomes import Problem
from gradstep.values.views import LookNames, Names

if TYPE_CHECKING:
    from gradstep.tui.commands.prompt import CommandLine, TypedLine

HANDED_OVER = "Opened by a program: there is no load line"


class CommandLines(Controller):
    """Takes what is typed, completes it, and carries it out."""

    def __init__(self, screen: Desk) -> None:
        """Hold the screen."""
        super().__init__(screen)
        self._typed: list[str] = []
        self._command_line: CommandLine | None = None
        """The line, once there was one."""
        self._names: Names | None = None

    def handles(self) -> Mapping[str, Callable[[], object]]:
        """Return what each key does."""
        return {"command": lambda: self.begin("")}

    def commands(self) -> Mapping[str, Callable[[str], object]]:
        """Return what each command of the screen's own does."""
        return {"save": self.save, "save!": self.save_over}

    def carried_out(self, command: Command) -> None:
        """Take note of a load: the names are others."""
        if isinstance(command, Load):
            self._names = None

    # -- the line -----------------------------------------------------------------------------------------------------
    def begin(self, text: str) -> None:
        """Begin to type a command that starts with `text`."""
        from gradstep.tui.commands.prompt import CommandLine

        if self._command_line is None:
            self._command_line = CommandLine(self._typed, self)
            self.screen.mount(self._command_line)
        self.open(self._command_line, "", text)
        # the function, not its coroutine: a quit would leave that unawaited
        self.screen.run_worker(self._ask_names, name="names")  # type: ignore[arg-type]

    def open(self, line: TypedLine, mark: str, text: str = "") -> None:
        """Put a line in the place of the prompt, behind a mark; none for that of a command."""
        self.screen.prompt.mark = mark
        self.screen.line = line
        line.begin(text)
        self.screen.lay_out()

    def close_line(self) -> None:
        """Let go of the line that is being typed."""
        if self.screen.line is not None:
            self.screen.line, self.screen.prompt.mark = None, ""
            self.screen.set_focus(None)
            self.offered(())
            self.screen.lay_out()

    def offered(self, candidates: Sequence[str]) -> None:
        """Show how the line could go on."""
        self.screen.footer.candidates = candidates
        self.screen.say("")

    def complete(self, line: str) -> Sequence[str]:
        """Return the whole lines that a beginning could become."""
        from gradstep.steps.language.complete import complete
        from gradstep.tui.commands.screen_commands import SCREEN_COMMANDS

        return complete(line, self._names, SCREEN_COMMANDS)

    async def _ask_names(self) -> None:
        """Learn what there is to complete, when nothing stands in the way of asking."""
        queue = self.queue
        if queue.dead or queue.running is not None or not queue.stop.number:
            return
        with suppress(ConnectionError):
            view = (await self.screen.session.look([LookNames()]))[0]
            self._names = view if isinstance(view, Names) else None

    # -- what is typed ------------------------------------------------------------------------------------------------
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
            from gradstep.steps.language.faults import problem_of_line

            problem = problem_of_line(error)
            self.screen.why.tell(fault=problem, stages=())
            self.screen.rearrange()
            self.screen.why.redraw()
            self._came_of(problem)

    def _came_of(self, problem: Problem | None) -> None:
        """Say how to get a line that failed back, to edit it."""
        if problem is not None and problem.kind != "interrupted" and not self.queue.dead:
            again = f"{self.keyboard.key('command').shown} then ↑ brings the line back to edit"
            self.screen.say(f"{problem.title}.   {again}")

    def _give(self, text: str) -> None:
        """Do what a line says: the screen itself, or a job for the session.

        Raises:
            GradstepError: the line is wrong.
        """
        from gradstep.steps.language.parse import parse_line
        from gradstep.steps.language.script import Line

        word, _, rest = text.partition(" ")
        for controller in self.screen.controllers:
            if do := controller.commands().get(word):
                do(rest.strip())
                return
        statements = parse_line(text)
        first = statements[0] if len(statements) == 1 else None
        if isinstance(first, Line) and isinstance(first.command, Load):
            self.screen.put(load_job(first.command, parse_commands)._replace(done=self._came_of))
        elif statements:
            self.screen.put(Walk(statements).job(self._came_of))

    # -- saving -------------------------------------------------------------------------------------------------------
    def save(self, given: str) -> None:
        """Write the session so far as a script, where none is yet.

        Raises:
            GradstepError: the file is there, or it cannot be written.
        """
        path = _path(given)
        refuse_to_overwrite(Path(path), f"save {path}", False)
        self._save(path)

    def save_over(self, given: str) -> None:
        """Write the session so far as a script, over what may be there.

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
            raise wrong("the script was not written", f"{path}: {error.strerror}.", "Give another path.") from None
        replay = f"Replay it with: gradstep replay {path}"
        if self.screen.last_load is None:
            replay = f"{HANDED_OVER}. Put one in front before you replay it: load FILE.py:factory"
        self.screen.told(f"Wrote {path}: {numbers.count(len(history), 'command')}. {replay}")


def _path(given: str) -> str:
    import shlex

    try:
        paths = shlex.split(given)
    except ValueError as error:
        raise wrong("The path is not readable", str(error), "Write: save FILE.steps") from None
    if len(paths) != 1:
        raise wrong("save takes one path", "It writes the session so far as a script.", "Write: save FILE.steps")
    return paths[0]
