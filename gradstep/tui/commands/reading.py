"""Statements as jobs: those of a typed line, of a saved session, and of an open script."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gradstep.steps.language.script import Repeat, Script, Statement, StepsLine
from gradstep.steps.runner import StepsRunner
from gradstep.tui.commands.jobs import Job, Program
from gradstep.tui.panels.script import OpenScript
from gradstep.values.commands import Command, Into, Load, Run, Say, TravelCommand, Try
from gradstep.values.outcomes import Outcome, Problem


class StatementRunner:
    """Runs statements in order, with repeats and expected errors, up to the first that fails.

    Args:
        statements: what to run.
        replay: whether they replay a saved session: watchpoints then do not pause, and progress counts commands, not
            turns of the innermost repeat.
    """

    def __init__(self, statements: Sequence[Statement], *, replay: bool = False) -> None:
        self._runner = StepsRunner(Script(":", (), tuple(statements)))
        self._done, self.total = 0, commands_in(statements)
        self._replays = replay

    @property
    def at_end(self) -> bool:
        """True when every statement has run."""
        return self._runner.line is None

    def job(self, done: Callable[[Problem | None], None] = lambda _: None) -> Job:
        """Return the job that runs the remaining statements; it can be resumed after a pause."""
        return Job(
            lambda _: self._program(), done, goes_on=True, replay=self._replays, scripted=True, place=self._place
        )

    def _place(self) -> str:
        return f"command {self._done + 1:,} of {self.total:,}" if self._replays else turn_words(self._runner)

    def _program(self) -> Program:
        while (line := self._runner.line) is not None:
            outcome = yield line.command
            self._done += 1
            failure = self._runner.feed(outcome.problem)
            if failure is not None:
                return failure.problem
        return None


def commands_in(statements: Sequence[Statement]) -> int:
    """Return the number of commands in statements, with repeats unrolled."""
    total = 0
    for statement in statements:
        if isinstance(statement, StepsLine):
            total += 1
        else:
            total += commands_in(statement.body) * (statement.count if isinstance(statement, Repeat) else 1)
    return total


def turn_words(runner: StepsRunner) -> str:
    """Return the turn of the innermost repeat that has several; empty outside of one."""
    turns = [(turn, count) for turn, count in runner.turns if count > 1]
    return f"turn {turns[-1][0]:,} of {turns[-1][1]:,}" if turns else ""


class _Place(NamedTuple):
    """The position in a script at a stop."""

    runner: tuple[tuple[int, int], ...]
    done: int
    """Lines run so far."""


# a and I are common words: as keys they must be in backquotes
_ASKS = re.compile(r"\bpress\b[^.]*?(`[^`]+`|\b(space|enter|tab|esc|f\d+|ctrl\S+|any key|[b-hj-z])\b)", re.IGNORECASE)


def asks_for_key(text: str) -> bool:
    """Return whether narration asks the reader to press a key, as "press `i`" or "press space" do."""
    return _ASKS.search(text) is not None


class Reading:
    """Steps through a script line by line, and into its blocks.

    It follows the user's own commands: one equal to the next line counts as that line, and where the session travels
    back in time the script goes back with it.
    """

    def __init__(self, script: Script, changed: Callable[[OpenScript], None], notify: Callable[[str], None]) -> None:
        """Open a script.

        Args:
            script: what to step through.
            changed: called with every new page.
            notify: called with notices, such as that an expected error was raised.
        """
        self._script = script
        self._runner = StepsRunner(script)
        self._changed, self._notify = changed, notify
        self._done: dict[int, Command] = {}
        """The commands of the lines that have run, in the order of their first run."""
        self._problems: dict[int, Problem] = {}
        self._places: dict[tuple[int, int], _Place] = {}
        """For each stop, the position in the script when the session was last there."""
        self._outside = 0
        """The number of the last stop between phases."""
        self.waits = False
        """True when the last narration asked for a key and none was pressed since."""
        self._runs = False
        """True while a line of the script runs."""

    @property
    def at_end(self) -> bool:
        """True when every line has run."""
        return self._runner.line is None

    @property
    def next(self) -> Command | None:
        """The command of the next line; None at the end."""
        return None if self._runner.line is None else self._runner.line.command

    @property
    def begins_with_load(self) -> bool:
        """True when the next line is a load or a run, so that nothing can be shown before it."""
        return self._runner.line is not None and isinstance(self._runner.line.command, Load | Run)

    @property
    def loads(self) -> bool:
        """True when the script loads a workload, or runs a training script, outside of any block."""
        return any(
            isinstance(each, StepsLine) and isinstance(each.command, Load | Run) for each in self._script.statements
        )

    @property
    def preface(self) -> str:
        """The comment at the top of the script as one text; empty for none."""
        comments = []
        for line in self._script.source:
            if not line.startswith("#"):
                break
            comments.append(line.lstrip("#").strip())
        return " ".join(comments)

    @property
    def progress(self) -> OpenScript:
        """The script as shown now."""
        line = self._runner.line
        number = 0 if line is None else line.number
        name = os.path.basename(self._script.path)
        turns = "".join(f"  turn {turn:,} of {count:,}" for turn, count in self._runner.turns)
        source = self._script.source[:-1] if self._script.source[-1:] == ("",) else self._script.source
        return OpenScript(name + turns, source, number, frozenset(self._done), dict(self._problems))

    def job(self) -> Job:
        """Return the job that runs one line: the next one when the job starts.

        Consecutive lines of narration count as one, up to one that asks for a key.
        """
        return Job(lambda _: self._run(self._narrates))

    def restart(self) -> None:
        """Go back to the first line, with nothing run."""
        self._runner = StepsRunner(self._script)
        self._done, self._problems, self._places, self.waits = {}, {}, {}, False
        self._changed(self.progress)

    @property
    def said(self) -> str:
        """The last narration that has run, consecutive lines as one text; empty for none."""
        texts: list[str] = []
        for command in reversed(self._done.values()):
            if isinstance(command, Say):
                texts.insert(0, command.text)
            elif texts:
                break
        return "\n".join(texts)

    def followed(self, outcome: Outcome) -> bool:
        """Follow a command that was not a script line; return True when the script went back to an earlier position."""
        if self._runs or not outcome.ok:
            return False
        self.waits = False
        place = self._places.get(self._key(outcome)) if isinstance(outcome.command, TravelCommand | Try) else None
        if self._is_next(outcome):
            self._ran(outcome)
        elif place is not None:
            self._runner.go(place.runner)
            for number in [*self._done][place.done :]:
                del self._done[number]
            self._problems = {number: each for number, each in self._problems.items() if number in self._done}
        else:
            self._note(outcome)
        self._changed(self.progress)
        return place is not None

    def to_load(self) -> Job:
        """Return the job of all lines up to and including the first load."""
        return Job(lambda _: self._run(lambda ran: not isinstance(ran, Load | Run)), goes_on=True, place=self._place)

    def rest(self) -> Job:
        """Return the job of the lines up to and including the next narration, or of all remaining lines.

        It ends at the first line that fails, and can be resumed after a pause.
        """
        return Job(lambda _: self._run(self._goes_on), goes_on=True, scripted=True, place=self._place)

    def _place(self) -> str:
        line = self._runner.line
        return turn_words(self._runner) or (f"line {line.number}" if line is not None else "")

    def _narrates(self, ran: Command) -> bool:
        """Return whether the next line continues the narration just run."""
        return isinstance(ran, Say) and isinstance(self.next, Say) and not asks_for_key(ran.text)

    def _goes_on(self, ran: Command) -> bool:
        """Return whether the next line can run without waiting for the reader."""
        return not isinstance(ran, Say) or self._narrates(ran)

    def _run(self, goes_on: Callable[[Command], bool]) -> Program:
        """Run lines until one fails, or `goes_on` returns False for the one just run."""
        while (line := self._runner.line) is not None:
            self._runs = True
            try:
                outcome = yield line.command
            finally:
                self._runs = False
            problem = self._ran(outcome)
            self._changed(self.progress)
            if problem is not None or not goes_on(line.command):
                return problem
        return None

    def _ran(self, outcome: Outcome) -> Problem | None:
        """Take the outcome of the next line, and advance; return the problem if the script failed."""
        line = self._runner.line
        assert line is not None
        failure = self._runner.feed(outcome.problem)
        self.waits = isinstance(line.command, Say) and asks_for_key(line.command.text)
        self._done[line.number] = line.command
        self._problems.pop(line.number, None)
        if failure is not None:
            self._problems[failure.number] = failure.problem
        elif outcome.problem is not None:
            self._notify(f"The error that the script expects was raised: {outcome.problem.title}.")
        self._note(outcome)
        return failure.problem if failure is not None else None

    def _is_next(self, outcome: Outcome) -> bool:
        """Return whether a command equals the next line; an `into` without a phase means the natural next one."""
        done, line, position = outcome.command, self.next, outcome.stop.position
        if isinstance(done, Into) and isinstance(line, Into) and position is not None and position.place == 1:
            return {done.phase, line.phase} <= {"", position.phase}
        return done == line

    def _note(self, outcome: Outcome) -> None:
        self._places[self._key(outcome)] = _Place(self._runner.place, len(self._done))

    def _key(self, outcome: Outcome) -> tuple[int, int]:
        """Return a key that identifies a stop; its number does not, for going back inside a phase assigns a new one."""
        position = outcome.stop.position
        if position is None:
            self._outside = outcome.stop.number
        return self._outside, 0 if position is None else position.place
