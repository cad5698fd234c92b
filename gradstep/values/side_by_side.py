"""Compare two runs command by command, up to where they diverge: two scripts, or two branches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from gradstep.values.commands import Command, EditCommand, TravelCommand, Try, line_of
from gradstep.values.differences import FirstDifference, RunComparison, TensorDifference

_ALONE: TypeAlias = EditCommand | TravelCommand | Try
"""Commands that one run may have without a counterpart in the other."""


class LocatedCommand(NamedTuple):
    """A command, and its location."""

    command: Command
    place: str

    @property
    def line(self) -> str:
        """The command as a line."""
        return line_of(self.command)


class ComparedRun(Protocol):
    """A run that advances by one command at a time."""

    def next_command(self) -> LocatedCommand | None:
        """Return the next command; None at the end."""

    def advance(self) -> None:
        """Execute it."""


class Difference(NamedTuple):
    """The current difference of two runs."""

    tensor: TensorDifference | None
    inside: TensorDifference | None
    iteration: int


def side_by_side(
    runs: tuple[ComparedRun, ComparedRun],
    names: tuple[str, str],
    look: Callable[[Sequence[bool]], Difference],
) -> RunComparison:
    """Advance both runs, and return where they first diverge.

    Args:
        runs: the two.
        names: their names.
        look: returns their current difference; called with which of them advanced last.
    """
    passed = 0
    otherwise: list[str] = []
    while True:
        a, b = runs[0].next_command(), runs[1].next_command()
        if a is None or b is None:
            more = a or b
            goes_on = "" if more is None else f"{more.place} continues with `{more.line}`"
            return RunComparison(names, passed, None, tuple(otherwise), goes_on)
        goes = _who_goes(a.command, b.command)
        went = tuple(command if goes_on else None for command, goes_on in zip((a, b), goes, strict=True))
        otherwise += _otherwise(went, not otherwise)
        for run in (run for run, goes_on in zip(runs, goes, strict=True) if goes_on):
            run.advance()
        found = look(goes)
        if found.tensor is not None or found.inside is not None:
            lines, places = _both(went, "line"), _both(went, "place")
            parting = FirstDifference(lines, places, found.iteration, found.tensor, found.inside)
            return RunComparison(names, passed, parting, tuple(otherwise))
        passed += all(goes)


def _who_goes(one: Command, other: Command) -> tuple[bool, bool]:
    """Return which runs advance: both, or only the one that has an edit where the other has a phase."""
    alone = isinstance(one, _ALONE), isinstance(other, _ALONE)
    return (True, True) if alone[0] == alone[1] else alone


def _otherwise(went: tuple[LocatedCommand | None, ...], first: bool) -> list[str]:
    """Return how the commands differ, as text; for pairs of commands, only the first difference."""
    there = [command for command in went if command is not None]
    if len(there) == 1:
        return [f"only one has `{there[0].line}` ({there[0].place})"]
    one, other = there
    if one.command == other.command or not first:
        return []
    return [f"one has `{one.line}` ({one.place}), the other `{other.line}` ({other.place})"]


def _both(went: tuple[LocatedCommand | None, ...], field: str) -> tuple[str, str]:
    one, other = ("" if command is None else str(getattr(command, field)) for command in went)
    return one, other
