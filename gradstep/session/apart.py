"""Two sessions side by side in one process: each with random generators of its own, compared after each command."""

from __future__ import annotations

from msgspec import Struct

from gradstep.engine.arrive import go
from gradstep.engine.parting import Difference, Passed, first_difference, first_inside, state_of, watched
from gradstep.engine.randomness import RandomKeeper
from gradstep.session.local import Session
from gradstep.values.commands import Backward, Command, Forward, PointCommand
from gradstep.values.outcomes import Outcome


class Parting(Struct, frozen=True):
    """Where two runs part: the tensor of the state, and the module or node it comes from where that is known."""

    tensor: str
    largest: float | None
    relative: float | None
    what: str
    inside: str = ""
    inside_largest: float | None = None
    inside_relative: float | None = None
    inside_what: str = ""


class Side:
    """One of the two sessions."""

    def __init__(self, history: int) -> None:
        self.session = Session(history=history)
        self._keeper = RandomKeeper()
        self._generators = self._keeper.capture()

    def execute(self, command: Command) -> Outcome:
        """Carry out a command with the generators as this side left them."""
        self._keeper.restore(self._generators)
        outcome = self.session.execute(command)
        self._generators = self._keeper.capture()
        return outcome

    def again(self, command: PointCommand) -> list[Passed]:
        """Go back before the last command and carry it out once more, watched inside."""
        timeline = self.session.past.timeline
        held = timeline.held
        self._keeper.restore(self._generators)
        go(timeline, timeline.back(1))
        with watched(held, command) as seen:
            self.session.execute(command)
        self._generators = self._keeper.capture()
        return seen


def parting(one: Side, other: Side, command: Command, tolerance: float) -> Parting | None:
    """Return where the two sides part after both carried a command out; None where they are the same.

    Args:
        one: the first side.
        other: the second.
        command: what both did last.
        tolerance: of the norm of a difference relative to the norm of a tensor; 0 compares bits.
    """
    a, b = (state_of(each.session.past.timeline.held) for each in (one, other))
    found = first_difference(a, b, tolerance)
    if found is None:
        return None
    inside: Difference | None = None
    if isinstance(command, (Forward, Backward)):
        inside = first_inside(one.again(command), other.again(command), tolerance)
    if inside is None:
        return Parting(found.name, found.largest, found.relative, found.what)
    return Parting(*found, inside.name, inside.largest, inside.relative, inside.what)
