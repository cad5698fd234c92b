"""What waits in the queue: a job turns into commands one at a time, each seen in the light of the outcome before."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, TypeAlias

from gradstep.values.commands import (
    ACT_NAMES,
    ACTS,
    Command,
    Into,
    Load,
    Out,
    Over,
    Show,
)
from gradstep.values.expressions import Name, name_line
from gradstep.values.outcomes import Outcome, Problem, Stop

Program: TypeAlias = Generator[Command, Outcome, "Problem | None"]
"""Yields commands and is sent their outcomes; returns what went wrong, if anything did."""

Parse: TypeAlias = Callable[[str], Sequence[Command]]
"""Turns a line of the session's own into commands."""

SIMPLE: dict[str, Command] = {
    **ACTS,
    "into": Into(),
    "over": Over(),
    "out": Out(),
}
"""The lines of the keys, which need no parser."""
REFUSED_INSIDE = tuple(ACT_NAMES)
"""What a stop inside a phase refuses: the phase must come to its end first."""


class Job(NamedTuple):
    """One thing that was asked for; its program is made when its turn comes."""

    start: Callable[[Stop], Program]
    done: Callable[[Problem | None], None] = lambda _: None
    show: bool = False
    """True for a selection, which a later one in the queue replaces."""
    goes_on: bool = False
    """True when its program may be started again after a pause: it then goes on where it stood."""
    again: bool = False
    """True for a replay of what was done before: a watchpoint reports, and does not pause it."""
    scripted: bool = False
    """True for lines that were written down: they say themselves how to go on from a breakpoint inside a phase."""
    place: Callable[[], str] = lambda: ""
    """Returns its progress, e.g. `turn 3 of 12`; empty for a job of one command."""


def command_job(command: Command) -> Job:
    """Return the job of a single command."""
    return Job(lambda _: sequence([command]), show=isinstance(command, Show))


def load_job(load: Load, parse: Parse) -> Job:
    """Return the job that loads a workload and shows what it wants to be seen first."""

    def program() -> Program:
        outcome = yield load
        if outcome.problem is not None or not outcome.stop.opening:
            return outcome.problem
        return (yield from sequence(parse(f"show {outcome.stop.opening}")))

    return Job(lambda _: program())


def natural_job(parse: Parse) -> Job:
    """Return the job that does what is natural at the stop where its turn comes."""
    return Job(lambda stop: sequence(_natural(stop, parse)))


def iteration_job(parse: Parse) -> Job:
    """Return the job that does what is natural, over and over, until the optimizer has taken a step."""

    def start(stop: Stop) -> Program:
        begun = stop.iteration
        while True:
            for command in [Out(phase=True)] if stop.position is not None else _natural(stop, parse):
                outcome = yield command
                if outcome.problem is not None or outcome.stop.iteration != begun:
                    return outcome.problem
                stop = outcome.stop

    return Job(start, goes_on=True)


def _natural(stop: Stop, parse: Parse) -> list[Command]:
    commands: list[Command] = []
    for line in stop.natural or ("forward",):
        commands += [SIMPLE[line]] if line in SIMPLE else parse(line)
    return commands


def times(job: Job, count: int) -> Job:
    """Return the job that does another one several times over; after a pause it goes on with the turns left."""
    return job if count == 1 else _Turns(job, count).job


class _Turns:
    """Counts the turns of a job, over pauses too."""

    def __init__(self, job: Job, count: int) -> None:
        self._turn, self._count, self._done = job, count, 0
        self.job = Job(self._start, goes_on=True, place=lambda: f"turn {self._done + 1:,} of {count:,}")

    def _start(self, stop: Stop) -> Program:
        while self._done < self._count:
            program = self._turn.start(stop)
            command = next(program, None)
            while command is not None:
                outcome = yield command
                stop = outcome.stop
                try:
                    command = program.send(outcome)
                except StopIteration as end:
                    if end.value is not None:
                        problem: Problem = end.value
                        return problem
                    command = None
            self._done += 1
        return None


def sequence(commands: Sequence[Command]) -> Program:
    """Carry out commands in order, up to the first that fails."""
    for command in commands:
        outcome = yield command
        if outcome.problem is not None:
            return outcome.problem
    return None


def show_of(path: str) -> Show:
    """Return the command that selects a parameter or buffer."""
    return Show(Name(path) if name_line(path) == path else Name("", quoted=path))
