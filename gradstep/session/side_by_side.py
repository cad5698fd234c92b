"""Two sessions side by side in one process: each with random generators of its own, compared after each command."""

from __future__ import annotations

import torch

from gradstep.engine.debuggee.casting import cast
from gradstep.engine.diagnose.first_difference import Passed, Renamed, first_difference, first_inside, state_of, watched
from gradstep.engine.files.compare import files_part as files_part
from gradstep.engine.randomness import RandomKeeper
from gradstep.session.local import Session
from gradstep.values.commands import Backward, Command, Forward, Load
from gradstep.values.outcomes import Outcome
from gradstep.values.parting import Apart, Tolerance


class Side:
    """One of the two sessions."""

    def __init__(self, history: int, dtype: str = "") -> None:
        """Keep at most `history` bytes; cast what is loaded to `dtype`, where one is given."""
        self.session = Session(history=history)
        self.dtype = dtype
        self.passed: list[Passed] = []
        """What came out inside the last command: of the modules of a forward, at the nodes of a backward."""
        self._keeper = RandomKeeper()
        self._generators = self._keeper.capture()

    def execute(self, command: Command) -> Outcome:
        """Carry out a command with the generators as this side left them."""
        self._keeper.restore(self._generators)
        self.passed = []
        if isinstance(command, (Forward, Backward)) and self.session.stop.number:
            with watched(self.session.past.timeline.held, command) as self.passed:
                outcome = self.session.execute(command)
        else:
            outcome = self.session.execute(command)
        if isinstance(command, Load) and outcome.problem is None and self.dtype:
            timeline = self.session.past.timeline
            cast(timeline.held, getattr(torch, self.dtype))
            timeline.begin()
        self._generators = self._keeper.capture()
        return outcome


def allowed(one: Side, other: Side, told: Tolerance | None) -> Tolerance | None:
    """Return what is let pass between two sides: what is told, else bits where both compute alike.

    Two devices, and two dtypes, give other last bits by right: there it is what `torch.testing.assert_close` takes.
    """
    if told is not None:
        return told
    devices = [side.session.past.timeline.held.device for side in (one, other)]
    if one.dtype == other.dtype:
        return None if devices[0] == devices[1] else Tolerance()
    return Tolerance(dtypes=tuple(filter(None, (one.dtype, other.dtype))))


def part(one: Side, other: Side, tolerance: Tolerance | None, both: bool) -> tuple[Apart | None, Apart | None]:
    """Return the first tensor of the state in which two sides differ, and the first inside the last command.

    Args:
        one: the first side.
        other: the second.
        tolerance: what is let pass; None to compare bits.
        both: True where both did the same last, so that what came out inside can be compared.
    """
    held = [side.session.past.timeline.held for side in (one, other)]
    renamed = Renamed(*held)
    tensor = first_difference(state_of(held[0]), state_of(held[1], renamed), tolerance)
    inside = first_inside(one.passed, other.passed, tolerance, renamed, same=tensor is None) if both else None
    return tensor, inside


def other_names(one: Side, other: Side) -> str:
    """Return how the names of two models differ, in words; empty where they do not."""
    return Renamed(*(side.session.past.timeline.held for side in (one, other))).words
