"""Statements run one command at a time: those of a typed line, and those of an open script."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from gradstep.steps.runner import Runner
from gradstep.steps.script import Script, Statement
from gradstep.tui.jobs import Job, Program
from gradstep.tui.panels.script import Page
from gradstep.values.commands import Load
from gradstep.values.outcomes import Problem, Stop


def program_of(statements: Sequence[Statement]) -> Program:
    """Carry statements out in order, repeats and expected errors too, up to the first that fails."""
    runner = Runner(Script(":", (), tuple(statements)))
    while (line := runner.line) is not None:
        outcome = yield line.command
        failure = runner.feed(outcome.problem)
        if failure is not None:
            return failure.problem
    return None


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
    def begins_with_load(self) -> bool:
        """True when nothing can be seen before the first line has run."""
        return self._runner.line is not None and isinstance(self._runner.line.command, Load)

    @property
    def page(self) -> Page:
        """The script as it stands now."""
        line = self._runner.line
        number = 0 if line is None else line.number
        name = os.path.basename(self._script.path)
        turns = "".join(f"  turn {turn} of {count}" for turn, count in self._runner.turns)
        source = self._script.source[:-1] if self._script.source[-1:] == ("",) else self._script.source
        return Page(name + turns, source, number, frozenset(self._done), dict(self._problems))

    def job(self) -> Job:
        """Return the job of one line: the one that is next when the job's turn comes."""
        return Job(lambda stop: self._step(stop))

    def _step(self, _: Stop) -> Program:
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
