"""The points of a timeline, and what is recorded of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.state.attributes import AttributesPart
from gradstep.engine.state.images import Image
from gradstep.engine.state.part import Key
from gradstep.engine.state.registry import name_of
from gradstep.engine.state.snapshot import Checkpoint
from gradstep.values.commands import PointCommand


@dataclass(eq=False, repr=False)
class TimelinePoint:
    """One point: the state after a command, reached from the point before it."""

    number: int
    """The number of its stop; numbers are never reused, even after an undo."""
    parent: TimelinePoint | None
    command: PointCommand | None
    """The command that led here; None for the first point."""
    branch: str
    """The branch that it was created on."""
    checkpoint: Checkpoint | None
    """Its whole state; None once dropped: the point is then reached by a rerun."""
    phase: str = ""
    iteration: int = 0
    loss: float | None = None
    entries: tuple[tuple[tuple[int, float], tuple[float, ...]], ...] = ()
    """The losses that the command added, each with its learning rates: one per forward, one per closure call of a step.
    """
    known: int = 0
    """The number of losses up to here."""
    losses: tuple[list[tuple[int, float]], list[tuple[float, ...]]] | None = None
    """All losses up to here, when they came from a file."""
    wrote: tuple[Key, ...] = ()
    """The tensors that the command changed."""
    results: dict[Key, Image | None] | None = None
    """The tensors that the command changed, kept when a rerun does not give the same bits."""
    rest: dict[str, Any] | None = None
    """The captures of the self-contained parts, kept with the results."""
    small: int = 0
    """Approximate bytes of its checkpoint outside of images."""
    seconds: float = 0.0
    """How long the command took by itself, without what gradstep does around it."""
    depth: int = 0
    """The number of commands from the first point to here."""
    forward: TimelinePoint | None = None
    """The point whose forward made the graph that is alive here; None when no graph is."""
    made_by: TimelinePoint | None = None
    """The point whose forward made the graph of the loss, freed or not; None before a forward."""
    edit: str = ""
    """What the command did, in words, if it was an edit."""
    place: str = ""
    """The phase and the line of a script, which has no command that led here."""
    digest: str = ""
    """The digest of its state, to check a rerun with; empty where computing it would have delayed a command."""
    sketch: str = ""
    """In place of the digest: a hash of the first rows of each tensor that the command changed."""
    lost: str = ""
    """Why it can no longer be reached; empty while it can."""

    @property
    def changed(self) -> tuple[str, ...]:
        """The names of the tensors that the command changed."""
        return tuple(map(name_of, self.wrote))

    def path(self) -> Iterator[TimelinePoint]:
        """Yield this point and those before it, back to the first."""
        point: TimelinePoint | None = self
        while point is not None:
            yield point
            point = point.parent


def fork_of(one: TimelinePoint, other: TimelinePoint) -> TimelinePoint:
    """Return the last common point on the paths to both."""
    while one is not other:
        if one.depth < other.depth:
            one, other = other, one
        assert one.parent is not None
        one = one.parent
    return one


def add_losses(
    point: TimelinePoint,
    start: TimelinePoint | None,
    losses: list[tuple[int, float]],
    rates: list[tuple[float, ...]],
) -> bool:
    """Add the losses between two points; return whether a file restored in between replaced all of them."""
    entries: list[tuple[tuple[int, float], tuple[float, ...]]] = []
    whole = False
    for each in point.path():
        if each is start:
            break
        entries.extend(reversed(each.entries))
        if each.losses is not None:
            losses[:], rates[:] = each.losses
            whole = True
            break
    for loss, rate in reversed(entries):
        losses.append(loss)
        rates.append(rate)
    return whole and start is not None


def graph_alive(held: Debuggee, checkpoint: Checkpoint | None = None) -> bool:
    """Return whether there is a live graph: of the loss, or of a tensor that a module keeps.

    Args:
        held: the workload.
        checkpoint: a checkpoint of it as it is now, if there is one.
    """
    point = held.point
    if point.loss is not None and point.loss.grad_fn is not None and not point.freed:
        return True
    captured = held.attributes.capture() if checkpoint is None else checkpoint.captured[AttributesPart.name]
    return bool(captured.has_live_graph())
