"""Groups: which nodes fold into a row, how groups nest, and what is left of the edges."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gradstep.session.local import Session
from gradstep.values.commands import Forward, Load
from gradstep.values.views.graph import GraphView, LookGraph, NodeRow
from gradstep.workload import Workload


def session_of(target: str | nn.Module) -> Session:
    if isinstance(target, str):
        session = Session()
        assert session.execute(Load(target, seed=0, device="cpu")).ok
    else:
        session = Session(
            Workload(
                model=target,
                loss=nn.functional.mse_loss,
                optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
                batches=[(torch.randn(3, 4), torch.randn(3, 4))],
            )
        )
    assert session.execute(Forward()).ok
    return session


def rows_of(session: Session, level: int = -1, *turned: str) -> tuple[NodeRow, ...]:
    (view,) = session.look(LookGraph(count=100_000, level=level, turned=turned))
    assert isinstance(view, GraphView)
    assert view.total == len(view.rows)
    return view.rows


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.last(self.first(x).relu())


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.gain = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x * self.gain


class Loop(nn.Module):
    """One cell called over and over, with nothing between its calls."""

    def __init__(self, times: int = 3) -> None:
        super().__init__()
        self.cell, self.times = nn.RNNCell(4, 4), times

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(3, 4)
        for _ in range(self.times):
            state = self.cell(x, state)
        return state


def test_a_linear_folds_into_one_row_with_what_goes_in_and_out() -> None:
    session = session_of("mlp")
    rows = rows_of(session, 0)
    assert [row.group or row.operation for row in rows] == ["sum", "x ** 2", "a − b", "2", "relu", "0"]
    assert [(row.given, row.shape, row.nodes, row.parameters) for row in rows if row.group] == [
        ((16, 256), (16, 10), 4, 2),
        ((16, 784), (16, 256), 4, 2),
    ]
    assert [row.order for row in rows] == [0, 1, 2, 3, 7, 8]
    assert [row.edges for row in rows] == [(1,), (2,), (3,), (7,), (8,), ()]
    assert [row.lanes for row in rows] == ["●", "●", "●", "■", "●", "■"]


def test_one_group_is_turned_the_other_way() -> None:
    session = session_of("mlp")
    assert [row.group for row in rows_of(session, 64, "0") if row.group] == ["0"]
    assert [row.group for row in rows_of(session, 0, "0") if row.group] == ["2"]
    assert rows_of(session, 64, "no such") == rows_of(session, 64)


def test_groups_nest_and_open_one_level_at_a_time() -> None:
    session = session_of(Nested())
    assert [row.group for row in rows_of(session, 0) if row.group] == ["blocks.1", "blocks.0"]
    opened = rows_of(session, 0, "blocks.1")
    assert [row.group for row in opened if row.group] == ["blocks.1.last", "blocks.1.first", "blocks.0"]
    assert [row.inside for row in opened if row.group] == ["blocks.1", "blocks.1", ""]
    assert [row.operation for row in opened if row.inside and not row.group] == ["a + b", "relu"]
    assert [row.operation for row in opened if row.opens] == ["a + b"]
    assert rows_of(session, 1) == rows_of(session, 0, "blocks.0", "blocks.1")
    assert not any(row.group for row in rows_of(session, 2))


def test_the_parameter_of_the_model_itself_is_in_no_group() -> None:
    rows = rows_of(session_of(Nested()), 0)
    assert [(row.parameter, row.inside) for row in rows if row.parameter] == [("gain", "")]


def test_every_call_in_a_loop_is_a_group_and_says_which() -> None:
    rows = [row for row in rows_of(session_of(Loop()), 0) if row.group]
    assert [(row.group, row.call, row.calls) for row in rows] == [("cell#3", 3, 3), ("cell#2", 2, 3), ("cell", 1, 3)]
    assert [row.parameters for row in rows] == [0, 0, 4]  # what each call uses meets in the leaves of the first


def test_a_module_of_one_node_is_no_group() -> None:
    rows = rows_of(session_of("mlp"), 0)
    assert [(row.operation, row.module, row.group) for row in rows if row.path == "1"] == [("relu", "1 ReLU", "")]


def test_a_small_graph_opens_whole_and_a_large_one_folded() -> None:
    assert not any(row.group for row in rows_of(session_of("gpt")))
    rows = rows_of(session_of(Loop(150)))
    assert len(rows) == 150 + 1
    assert sum(row.nodes for row in rows) > 600
    assert len(rows_of(session_of(Loop(150)), 64)) == sum(row.nodes for row in rows)


@pytest.mark.parametrize("target", ["cnn", "rnn", "gpt", "nested"])
def test_what_is_left_of_the_edges_are_those_between_rows(target: str) -> None:
    session = session_of(Nested() if target == "nested" else target)
    whole = rows_of(session, 64)
    for level in (0, 1):
        rows = rows_of(session, level)
        row_of = [row.order for row in rows for _ in range(row.nodes)]
        expected: dict[int, set[int]] = {row.order: set() for row in rows}
        for node in whole:
            expected[row_of[node.order]] |= {row_of[target] for target in node.edges} - {row_of[node.order]}
        assert {row.order: set(row.edges) for row in rows} == expected


def test_the_window_is_laid_around_what_is_asked_for() -> None:
    session = session_of(Nested())

    def at(near: str, level: int = 64) -> NodeRow | None:
        (view,) = session.look(LookGraph(count=3, level=level, near=near))
        assert isinstance(view, GraphView)
        assert (view.near, len(view.rows)) == (near, 3 if view.total > 3 else view.total)
        return view.rows[view.at - view.first] if view.at >= 0 else None

    def found(near: str, level: int = 64) -> NodeRow:
        row = at(near, level)
        assert row is not None
        return row

    assert found("blocks.0.last.bias").parameter == "blocks.0.last.bias"
    assert found("blocks.0.last").path == "blocks.0.last"
    assert found("blocks.0").operation == "a + b"
    assert found("blocks").order == found("blocks.1").order  # backward comes to the last one first
    assert found("#5").order == 5
    assert found("blocks.0.last.bias", 0).group == "blocks.0"
    assert found("blocks.0.last.bias", 1).group == "blocks.0.last"
    assert [at(near) for near in ("no.such", "#1000000", "#x", "")] == [None] * 4
