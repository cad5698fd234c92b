"""Keep the history within its budget: checkpoints are dropped where running again gives the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from gradstep.engine.history.before import word_of
from gradstep.engine.history.points import TimelinePoint
from gradstep.engine.history.timeline import Timeline
from gradstep.engine.history.travel import is_base, run_again_and_compare
from gradstep.engine.state import registry
from gradstep.engine.state.digest import digest_at
from gradstep.values.commands import Restore, UseOptimizer
from gradstep.values.errors import GradstepError

_RECENT = 8
"""Commands whose kinds are compared together: a turn of a training loop, so that it is run again once."""
_ENOUGH = 7 / 8
"""Share of the budget that is left in use after thinning, so that not every command has to thin."""


LONG = 2**28
"""Bytes of history from which on a turn of the loop may take so long that it is said that one is run again."""


def tidy(timeline: Timeline, say: Callable[[str], None] = lambda _: None) -> list[str]:
    """Drop checkpoints until the history is within its budget; return messages for the user.

    `say` is called with what begins, before anything that takes long.

    The first point, the present one and the one before it are always kept: the last is what a rollback needs anyway.
    Before a kind of command is relied on, one of its kind is run again and compared. The results of a kind that does
    not repeat are kept.
    """
    here = timeline.current
    if here is None or timeline.bytes <= timeline.budget:
        return []
    said: list[str] = []
    while timeline.bytes > timeline.budget * _ENOUGH:
        victim = _choose(timeline, here)
        if victim is None:
            said += _give_up_results(timeline, here)
            break
        said += _check(timeline, here, victim, say)
        _thin(timeline, victim)
    timeline.images.memory.shrink(timeline.images.taken)
    return said


def _choose(timeline: Timeline, here: TimelinePoint) -> TimelinePoint | None:
    """Return the checkpoint that is least valuable: older, and with closer neighbours."""
    spared = {id(here), id(here.parent)}
    best, least = None, float("inf")
    kept = [point for point in timeline.points.values() if point.checkpoint is not None]
    after: dict[int, TimelinePoint] = {}
    before: dict[int, TimelinePoint] = {}
    for point in kept:
        ancestor = next((each for each in _ancestors(point) if each.checkpoint is not None), None)
        if ancestor is not None:
            before[point.number] = ancestor
            after.setdefault(ancestor.number, point)
    for point in kept:
        # a file may be gone or another one by the time it is read again
        if point.parent is None or id(point) in spared or isinstance(point.command, Restore):
            continue
        following = after.get(point.number, point)
        gap = following.depth - before[point.number].depth
        missed = gap / (timeline.stops - point.number + 1)
        if missed < least:
            best, least = point, missed
    return best


def _ancestors(point: TimelinePoint) -> Iterator[TimelinePoint]:
    path = point.path()
    next(path)
    return path


def _check(timeline: Timeline, here: TimelinePoint, victim: TimelinePoint, say: Callable[[str], None]) -> list[str]:
    """Run again what led to a point, unless such commands were compared before; return what came out otherwise."""
    kinds = {type(each.command) for each in _way_without(victim)}
    if UseOptimizer in kinds:
        timeline.repeats.clear()
    if kinds <= timeline.repeats.keys():
        return []
    recent = {type(each.command) for each in islice(here.path(), _RECENT) if each.parent is not None}
    way = _last_of(kinds | recent, here) or _last_of(kinds, here) or _way_without(victim)
    compared = {type(each.command) for each in way if each.checkpoint is not None}
    if timeline.bytes > LONG:
        words = ", ".join(sorted(word_of(kind) for kind in kinds))
        say(f"the history is over its budget: finding out whether {words} repeat bit for bit, once")
    try:
        differing = run_again_and_compare(timeline, way)
    except GradstepError as error:
        differing = {type(victim.command): error.problem.title}
    for kind in compared | kinds:
        known = timeline.repeats.get(kind, True)
        if not known:
            differing.pop(kind, None)  # that was said
        timeline.repeats[kind] = known and kind not in differing
    said = "does not repeat bit for bit when run again, so its results are kept"
    return [f"{word_of(kind)} {said}: {what}" for kind, what in differing.items()]


def _way_without(victim: TimelinePoint) -> list[TimelinePoint]:
    """Return the points that would be run again to reach one if its own checkpoint were not there, itself the last."""
    way = [victim]
    for each in _ancestors(victim):
        if is_base(each):
            break
        way.append(each)
    return way[::-1]


def _last_of(kinds: set[type[Any]], here: TimelinePoint) -> list[TimelinePoint]:
    """Return the last points that commands of all these kinds led to, at once; none where there are not such."""
    way: list[TimelinePoint] = []
    missing = set(kinds)
    for each in here.path():
        if not missing and is_base(each):
            return way[::-1]
        if each.lost:
            break
        way.append(each)
        if each.checkpoint is not None:
            missing.discard(type(each.command))
    return []


def _thin(timeline: Timeline, point: TimelinePoint) -> None:
    checkpoint = point.checkpoint
    assert checkpoint is not None
    point.digest = point.digest or digest_at(timeline.held, checkpoint)
    if not timeline.repeats.get(type(point.command), False):
        alone = [part for part in registry.PARTS if part.alone]
        kinds = {kind for part in alone for kind in part.kinds}
        further = [key for key in checkpoint.images if key[0] in kinds]
        point.results = {key: checkpoint.images.get(key) for key in (*point.wrote, *further)}
        point.rest = {part.name: checkpoint.kept[part.name] for part in alone}
    timeline.drop(point)


def _give_up_results(timeline: Timeline, here: TimelinePoint) -> list[str]:
    """Give up what can't be had again, the oldest first: what leads through it can't be reached any more."""
    gone = 0
    for point in timeline.points.values():
        if timeline.bytes <= timeline.budget * _ENOUGH:
            break
        if point.results is not None and point is not here:
            point.results = point.rest = None
            point.lost = "the budget was spent, and running it again does not give the same bits"
            gone += 1
    return [f"{gone} stops can't be reached any more: the history is over its budget"] if gone else []
