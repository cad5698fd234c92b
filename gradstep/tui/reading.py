"""Statements run one command at a time: those of a typed line, of a session that is kept, and of an open script."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from gradstep.steps.runner import Runner
from gradstep.steps.script import Line, Repeat, Script, Statement
from gradstep.tui.jobs import Job, Program
from gradstep.tui.panels.script import Page
from gradstep.values.commands import Command, Load, Say
from gradstep.values.outcomes import Problem


class Walk:
    """Carries statements out in order, repeats and expected errors too, up to the first that fails.

    Args:
        statements: what to carry out.
        again: they were carried out before, in a session that is brought back: no watchpoint holds them up, and the
            place is a count of commands, not the turn of the innermost repeat.
    """

    def __init__(self, statements: Sequence[Statement], *, again: bool = False) -> None:
        self._runner = Runner(Script(":", (), tuple(statements)))
        self._done, self.total = 0, commands_in(statements)
        self._again = again

    @property
    def at_end(self) -> bool:
        """True when everything has been carried out."""
        return self._runner.line is None

    def job(self, done: Callable[[Problem | None], None] = lambda _: None) -> Job:
        """Return the job that carries out what is left; after a pause it goes on with the rest."""
        return Job(lambda _: self._program(), done, goes_on=True, again=self._again, scripted=True, place=self._place)

    def _place(self) -> str:
        return f"command {self._done + 1:,} of {self.total:,}" if self._again else turn_words(self._runner)

    def _program(self) -> Program:
        while (line := self._runner.line) is not None:
            outcome = yield line.command
            self._done += 1
            failure = self._runner.feed(outcome.problem)
            if failure is not None:
                return failure.problem
        return None


def commands_in(statements: Sequence[Statement]) -> int:
    """Return how many commands statements come to, with every turn of a repeat counted."""
    total = 0
    for statement in statements:
        if isinstance(statement, Line):
            total += 1
        else:
            total += commands_in(statement.body) * (statement.count if isinstance(statement, Repeat) else 1)
    return total


def turn_words(runner: Runner) -> str:
    """Say in which turn of the innermost repeat of more than one a runner is; empty outside of any."""
    turns = [(turn, count) for turn, count in runner.turns if count > 1]
    return f"turn {turns[-1][0]:,} of {turns[-1][1]:,}" if turns else ""


class Reading:
    """Steps through a script, line by line, into its blocks too."""

    def __init__(self, script: Script, changed: Callable[[Page], None], told: Callable[[str], None]) -> None:
        """Open a script.

        Args:
            script: what to step through.
            changed: told of every new page.
            told: told of what needs a word, such as an error that came as expected.
        """
        self._script = script
        self._runner = Runner(script)
        self._changed, self._told = changed, told
        self._done: set[int] = set()
        self._problems: dict[int, Problem] = {}

    @property
    def at_end(self) -> bool:
        """True when every line has been run."""
        return self._runner.line is None

    @property
    def next(self) -> Command | None:
        """The command of the next line; None at the end."""
        return None if self._runner.line is None else self._runner.line.command

    @property
    def begins_with_load(self) -> bool:
        """True when nothing can be seen before the first line has run."""
        return self._runner.line is not None and isinstance(self._runner.line.command, Load)

    @property
    def loads(self) -> bool:
        """True when the script has a line that loads a workload, which runs whatever else happens."""
        return any(isinstance(each, Line) and isinstance(each.command, Load) for each in self._script.statements)

    @property
    def preface(self) -> str:
        """The comment that the script begins with, as one text; empty for none."""
        comments = []
        for line in self._script.source:
            if not line.startswith("#"):
                break
            comments.append(line.lstrip("#").strip())
        return " ".join(comments)

    @property
    def page(self) -> Page:
        """The script as it stands now."""
        line = self._runner.line
        number = 0 if line is None else line.number
        name = os.path.basename(self._script.path)
        turns = "".join(f"  turn {turn:,} of {count:,}" for turn, count in self._runner.turns)
        source = self._script.source[:-1] if self._script.source[-1:] == ("",) else self._script.source
        return Page(name + turns, source, number, frozenset(self._done), dict(self._problems))

    def job(self) -> Job:
        """Return the job of one line: the one that is next when its turn comes; of narration all lines in a row."""
        return Job(lambda _: self._next())

    def restart(self) -> None:
        """Go back to the first line, as if nothing had been run."""
        self._runner = Runner(self._script)
        self._done, self._problems = set(), {}
        self._changed(self.page)

    def to_load(self) -> Job:
        """Return the job of all lines up to the first that loads a workload."""
        return Job(lambda _: self._run(Load), goes_on=True, place=self._place)

    def rest(self) -> Job:
        """Return the job of all lines that are left, up to the first that fails; after a pause it goes on."""
        return Job(lambda _: self._run(), goes_on=True, scripted=True, place=self._place)

    def _place(self) -> str:
        line = self._runner.line
        return turn_words(self._runner) or (f"line {line.number}" if line is not None else "")

    def _run(self, last: type[Command] | None = None) -> Program:
        while self._runner.line is not None:
            over = last is not None and isinstance(self._runner.line.command, last)
            problem = yield from self._step()
            if problem is not None or over:
                return problem
        return None

    def _next(self) -> Program:
        while True:
            says = self._says
            problem = yield from self._step()
            if problem is not None or not (says and self._says):
                return problem

    @property
    def _says(self) -> bool:
        return self._runner.line is not None and isinstance(self._runner.line.command, Say)

    def _step(self) -> Program:
        line = self._runner.line
        if line is None:
            return None
        outcome = yield line.command
        failure = self._runner.feed(outcome.problem)
        self._done.add(line.number)
        self._problems.pop(line.number, None)
        if failure is not None:
            self._problems[failure.number] = failure.problem
        elif outcome.problem is not None:
            self._told(f"An error came, as the script expects: {outcome.problem.title}.")
        self._changed(self.page)
        return failure.problem if failure is not None else None
