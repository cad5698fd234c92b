"""The points of a timeline, and what is recorded of each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import islice
from typing import Any

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.state.attributes import AttributesPart
from gradstep.engine.state.images import Image
from gradstep.engine.state.part import Key
from gradstep.engine.state.registry import name_of
from gradstep.engine.state.snapshot import Checkpoint
from gradstep.values.commands import PointCommand, Restore


@dataclass(eq=False, repr=False, slots=True)
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
    written: int = 0
    """Bytes of their contents."""
    parts: tuple[str, ...] = ()
    """The names of the parts of the state that were saved before the command, because it could change them."""
    results: dict[Key, Image | None] | None = None
    """The tensors that the command changed, kept when a rerun does not give the same bits."""
    rest: dict[str, Any] | None = None
    """The captures of the self-contained parts, kept with the results."""
    small: int = 0
    """Approximate bytes of its checkpoint outside of images."""
    seconds: float = 0.0
    """How long the command took by itself, without what gradstep does around it."""
    depth: int = field(init=False)
    """The number of commands from the first point to here."""
    _jump: TimelinePoint = field(init=False)
    """An earlier point, so chosen that any is reached in about log2(depth) of these (Myers, 1983: skew-binary)."""
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

    def __post_init__(self) -> None:
        before = self.parent
        if before is None:
            self.depth, self._jump = 0, self
            return
        self.depth, jump = before.depth + 1, before._jump
        equal = before.depth - jump.depth == jump.depth - jump._jump.depth
        self._jump = jump._jump if equal else before

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

    def ancestor(self, depth: int) -> TimelinePoint:
        """Return the point at a depth on the path to here, in few steps however long the path is."""
        point = self
        while point.depth > depth:
            if point._jump.depth >= depth:
                point = point._jump
            else:
                assert point.parent is not None
                point = point.parent
        return point

    def leads_to(self, later: TimelinePoint) -> bool:
        """Return whether this point is on the path to another one, or is that one."""
        return later.ancestor(self.depth) is self

    def note_written(self, before: Checkpoint, after: Checkpoint) -> None:
        """Note the tensors that the command changed: those that have other images in the checkpoint after it."""
        old, new = before.images, after.images
        self.wrote = tuple([key for key in dict.fromkeys((*old, *new)) if old.get(key) is not new.get(key)])
        self.written = sum(image.size for image in map(new.get, self.wrote) if image is not None)


class KeptPoints:
    """The points that have a checkpoint. Finding the one to drop takes as long however many there are.

    A checkpoint is worth the less the older it is and the fewer commands are between its neighbours, which are the
    nearest kept points before and after it.
    """

    def __init__(self) -> None:
        self._points: dict[int, TimelinePoint] = {}
        """By number, as all that follows: an object for each would be one more for the garbage collector."""
        self._before: dict[int, int] = {}
        """The neighbour before each; the first point has none."""
        self._after: dict[int, tuple[int, ...]] = {}
        """The neighbours after it, one for each branch, the oldest first."""
        self._gaps: dict[int, int] = {}
        """The number of commands between the first of them and the one before; none where it must be kept."""
        self._by_gap: dict[int, list[int]] = {}
        """For each number of commands between neighbours, a heap of the points that have, or had, so many."""
        self._new: list[TimelinePoint] = []
        """Points that were added and are not yet among their neighbours."""

    def add(self, point: TimelinePoint) -> None:
        """Add a point, which has a checkpoint now; `place` finds its neighbours."""
        self._new.append(point)

    def place(self) -> None:
        """Place the points that were added among their neighbours."""
        for point in self._new:
            self._place(point)
        self._new.clear()

    def _place(self, point: TimelinePoint) -> None:
        number = point.number
        if number in self._points:
            return
        self._points[number] = point
        before = next((each.number for each in islice(point.path(), 1, None) if each.number in self._points), None)
        self._after[number] = after = tuple(
            [each for each in self._after.get(before or 0, ()) if point.leads_to(self._points[each])]
        )
        if before is not None:
            self._before[number] = before
            others = [each for each in self._after[before] if each not in after]
            self._after[before] = tuple(sorted((*others, number)))
            self._before.update(dict.fromkeys(after, number))
            self._measure(before, number, *after)

    def remove(self, point: TimelinePoint) -> None:
        """Remove a point, whose checkpoint is dropped."""
        self.place()
        number = point.number
        if self._points.pop(number, None) is None:
            return
        after, before = self._after.pop(number), self._before.pop(number, None)
        self._gaps.pop(number, None)
        for each in after:
            if before is None:
                del self._before[each]
            else:
                self._before[each] = before
        if before is not None:
            others = [each for each in self._after[before] if each != number]
            self._after[before] = tuple(sorted((*others, *after)))
            self._measure(before, *after)

    def least(self, stops: int, spared: Sequence[TimelinePoint | None]) -> TimelinePoint | None:
        """Return the point with the least valuable checkpoint; None if all must be kept.

        Args:
            stops: the number of the newest stop, from which ages are counted.
            spared: points to keep.
        """
        self.place()
        best, least = None, (math.inf, 0)
        kept = {point.number for point in spared if point is not None}
        for gap, heap in list(self._by_gap.items()):
            passed = []
            while heap and (heap[0] in kept or self._gaps.get(heap[0]) != gap):
                number = heappop(heap)
                passed += [number] if number in kept else []
            if heap and (worth := (gap / (stops - heap[0] + 1), heap[0])) < least:
                best, least = self._points[heap[0]], worth
            for number in passed:
                heappush(heap, number)
            if not heap:
                del self._by_gap[gap]
        return best

    def _measure(self, *several: int) -> None:
        """Measure the gap between the neighbours of points that may be dropped."""
        for number in several:
            # by the time of a rerun, the file of a `restore` may be gone or replaced
            before, after = self._before.get(number), self._after[number]
            if before is not None and not isinstance(self._points[number].command, Restore):
                last = after[0] if after else number
                gap = self._points[last].depth - self._points[before].depth
                if gap != self._gaps.get(number):
                    self._gaps[number] = gap
                    heappush(self._by_gap.setdefault(gap, []), number)


def fork_of(one: TimelinePoint, other: TimelinePoint) -> TimelinePoint:
    """Return the last common point on the paths to both."""
    one, other = one.ancestor(other.depth), other.ancestor(one.depth)
    while one is not other:
        if one._jump is not other._jump:
            one, other = one._jump, other._jump
        else:
            assert one.parent is not None
            assert other.parent is not None
            one, other = one.parent, other.parent
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
