"""Statements run one command at a time: those of a typed line, of a session that is kept, and of an open script."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from gradstep.steps.language.script import Line, Repeat, Script, Statement
from gradstep.steps.runner import Runner
from gradstep.tui.commands.jobs import Job, Program
from gradstep.tui.panels.script import Page
from gradstep.values.commands import TRAVELS, Command, Into, Load, Say
from gradstep.values.outcomes import Outcome, Problem


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
    """Return in which turn of the innermost repeat of more than one a runner is; empty outside of any."""
    turns = [(turn, count) for turn, count in runner.turns if count > 1]
    return f"turn {turns[-1][0]:,} of {turns[-1][1]:,}" if turns else ""


class _Place(NamedTuple):
    """Where a script was at a stop."""

    runner: tuple[tuple[int, int], ...]
    done: int
    """How many lines had been run."""


# a and I are words as often as they are keys: as keys they stand in backquotes
_ASKS = re.compile(r"\bpress\b[^.]*?(`[^`]+`|\b(space|enter|tab|esc|f\d+|ctrl\S+|any key|[b-hj-z])\b)", re.IGNORECASE)


def asks_for_key(text: str) -> bool:
    """Return whether narration asks its reader to press a key, as "press `i`" or "press space" do."""
    return _ASKS.search(text) is not None


class Reading:
    """Steps through a script, line by line, into its blocks too.

    It follows what is done by hand: a key that does what the next line says counts as that line, and where the
    session goes back in time the script goes back with it.
    """

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
        self._done: dict[int, Command] = {}
        """The lines that have been run and their commands, in the order in which each was run first."""
        self._problems: dict[int, Problem] = {}
        self._places: dict[tuple[int, int], _Place] = {}
        """For each stop, where the script was when the session last was there."""
        self._outside = 0
        """The number of the last stop between phases."""
        self.waits = False
        """True once the narration that was run last has asked for a key, until something is done."""
        self._runs = False
        """True while a line of the script is being carried out."""

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
        """Return the job of one line: the one that is next when its turn comes.

        Lines of narration in a row are one, up to one that asks for a key.
        """
        return Job(lambda _: self._run(self._narrates))

    def restart(self) -> None:
        """Go back to the first line, as if nothing had been run."""
        self._runner = Runner(self._script)
        self._done, self._problems, self._places, self.waits = {}, {}, {}, False
        self._changed(self.page)

    @property
    def said(self) -> str:
        """The narration that stands before the next line, its lines in a row as one text; empty for none."""
        told: list[str] = []
        for command in reversed(self._done.values()):
            if isinstance(command, Say):
                told.insert(0, command.text)
            elif told:
                break
        return "\n".join(told)

    def followed(self, outcome: Outcome) -> bool:
        """Follow what was done by hand; a line of the script looks after itself. Return True when it went elsewhere."""
        if self._runs or not outcome.ok:
            return False
        self.waits = False
        place = self._places.get(self._key(outcome)) if isinstance(outcome.command, TRAVELS) else None
        if self._is_next(outcome):
            self._ran(outcome)
        elif place is not None:
            self._runner.go(place.runner)
            for number in [*self._done][place.done :]:
                del self._done[number]
            self._problems = {number: each for number, each in self._problems.items() if number in self._done}
        else:
            self._note(outcome)
        self._changed(self.page)
        return place is not None

    def to_load(self) -> Job:
        """Return the job of all lines up to the first that loads a workload."""
        return Job(lambda _: self._run(lambda ran: not isinstance(ran, Load)), goes_on=True, place=self._place)

    def rest(self) -> Job:
        """Return the job of the lines up to and with the next narration, or of all that are left where there is none.

        It ends at the first line that fails; after a pause it goes on.
        """
        return Job(lambda _: self._run(self._goes_on), goes_on=True, scripted=True, place=self._place)

    def _place(self) -> str:
        line = self._runner.line
        return turn_words(self._runner) or (f"line {line.number}" if line is not None else "")

    def _narrates(self, ran: Command) -> bool:
        """Return whether the next line is the same narration as the one that was run."""
        return isinstance(ran, Say) and isinstance(self.next, Say) and not asks_for_key(ran.text)

    def _goes_on(self, ran: Command) -> bool:
        """Return whether there is nothing to read before the next line is run."""
        return not isinstance(ran, Say) or self._narrates(ran)

    def _run(self, goes_on: Callable[[Command], bool]) -> Program:
        """Carry lines out until one fails, or `goes_on` returns False for the one that was run."""
        while (line := self._runner.line) is not None:
            self._runs = True
            try:
                outcome = yield line.command
            finally:
                self._runs = False
            problem = self._ran(outcome)
            self._changed(self.page)
            if problem is not None or not goes_on(line.command):
                return problem
        return None

    def _ran(self, outcome: Outcome) -> Problem | None:
        """Take what came of the next line, and move on; return the problem, if it failed."""
        line = self._runner.line
        assert line is not None
        failure = self._runner.feed(outcome.problem)
        self.waits = isinstance(line.command, Say) and asks_for_key(line.command.text)
        self._done[line.number] = line.command
        self._problems.pop(line.number, None)
        if failure is not None:
            self._problems[failure.number] = failure.problem
        elif outcome.problem is not None:
            self._told(f"An error came, as the script expects: {outcome.problem.title}.")
        self._note(outcome)
        return failure.problem if failure is not None else None

    def _is_next(self, outcome: Outcome) -> bool:
        """Return whether what was done is what the next line says; an `into` without a phase takes the natural one."""
        done, line, position = outcome.command, self.next, outcome.stop.position
        if isinstance(done, Into) and isinstance(line, Into) and position is not None and position.place == 1:
            return {done.phase, line.phase} <= {"", position.phase}
        return done == line

    def _note(self, outcome: Outcome) -> None:
        self._places[self._key(outcome)] = _Place(self._runner.place, len(self._done))

    def _key(self, outcome: Outcome) -> tuple[int, int]:
        """Return what tells stops apart; going back inside a phase gives one a new number."""
        position = outcome.stop.position
        if position is None:
            self._outside = outcome.stop.number
        return self._outside, 0 if position is None else position.place
