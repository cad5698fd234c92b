"""What waits in the queue: a job turns into commands one at a time, each seen in the light of the outcome before."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, TypeAlias

from gradstep.values.commands import Backward, Command, Forward, Load, NextBatch, Show, Step, ZeroGrad
from gradstep.values.outcomes import Outcome, Problem, Stop

Program: TypeAlias = Generator[Command, Outcome, "Problem | None"]
"""Yields commands and is sent their outcomes; returns what went wrong, if anything did."""

SIMPLE: dict[str, Command] = {
    "forward": Forward(),
    "backward": Backward(),
    "step": Step(),
    "zero_grad": ZeroGrad(),
    "next_batch": NextBatch(),
}
"""The lines of the keys, which need no parser."""


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
    place: Callable[[], str] = lambda: ""
    """Where it has come to, e.g. `turn 3 of 12`; empty for what is over at once."""


def command_job(command: Command) -> Job:
    """Return the job of a single command."""
    return Job(lambda _: sequence([command]), show=isinstance(command, Show))


def load_job(load: Load, parse: Callable[[str], Sequence[Command]]) -> Job:
    """Return the job that loads a workload and shows what it wants to be seen first."""

    def program() -> Program:
        outcome = yield load
        if outcome.problem is not None or not outcome.stop.opening:
            return outcome.problem
        return (yield from sequence(parse(f"show {outcome.stop.opening}")))

    return Job(lambda _: program())


def natural_job(parse: Callable[[str], Sequence[Command]]) -> Job:
    """Return the job that does what is natural at the stop where its turn comes."""

    def start(stop: Stop) -> Program:
        commands: list[Command] = []
        for line in stop.natural or ("forward",):
            commands += [SIMPLE[line]] if line in SIMPLE else parse(line)
        return sequence(commands)

    return Job(start)


def sequence(commands: Sequence[Command]) -> Program:
    """Carry out commands in order, up to the first that fails."""
    for command in commands:
        outcome = yield command
        if outcome.problem is not None:
            return outcome.problem
    return None
