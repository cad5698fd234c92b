"""Which checkpoint is dropped next: the choice, against a plain search; and that it takes as long among many."""

from __future__ import annotations

from functools import partial
from typing import Any

from counting import calls
from hypothesis import given
from hypothesis import strategies as st

from gradstep.engine.history.points import KeptPoints, TimelinePoint
from gradstep.engine.state.snapshot import Checkpoint
from gradstep.values.commands import Forward, Restore

CHECKPOINT = Checkpoint({}, {})


def new(number: int, parent: TimelinePoint | None, command: Any = None) -> TimelinePoint:
    return TimelinePoint(number, parent, command or Forward(), "main", CHECKPOINT)


def searched(points: list[TimelinePoint], stops: int, spared: tuple[TimelinePoint, ...]) -> TimelinePoint | None:
    """Search all points for the one whose checkpoint is the least valuable."""
    kept = [point for point in points if point.checkpoint is not None]
    before = {each: next((p for p in each.path() if p is not each and p.checkpoint), None) for each in kept}
    worth = {}
    for point in kept:
        ancestor = before[point]
        if ancestor is not None and point not in spared and not isinstance(point.command, Restore):
            after = next((each for each in kept if before[each] is point), point)
            worth[point] = (after.depth - ancestor.depth) / (stops - point.number + 1)
    return min(worth, key=lambda point: (worth[point], point.number), default=None)


@given(st.lists(st.tuples(st.sampled_from("adddklr"), st.integers(0, 30)), max_size=80))
def test_the_checkpoint_to_drop_is_the_one_that_a_search_finds(story: list[tuple[str, int]]) -> None:
    points, kept = [new(1, None)], KeptPoints()
    kept.add(points[0])
    here = points[0]
    for what, which in story:
        old = points[-1 - which % len(points)]
        if what in "ar":  # on, or from an earlier point: a branch
            here = new(len(points) + 1, old if what == "r" else here, Restore("file") if which == 7 else None)
            points.append(here)
            kept.add(here)
        elif what == "k":
            old.checkpoint = CHECKPOINT
            kept.add(old)
        else:
            spared = (here,) if here.parent is None else (here, here.parent)
            found = kept.least(len(points), spared)
            assert found is searched(points, len(points), spared)
            if found is not None and what == "d":
                found.checkpoint = None
                kept.remove(found)


def go_on(kept: KeptPoints, point: TimelinePoint, times: int) -> TimelinePoint:
    """Add points, and drop one for each."""
    for _ in range(times):
        point = new(point.number + 1, point)
        kept.add(point)
        dropped = kept.least(point.number, (point, point.parent))
        assert dropped is not None
        kept.remove(dropped)
    return point


def test_dropping_one_takes_as_long_among_many() -> None:
    took = []
    for many in (200, 2000):
        kept, point = KeptPoints(), new(1, None)
        kept.add(point)
        for _ in range(many):
            point = new(point.number + 1, point)
            kept.add(point)
        kept.place()
        took.append(calls(partial(go_on, kept, point, 200)))
    assert took[1] < 1.2 * took[0]
