"""Two sessions side by side in one process, each with its own random generators, compared after each command."""

from __future__ import annotations

import torch

from gradstep.engine.debuggee.casting import cast
from gradstep.engine.debuggee.generators import RandomKeeper
from gradstep.engine.diagnose.first_difference import Renamed, Traced, first_difference, first_inside, state_of, watched
from gradstep.engine.files.compare import compare_files as compare_files
from gradstep.session.local import Session
from gradstep.values.commands import Backward, Command, Forward, Load
from gradstep.values.differences import TensorDifference, Tolerance
from gradstep.values.outcomes import Outcome


class SideSession:
    """One of the two sessions."""

    def __init__(self, history: int, dtype: str = "") -> None:
        """Keep at most `history` bytes; cast what is loaded to `dtype`, if given."""
        self.session = Session(history=history)
        self.dtype = dtype
        self.passed: list[Traced] = []
        """The tensors inside the last command: outputs of modules in a forward, gradients at nodes in a backward."""
        self._keeper = RandomKeeper()
        self._generators = self._keeper.capture()

    def execute(self, command: Command) -> Outcome:
        """Run a command with the random generators in the state in which this side left them."""
        self._keeper.restore(self._generators)
        self.passed = []
        if isinstance(command, (Forward, Backward)) and self.session.stop.number:
            with watched(self.session.time_travel.timeline.held, command) as self.passed:
                outcome = self.session.execute(command)
        else:
            outcome = self.session.execute(command)
        if isinstance(command, Load) and outcome.problem is None and self.dtype:
            timeline = self.session.time_travel.timeline
            cast(timeline.held, getattr(torch, self.dtype))
            timeline.begin()
        self._generators = self._keeper.capture()
        return outcome


def tolerance_of(one: SideSession, other: SideSession, given: Tolerance | None) -> Tolerance | None:
    """Return the tolerance between two sides: the given one, else None if both compute alike.

    Two devices or two dtypes usually differ in the last bits: their tolerance is that of `torch.testing.assert_close`.
    """
    if given is not None:
        return given
    devices = [side.session.time_travel.timeline.held.device for side in (one, other)]
    if one.dtype == other.dtype:
        return None if devices[0] == devices[1] else Tolerance()
    return Tolerance(dtypes=tuple(filter(None, (one.dtype, other.dtype))))


def first_differences(
    one: SideSession, other: SideSession, tolerance: Tolerance | None, both: bool
) -> tuple[TensorDifference | None, TensorDifference | None]:
    """Return the first tensor of the state in which two sides differ, and the first inside the last command.

    Args:
        one: the first side.
        other: the second.
        tolerance: how much may differ; None to compare bits.
        both: True if both ran the same command last, so that the tensors inside it can be compared.
    """
    held = [side.session.time_travel.timeline.held for side in (one, other)]
    renamed = Renamed(*held)
    tensor = first_difference(state_of(held[0]), state_of(held[1], renamed), tolerance)
    inside = first_inside(one.passed, other.passed, tolerance, renamed, same=tensor is None) if both else None
    return tensor, inside


def other_names(one: SideSession, other: SideSession) -> str:
    """Return how the names of two models differ, in words; empty if they do not."""
    return Renamed(*(side.session.time_travel.timeline.held for side in (one, other))).words
