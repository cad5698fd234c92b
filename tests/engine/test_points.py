"""The points of a timeline as a tree: ancestors and forks against a plain walk, and in few steps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gradstep.engine.history.points import TimelinePoint, fork_of
from gradstep.values.commands import Forward


def tree(befores: Sequence[int]) -> list[TimelinePoint]:
    """Return points, each after the one that so many before it in the list."""
    points = [TimelinePoint(1, None, None, "main", None)]
    for back in befores:
        points.append(TimelinePoint(len(points) + 1, points[-1 - back % len(points)], Forward(), "main", None))
    return points


@given(st.lists(st.sampled_from((0, 0, 0, 0, 1, 5, 17)), max_size=60), st.data())
def test_ancestors_and_forks_are_those_of_a_walk(befores: list[int], data: st.DataObject) -> None:
    points = tree(befores)
    one, other = data.draw(st.sampled_from(points)), data.draw(st.sampled_from(points))
    path = [*one.path()]
    assert one.depth == len(path) - 1
    assert [one.ancestor(depth) for depth in range(len(path))] == path[::-1]
    assert other.leads_to(one) == (other in path)
    assert fork_of(one, other) is next(point for point in path if point in [*other.path()])


def lines(run: Callable[[], object]) -> int:
    """Return how many lines of Python ran in the functions that something calls."""
    count, before = 0, sys.gettrace()

    def see(frame: Any, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return see

    sys.settrace(see)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


def test_a_point_far_back_is_found_in_few_steps() -> None:
    points = tree([0] * 10_000)
    beside = [TimelinePoint(20_000, points[100], None, "b2", None)]
    for _ in range(5_000):
        beside.append(TimelinePoint(20_000, beside[-1], None, "b2", None))
    assert max(lines(lambda: points[-1].ancestor(depth)) for depth in (0, 77, 5_000, 9_999)) < 200  # noqa: B023
    assert lines(lambda: fork_of(points[-1], beside[-1])) < 400
    assert fork_of(points[-1], beside[-1]) is points[100]
