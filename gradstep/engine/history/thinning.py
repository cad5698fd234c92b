"""Keep the history within its budget by dropping checkpoints that a rerun reproduces bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice
from typing import Any

from gradstep.engine.bits import sketch_of
from gradstep.engine.history.before import command_name
from gradstep.engine.history.points import TimelinePoint
from gradstep.engine.history.timeline import Timeline
from gradstep.engine.history.travel import is_base, run_again_and_compare
from gradstep.engine.state import registry
from gradstep.engine.state.digest import digest_at
from gradstep.values.errors import GradstepError

_RECENT = 8
"""Commands that are compared together: about one iteration of a training loop, so that one rerun checks all kinds."""
_ENOUGH = 7 / 8
"""Share of the budget down to which kept results are dropped, because that takes a pass over all points."""


SLICE = 0.05
"""Seconds that a command may be delayed by a rerun of others; a longer one waits until travel needs it."""
COPYING = 1e-9
"""Seconds that a rerun takes for each byte that its command writes: it is copied, compared, and moved there and back
(0.8e-9 on two cores, where the memory for the copy is new)."""
HASHED = 64 << 20
"""Bytes that are hashed while a command waits: at most about 10 ms."""


def tidy(timeline: Timeline, say: Callable[[str], None] = lambda _: None) -> list[str]:
    """Drop checkpoints until the history is within its budgets; return messages for the user.

    Its time budget is kept by dropping so many that the next copies find memory to reuse.

    The first point, the present one and the one before it, which a rollback needs, are always kept. Before a kind of
    command is relied on to repeat, one of that kind is rerun and compared if that takes no longer than `SLICE`. Where
    it does not repeat, its results are kept. Where neither that nor a digest is quick, `travel` proves the rerun.

    Args:
        timeline: the history.
        say: called with a message before anything that takes long.
    """
    timeline.kept.place()
    here = timeline.current
    slow, memory = timeline.spent > timeline.share, timeline.images.memory

    def over() -> bool:
        return timeline.exceeds(timeline.budget) or (slow and memory.short)

    if here is None or not over():
        return []
    messages: list[str] = []
    while over():
        victim = timeline.kept.least(timeline.stops, (here, here.parent))
        if victim is None:
            messages += _drop_results(timeline, here) if timeline.exceeds(timeline.budget) else []
            break
        messages += _check(timeline, here, victim, say)
        _thin(timeline, victim)
    memory.shrink()
    return messages


def _check(timeline: Timeline, here: TimelinePoint, victim: TimelinePoint, say: Callable[[str], None]) -> list[str]:
    """Rerun a command of the kind that led to a point, unless it is known; return a message for each that differed.

    The kinds of the commands before it were checked when their own checkpoints were dropped; where those are kept, a
    rerun ends in them.
    """
    kind = type(victim.command)
    if kind in timeline.repeats:
        return []
    recent = {type(each.command) for each in islice(here.path(), _RECENT) if each.parent is not None}
    most = SLICE if timeline.trusting else math.inf
    ways = (_way({kind, *recent}, here, most), _way({kind}, here, most), _way({kind}, victim, most))
    way = next(filter(None, ways), [])
    if not way:
        return []
    compared = {kind, *(type(each.command) for each in way if each.checkpoint is not None)}
    if sum(map(_seconds, way)) > SLICE:
        words = ", ".join(sorted(map(command_name, compared)))
        say(f"the history is over its budget: checking once whether {words} repeat bit for bit")
    try:
        differing = run_again_and_compare(timeline, way)
    except GradstepError as error:
        if error.problem.kind == "interrupted":
            return []
        differing = {kind: error.problem.title}
    timeline.trusting = timeline.trusting and not differing
    for each in compared:
        known = timeline.repeats.get(each, True)
        if not known:
            differing.pop(each, None)  # reported before
        timeline.repeats[each] = known and each not in differing
    reason = "does not repeat bit for bit when rerun, so its results are kept"
    return [f"{command_name(each)} {reason}: {what}" for each, what in differing.items()]


def _way(kinds: set[type[Any]], end: TimelinePoint, most: float) -> list[TimelinePoint]:
    """Return the shortest run of points up to `end` that has all these kinds of commands, from where a rerun can start.

    It is empty when there is none, or when rerunning it takes more than `most` seconds.
    """
    way: list[TimelinePoint] = []
    missing, seconds = set(kinds), 0.0
    for each in end.path():
        if not missing and is_base(each):
            return way[::-1]
        seconds += _seconds(each)
        if each.lost or seconds > most:
            break
        way.append(each)
        if each.checkpoint is not None:
            missing.discard(type(each.command))
    return []


def _seconds(point: TimelinePoint) -> float:
    """Return how long it takes to rerun a command and compare, approximately."""
    return point.seconds + point.written * COPYING


def _thin(timeline: Timeline, point: TimelinePoint) -> None:
    checkpoint = point.checkpoint
    assert checkpoint is not None
    new = {image for image in checkpoint.images.values() if image is not None and not image.hashed}
    # a rerun is proved by a later point: there is none after the end of a branch, and none of use where reruns differ
    needed = not timeline.trusting or point in timeline.branches.values()
    if needed or sum(image.size for image in new) <= HASHED:
        point.digest = point.digest or digest_at(timeline.held, checkpoint)
    elif not point.digest:
        written = (checkpoint.images.get(key) for key in point.wrote)
        point.sketch = sketch_of(None if image is None else image.contents for image in written)
    if not timeline.repeats.get(type(point.command), timeline.trusting):
        parts = [part for part in registry.PARTS if part.self_contained]
        kinds = {kind for part in parts for kind in part.kinds}
        further = [key for key in checkpoint.images if key[0] in kinds]
        point.results = {key: checkpoint.images.get(key) for key in (*point.wrote, *further)}
        point.rest = {part.name: checkpoint.captured[part.name] for part in parts}
    timeline.drop(point)


def _drop_results(timeline: Timeline, here: TimelinePoint) -> list[str]:
    """Drop the results of commands that do not repeat, oldest first: points behind them become unreachable."""
    gone = 0
    for point in timeline.points.values():
        if not timeline.exceeds(timeline.budget * _ENOUGH):
            break
        if point.results is not None and point is not here:
            point.results = point.rest = None
            point.lost = "the history was over its budget, and a rerun does not give the same bits"
            gone += 1
    return [f"{gone} stops can no longer be reached: the history is over its budget"] if gone else []
