"""Lanes of branches: where they fork, what passes, and which is the first."""

from __future__ import annotations

from gradstep.tui.render.lanes import lanes_of
from gradstep.values.views.timeline import TimelineRow


def drawn(*rows: TimelineRow) -> list[str]:
    return [f"{lanes.before}●{lanes.after}".rstrip() for lanes in lanes_of(rows)]


def row(stop: int, parent: int, branch: str = "main", way: bool = False, end: str = "") -> TimelineRow:
    ends = (end,) if end else ()
    return TimelineRow(stop, "forward", "forward", branch, parent, way=way, ends=ends)


def test_one_branch_is_one_lane() -> None:
    assert drawn(row(1, 0, way=True), row(2, 1, way=True), row(3, 2, way=True, end="main")) == ["●", "●", "●"]


def test_what_was_left_forks_to_the_right_and_the_present_branch_stays_first() -> None:
    rows = (
        row(1, 0, way=True),
        row(2, 1, way=True),
        row(3, 2),
        row(4, 3, end="main"),
        row(5, 2, "hot", way=True),
        row(6, 5, "hot", way=True, end="hot"),
    )
    assert drawn(*rows) == ["●", "●─╮", "│ ●", "│ ●", "●", "●"]


def test_a_branch_of_a_branch_has_a_lane_further_right_and_one_that_goes_on_passes() -> None:
    rows = (
        row(1, 0, way=True),
        row(2, 1),
        row(3, 2),
        row(4, 2, "b2", end="b2"),
        row(5, 3, end="main"),
        row(6, 1, "hot", way=True, end="hot"),
    )
    assert drawn(*rows) == ["●─╮", "│ ●─╮", "│ ● │", "│ │ ●", "│ ●", "●"]


def test_two_branches_from_one_point() -> None:
    rows = (
        row(1, 0, way=True),
        row(2, 1, end="main"),
        row(3, 1, "b2", end="b2"),
        row(4, 1, "b3", way=True, end="b3"),
    )
    assert drawn(*rows) == ["●─┬─╮", "│ ● │", "│   ●", "●"]


def test_lines_of_what_is_not_among_the_rows_come_from_above_and_go_on_below() -> None:
    rows = (row(7, 6), row(8, 3, "hot", way=True), row(9, 8, "hot", way=True))
    assert drawn(*rows) == ["│ ●", "● │", "● │"]


def test_many_branches_share_the_last_lane() -> None:
    rows = [row(1, 0, way=True), *(row(n, 1, f"b{n}", end=f"b{n}") for n in range(2, 20))]
    assert max(map(len, drawn(*rows))) == 2 * 6 - 1
