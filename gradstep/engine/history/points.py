"""The points of a timeline: what is known of each, and what a checkpoint of one may hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.debuggee.loop import Point
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
    """Everything that is kept of it; None once that was given up, and it has to be run again."""
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
    """About the bytes of its checkpoint that are in no image."""
    depth: int = 0
    """Commands from the first point to here."""
    forward: TimelinePoint | None = None
    """The point whose forward made the graph that is alive here; None where none is."""
    made_by: TimelinePoint | None = None
    """The point whose forward made the graph of the loss, also where that is freed; None before a forward."""
    edit: str = ""
    """What the command did, in words, where it was no phase."""
    digest: str = ""
    """The digest of its state; taken when it has to prove something."""
    lost: str = ""
    """Why it can't be reached any more; empty for as long as it can."""

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
    """Add the losses on the way from one point to another; tell whether a file on the way replaced them all."""
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


def graph_alive(point: Point) -> bool:
    """Return whether the graph of the loss is there and was not freed."""
    return point.loss is not None and point.loss.grad_fn is not None and not point.freed


def without_graph(point: Point) -> Point:
    """Return a point whose loss and output hold no graph: kept for later, they would keep all it saved alive."""
    loss = None if point.loss is None else point.loss.detach()
    watched = point.watched
    kept = type(watched)(**{**vars(watched), "output": _detached(watched.output)})
    return replace(point, loss=loss, watched=kept)


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, dict):
        try:
            return type(value)(**{key: _detached(each) for key, each in value.items()})
        except TypeError:
            return {key: _detached(each) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_detached, value))
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_detached(each) for each in value] if isinstance(value, list) else tuple(map(_detached, value))
    return value
