"""View a past point in the middle of a phase: restore its state for a block, then the present one.

Nothing runs in between. Afterwards the same objects hold the same bits, version counters included.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from gradstep.engine.debuggee.loop import Point
from gradstep.engine.history.before import saved_before
from gradstep.engine.history.points import TimelinePoint
from gradstep.engine.history.timeline import Timeline
from gradstep.engine.state.snapshot import restore, take
from gradstep.values.errors import wrong


@contextmanager
def peek(timeline: Timeline, target: TimelinePoint) -> Iterator[None]:
    """Restore a point for the block while a phase is stopped inside; call it on the thread of that phase.

    Raises:
        GradstepError: the point has no checkpoint: a phase would have to be rerun inside the one that is stopped.
    """
    held, images, here = timeline.held, timeline.images, timeline.here()
    if target.checkpoint is None:
        what = "it has no checkpoint, and nothing can be rerun while a phase is stopped inside"
        raise wrong(f"stop {target.number} can't be viewed now", what, "run to the end of the phase: `out phase`")
    point, refused, begun, saved = held.point, held.refused, held.forward_saved, held.saved
    losses, rates = list(held.losses), list(held.loss_rates)
    batches = dict(vars(held.batches))  # iterator included: a new one would have to skip forward
    with images.in_the_middle() as written:
        now = take(held, images, None, None)
        known = {id(image.tensor) for image in now.images.values() if image is not None}
        others = [image for image in written if id(image.tensor) not in known]
        there = [images.current(image.tensor) for image in others]
        try:
            restore(held, images, target.checkpoint)
            images.load(others)  # a batch that the phase wrote
            timeline.put_losses(target, here)
            held.refused, held.forward_saved = "", None
            held.saved = saved_before(target)
            lend_graph(timeline, target, point)
            timeline.visiting = True
            yield
        finally:
            timeline.visiting = False
            restore(held, images, now)
            images.load(there)
            held.losses[:], held.loss_rates[:] = losses, rates
            held.point, held.refused, held.forward_saved, held.saved = point, refused, begun, saved
            vars(held.batches).update(batches)


def lend_graph(timeline: Timeline, target: TimelinePoint, present: Point) -> None:
    """Show the graph that was alive at a point, if a point still has it: its nodes and edges, even once freed."""
    held, made_by = timeline.held, target.forward
    if made_by is None:
        return
    donor = present if timeline.here().made_by is made_by else None
    for point in timeline.points.values():
        if donor is None and point.made_by is made_by and point.forward is None and point.checkpoint is not None:
            donor = point.checkpoint.point
    if donor is not None:
        held.point = replace(held.point, loss=donor.loss, watched=donor.watched, lent=True)
