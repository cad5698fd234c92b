"""Going to a point of the timeline: its checkpoint is put back, and what was not kept is run again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct

from gradstep.engine.bits import same_bits
from gradstep.engine.checkpoint import Checkpoint, put_back, take, tensors_of
from gradstep.engine.digest import digest
from gradstep.engine.hindsight import saved_before
from gradstep.engine.randomness import state_bytes
from gradstep.engine.timeline import Timeline, TimelinePoint
from gradstep.values.errors import GradstepError, wrong


class Arrival(Struct, frozen=True):
    """How a point was reached."""

    again: int = 0
    """Commands that were run again."""
    differ: tuple[str, ...] = ()
    """What came out otherwise when it was run again; what was kept is what is there now."""


def go(timeline: Timeline, target: TimelinePoint) -> Arrival:
    """Go to a point: everything is as it was there, the graph of the loss included.

    Raises:
        GradstepError: what had to be run again raised or came out otherwise; the workload is where it was.
    """
    here = timeline.here()
    if target is here:
        return Arrival()
    arrival = _travel(timeline, target, graph=True)
    timeline.current = target
    if not timeline.holds(timeline.branch, target):
        timeline.branch = target.branch
    return arrival


@contextmanager
def visit(timeline: Timeline, target: TimelinePoint) -> Iterator[None]:
    """Be at a point for as long as the block lasts, without a graph; the graph that is alive here outlives that."""
    here, held = timeline.here(), timeline.held
    if target is here:
        yield
        return
    assert here.checkpoint is not None
    point, saved, refused, kept = held.point, held.saved, held.refused, held.transaction.forward_saved
    try:
        _travel(timeline, target, graph=False)
        yield
    finally:
        put_back(held, timeline.images, here.checkpoint)
        _put_losses(timeline, here)
        held.point, held.saved, held.refused, held.transaction.forward_saved = point, saved, refused, kept


def _travel(timeline: Timeline, target: TimelinePoint, graph: bool) -> Arrival:
    here, held = timeline.here(), timeline.held
    assert here.checkpoint is not None
    base, again = _way(target, graph)
    point, saved, refused, kept = held.point, held.saved, held.refused, held.transaction.forward_saved
    try:
        _put(timeline, base)
        differ = _run_again(timeline, again)
    except BaseException:
        put_back(held, timeline.images, here.checkpoint)
        _put_losses(timeline, here)
        held.point, held.saved, held.refused, held.transaction.forward_saved = point, saved, refused, kept
        raise
    held.saved = saved_before(held, target)
    return Arrival(len(again), differ)


def _way(target: TimelinePoint, graph: bool) -> tuple[TimelinePoint, list[TimelinePoint]]:
    """Return the point to put back, and those to run again from there on, the target last.

    A graph is not kept: where one has to be there, the way begins before the forward that made it.
    """
    if target.checkpoint is not None and (target.forward is None or not graph):
        return target, []
    again: list[TimelinePoint] = []
    first = target.forward if graph else None
    for point in target.path():
        if first is None and point.checkpoint is not None and point.forward is None:
            return point, again[::-1]
        if point.parent is None or point.lost:
            break
        again.append(point)
        if point is first:
            first = None
    raise wrong(f"stop {target.number} can't be reached any more", target.lost or "what leads to it was not kept")


def _put(timeline: Timeline, point: TimelinePoint) -> None:
    held = timeline.held
    assert point.checkpoint is not None
    put_back(held, timeline.images, point.checkpoint)
    _put_losses(timeline, point)
    held.transaction.forward_saved, held.refused = None, ""
    held.forget_graph()


def _put_losses(timeline: Timeline, point: TimelinePoint) -> None:
    entries = [each.entry for each in point.path() if each.entry is not None][::-1]
    timeline.held.losses[:] = [entry[0] for entry in entries]
    timeline.held.loss_rates[:] = [entry[1] for entry in entries]


def _run_again(timeline: Timeline, points: list[TimelinePoint]) -> tuple[str, ...]:
    """Run the commands of points again, and prove that each led to where it led before."""
    held = timeline.held
    differ: list[str] = []
    observed, held.observed, timeline.travelling = held.observed, True, True
    try:
        for place, point in enumerate(points):
            assert point.command is not None
            held.carry_out(point.command, timeline.scope)
            last = place == len(points) - 1
            if point.checkpoint is not None:
                differ += _hold_to(timeline, point, point.checkpoint, last)
            elif last:
                _prove(timeline, point)
    finally:
        held.observed, timeline.travelling = observed, False
    return tuple(differ)


def _hold_to(timeline: Timeline, point: TimelinePoint, kept: Checkpoint, last: bool) -> list[str]:
    """Put what was kept of a point in the place of what came of running it again; return where the two differ."""
    held = timeline.held
    now = dict(tensors_of(held))
    differ = []
    for key, image in kept.images.items():
        tensor = now.get(key)
        if image is None or tensor is None:
            same = image is None and tensor is None
        else:
            same = timeline.images.current(tensor) is image or same_bits(tensor, image.contents)
        if not same:
            differ.append(f"{point.phase}: {' '.join(key)}")
    if state_bytes(held.keeper.capture()) != state_bytes(kept.randomness):
        differ.append(f"{point.phase}: the random generators")
    if last or differ:
        there = held.point
        put_back(held, timeline.images, kept)
        held.point = there
        _put_losses(timeline, point)
    return differ


def _prove(timeline: Timeline, point: TimelinePoint) -> None:
    held = timeline.held
    if point.digest and digest(held)[0] != point.digest:
        raise wrong(
            f"stop {point.number} can't be reached again",
            f"running the {point.phase or 'commands'} that led there again did not give the same bits",
        )
    point.checkpoint = take(held, timeline.images, None, None)


__all__ = ["Arrival", "GradstepError", "go", "visit"]
