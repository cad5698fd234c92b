"""Jobs of the command queue: each yields commands one at a time, and sees the outcome of each."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, TypeAlias

from gradstep.values.commands import (
    ACT_NAMES,
    ACTS,
    Break,
    Command,
    Into,
    Load,
    Out,
    Over,
    Pause,
    Run,
    Show,
    role_of,
)
from gradstep.values.expressions import Name, name_line
from gradstep.values.outcomes import Outcome, Problem, Stop

Program: TypeAlias = Generator[Command, Outcome, "Problem | None"]
"""Yields commands and is sent their outcomes; returns the problem that ended it, or None."""

Parse: TypeAlias = Callable[[str], Sequence[Command]]
"""Parses a line made by gradstep into commands."""

SIMPLE: dict[str, Command] = {
    **ACTS,
    "into": Into(),
    "over": Over(),
    "out": Out(),
}
"""The commands of keys, by their lines; they need no parser."""
REFUSED_INSIDE = tuple(ACT_NAMES)
"""The commands that a stop inside a phase refuses: the phase must end first."""


class Job(NamedTuple):
    """An entry of the queue; its program is created when it starts."""

    start: Callable[[Stop], Program]
    done: Callable[[Problem | None], None] = lambda _: None
    show: bool = False
    """True for a selection, which a later one replaces in the queue."""
    goes_on: bool = False
    """True when its program can be started again after a pause, and resumes where it was."""
    replay: bool = False
    """True for a replay: watchpoints and breakpoints report, but do not pause it."""
    scripted: bool = False
    """True for script lines, which may themselves continue from a breakpoint inside a phase."""
    place: Callable[[], str] = lambda: ""
    """Returns its progress, e.g. `turn 3 of 12`; empty for a job of one command."""


def command_job(command: Command) -> Job:
    """Return the job of a single command."""
    return Job(lambda _: sequence([command]), show=isinstance(command, Show))


def load_job(load: Load, parse: Parse) -> Job:
    """Return the job that loads a workload and selects the tensor it suggests."""

    def program() -> Program:
        outcome = yield load
        if outcome.problem is not None or not outcome.stop.opening:
            return outcome.problem
        return (yield from sequence(parse(f"show {outcome.stop.opening}")))

    return Job(lambda _: program())


def natural_job(parse: Parse) -> Job:
    """Return the job that runs the natural next phase, as of when it starts."""
    return Job(lambda stop: sequence(_natural(stop, parse)))


def iteration_job(parse: Parse) -> Job:
    """Return the job that runs natural phases up to and including the next optimizer step."""

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
    """Return the job that repeats another one; after a pause it resumes with the turns left."""
    return job if count == 1 else _Turns(job, count).job


class _Turns:
    """Counts the turns of a job, across pauses."""

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


def to_run_again(run: Run, history: Sequence[Command]) -> list[Command]:
    """Return the commands that run a script again with a session's breakpoints, watchpoints, names and selection."""
    begun = next((place for place, command in enumerate(history) if isinstance(command, Run)), len(history))
    before, after = history[:begun], history[begun + 1 :]
    breaks = [command for command in after if isinstance(command, Break)]
    notes = [
        command for command in after if role_of(command) == "note" and not isinstance(command, Break | Show | Pause)
    ]
    shown = [command for command in after if isinstance(command, Show)][-1:]
    return [*before, *breaks, run, *notes, *shown]


def script_job(run: Run, history: Sequence[Command]) -> Job:
    """Return the job that runs a script again, see `to_run_again`."""
    commands = to_run_again(run, history)

    def program() -> Program:
        problem: Problem | None = None
        for command in commands:
            outcome = yield command
            if isinstance(command, Run):
                problem = outcome.problem
            if problem is not None or outcome.stop.ended:
                return problem
        return None

    return Job(lambda _: program(), replay=True)


def sequence(commands: Sequence[Command]) -> Program:
    """Execute commands in order, up to the first that fails."""
    for command in commands:
        outcome = yield command
        if outcome.problem is not None:
            return outcome.problem
    return None


def show_of(path: str) -> Show:
    """Return the command that selects a parameter or buffer."""
    return Show(Name(path) if name_line(path) == path else Name("", quoted=path))
