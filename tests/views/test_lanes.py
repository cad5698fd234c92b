"""The lanes say which edges there are: every one is read back from the drawn text alone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradstep.examples import EXAMPLES
from gradstep.session.local import Session
from gradstep.values.commands import Forward, Load
from gradstep.values.graphs import GraphView, LookGraph
from gradstep.views.lanes import draw_lanes

UP, DOWN = set("│╯╰┤├┴┼"), set("│╮╭┤├┬┼")
STOPS = set("╮╭╯╰┤├┬┴┼")


def read(rows: Sequence[str]) -> list[set[int]]:
    """Follow the strokes; return the rows that each row's edges lead to."""
    width = max(map(len, rows), default=0)
    grid = [row.ljust(width) for row in rows]
    own = [next(i for i, c in enumerate(row) if c in "●◆") for row in rows]

    def below(row: int, column: int) -> int:
        """Follow a lane down to the node that stands on it."""
        for at in range(row + 1, len(grid)):
            if own[at] == column:
                return at
            assert grid[at][column] in UP, f"the lane ends in the air at row {at}, column {column}"
            assert grid[at][column] in DOWN, f"the lane ends without a node at row {at}, column {column}"
        raise AssertionError("the lane leaves the drawing")

    found: list[set[int]] = []
    for row, line in enumerate(grid):
        ends = set()
        for side in (-1, 1):
            at = own[row] + side
            while 0 <= at < width and (at % 2 == 0 or line[at] == "─"):
                if at % 2 == 0 and line[at] in STOPS:
                    ends.add(below(row, at))
                    if line[at] in ("╮╯┤" if side > 0 else "╭╰├"):
                        break
                elif at % 2 == 0 and line[at] == " ":
                    raise AssertionError("the stroke leads nowhere")
                at += side
        later = row + 1 < len(grid) and (own[row + 1] == own[row] or grid[row + 1][own[row]] in UP)
        if later and line[own[row]] == "●":
            ends.add(below(row, own[row]))
        found.append(ends)
    return found


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[int, ...]]:
    """A graph in execution order: every row but the first is led to by an earlier one that is no leaf."""
    size = draw(st.integers(1, 14))
    edges: list[list[int]] = [[] for _ in range(size)]
    for row in range(1, size):
        inner = [i for i in range(row) if i == 0 or edges[i] or i == row - 1]
        for source in draw(st.lists(st.sampled_from(inner), min_size=1, max_size=4)):
            edges[source].append(row)
    return [tuple(targets) for targets in edges]


@given(graphs())
def test_every_edge_of_any_graph_is_read_back(edges: list[tuple[int, ...]]) -> None:
    rows = draw_lanes(edges, [not targets for targets in edges])
    assert read(rows) == [set(targets) for targets in edges]


def test_a_lane_that_is_passed_over_is_told_from_one_that_is_joined() -> None:
    passed = draw_lanes([(4, 3), (2,), (5,), (5,), (5,), ()], [False] * 5 + [True])
    joined = draw_lanes([(2, 1), (3, 2), (3,), ()], [False] * 3 + [True])
    assert read(passed) == [{4, 3}, {2}, {5}, {5}, {5}, set()]
    assert read(joined) == [{2, 1}, {3, 2}, {3}, set()]


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_edge_of_an_example_is_read_back(name: str) -> None:
    session = Session()
    assert session.execute(Load(name, seed=0, device="cpu")).ok
    assert session.execute(Forward()).ok
    (view,) = session.look(LookGraph(count=100_000, lanes=64))
    assert isinstance(view, GraphView)
    assert view.total == len(view.rows) > 4
    assert read([row.lanes for row in view.rows]) == [set(row.edges) for row in view.rows]


def test_a_window_onto_the_graph_is_a_part_of_the_whole() -> None:
    session = Session()
    session.execute(Load("gpt", seed=0, device="cpu"))
    session.execute(Forward())
    whole, part = session.look(LookGraph(count=10_000), LookGraph(first=7, count=5))
    assert isinstance(whole, GraphView)
    assert isinstance(part, GraphView)
    assert part.rows == whole.rows[7:12]
