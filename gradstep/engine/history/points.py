"""The points of a timeline: what is recorded of each, and what its checkpoint may hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.state.images import Image
from gradstep.engine.state.part import Key
from gradstep.engine.state.registry import name_of
from gradstep.engine.state.snapshot import Checkpoint
from gradstep.values.commands import PointCommand


@dataclass(eq=False)
class TimelinePoint:
    """One point: the state after a command, reached from the point before it."""

    number: int
    """The number of its stop; a number is never used again, whatever is undone."""
    parent: TimelinePoint | None
    command: PointCommand | None
    """What led here; None for the first point."""
    branch: str
    """The branch that it was made on."""
    checkpoint: Checkpoint | None
    """Its whole state; None once it was dropped, and has to be run again."""
    phase: str = ""
    iteration: int = 0
    loss: float | None = None
    entries: tuple[tuple[tuple[int, float], tuple[float, ...]], ...] = ()
    """What it added to the losses, each with its learning rates: a forward one, a step one for each closure call."""
    known: int = 0
    """How many losses there are up to here."""
    losses: tuple[list[tuple[int, float]], list[tuple[float, ...]]] | None = None
    """All losses up to here, where they came from a file."""
    wrote: tuple[Key, ...] = ()
    """The tensors that the command changed."""
    results: dict[Key, Image | None] | None = None
    """What the command changed, kept where running it again does not give the same bits."""
    rest: dict[str, Any] | None = None
    """What was captured of the parts that stand alone, kept beside the results."""
    small: int = 0
    """Approximate bytes of its checkpoint outside of images."""
    depth: int = 0
    """Commands from the first point to here."""
    forward: TimelinePoint | None = None
    """The point whose forward made the graph that is alive here; None where none is."""
    made_by: TimelinePoint | None = None
    """The point whose forward made the graph of the loss, also where that is freed; None before a forward."""
    edit: str = ""
    """What the command did, in words, where it was no phase."""
    digest: str = ""
    """The digest of its state; computed when needed as a check."""
    lost: str = ""
    """Why it can't be reached any more; empty while it can."""

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
    """Return the last point that lies on the way to both."""
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
    """Add the losses on the way from one point to another; return whether a file on the way replaced them all."""
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


def graph_alive(held: Debuggee) -> bool:
    """Return whether a graph is there that was not freed: that of the loss, or of a tensor that a module keeps."""
    point = held.point
    alive = point.loss is not None and point.loss.grad_fn is not None and not point.freed
    return alive or held.attributes.capture().has_live_graph()
