"""Two ways side by side, command by command, to where they part: two scripts, or two branches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from gradstep.values.commands import Command, EditCommand, TravelCommand, Try, line_of
from gradstep.values.differences import FirstDifference, RunComparison, TensorDifference

_ALONE: TypeAlias = EditCommand | TravelCommand | Try
"""What one way may have alone: it stands beside no command of the other."""


class Turn(NamedTuple):
    """A command, and where it stands."""

    command: Command
    place: str

    @property
    def line(self) -> str:
        """The command as a line."""
        return line_of(self.command)


class Way(Protocol):
    """Goes on by a command at a time."""

    def coming(self) -> Turn | None:
        """Return the command that comes next; None at the end."""

    def go(self) -> None:
        """Carry it out."""


class Found(NamedTuple):
    """How far two ways are apart where they stand."""

    tensor: TensorDifference | None
    inside: TensorDifference | None
    iteration: int


def side_by_side(
    ways: tuple[Way, Way],
    names: tuple[str, str],
    look: Callable[[Sequence[bool]], Found],
) -> RunComparison:
    """Go both ways, and return where they part first.

    Args:
        ways: the two.
        names: what they are called.
        look: how far they are apart now; called with which of them went on last.
    """
    passed = 0
    otherwise: list[str] = []
    while True:
        a, b = ways[0].coming(), ways[1].coming()
        if a is None or b is None:
            more = a or b
            goes_on = "" if more is None else f"{more.place} goes on with `{more.line}`"
            return RunComparison(names, passed, None, tuple(otherwise), goes_on)
        goes = _who_goes(a.command, b.command)
        went = tuple(turn if goes_on else None for turn, goes_on in zip((a, b), goes, strict=True))
        otherwise += _otherwise(went, not otherwise)
        for way in (way for way, goes_on in zip(ways, goes, strict=True) if goes_on):
            way.go()
        found = look(goes)
        if found.tensor is not None or found.inside is not None:
            lines, places = _both(went, "line"), _both(went, "place")
            parting = FirstDifference(lines, places, found.iteration, found.tensor, found.inside)
            return RunComparison(names, passed, parting, tuple(otherwise))
        passed += all(goes)


def _who_goes(one: Command, other: Command) -> tuple[bool, bool]:
    """Return which way goes on: both, or the one alone that has an edit where the other has a phase."""
    alone = isinstance(one, _ALONE), isinstance(other, _ALONE)
    return (True, True) if alone[0] == alone[1] else alone


def _otherwise(went: tuple[Turn | None, ...], first: bool) -> list[str]:
    """Return what one way does otherwise; of pairs that differ, only the first is told."""
    there = [turn for turn in went if turn is not None]
    if len(there) == 1:
        return [f"only one has `{there[0].line}` ({there[0].place})"]
    one, other = there
    if one.command == other.command or not first:
        return []
    return [f"one has `{one.line}` ({one.place}), the other `{other.line}` ({other.place})"]


def _both(went: tuple[Turn | None, ...], field: str) -> tuple[str, str]:
    one, other = ("" if turn is None else str(getattr(turn, field)) for turn in went)
    return one, other
