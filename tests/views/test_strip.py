"""A row or a column of a Jacobian by itself: against all of it, where that can be had too."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gradstep.engine.autograd.jacobian import Jacobian, jacobian
from gradstep.engine.numbers.selection import unravel
from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.values.views.node import LookNode, NodeView, Strip
from gradstep.views.node.strip import strip_of


def made(of: Callable[[Tensor], Tensor], shape: tuple[int, ...] = (3, 4)) -> Jacobian:
    torch.manual_seed(0)
    x = torch.randn(shape, requires_grad=True)
    node = of(x * 1).grad_fn
    assert node is not None
    found = jacobian(node, 0)
    assert isinstance(found, Jacobian)
    return found


@pytest.mark.parametrize(
    "of",
    [
        torch.relu,
        torch.tanh,
        lambda x: x.softmax(1),
        lambda x: x @ torch.arange(8.0).reshape(4, 2),
        lambda x: x.cumsum(0),
        lambda x: x.amax(1),
    ],
)
@pytest.mark.parametrize("direction", ["row", "column"])
def test_each_is_what_all_of_j_has_there(of: Callable[[Tensor], Tensor], direction: str) -> None:
    found = made(of)
    whole = found.whole() if direction == "row" else found.whole().T
    for number in range(len(whole)):
        strip = strip_of(found, LookNode(strip=direction, at=(number,), span=1000), None, None)  # type: ignore[arg-type]
        assert strip.number == number
        line = whole[number].double()
        shown = line[line != 0] if strip.sparse else line
        assert strip.window == pytest.approx(shown.tolist(), abs=1e-7)
        assert (strip.nonzero, strip.count) == (int((line != 0).sum()), len(line))
        assert strip.norm == pytest.approx(float(line.norm()), rel=1e-6)
        for index, value in strip.greatest:
            assert float(line.reshape(strip.shape)[index]) == pytest.approx(value)


def test_without_an_index_it_is_the_one_farthest_from_0() -> None:
    found = made(torch.tanh)
    v = torch.zeros(3, 4)
    v[1, 2] = -5.0
    assert strip_of(found, LookNode(strip="row"), v, None).index == (1, 2)
    assert strip_of(found, LookNode(strip="column"), None, v).index == (1, 2)
    v[2, 0] = torch.nan
    assert strip_of(found, LookNode(strip="row"), v, None).index == (2, 0)


def test_an_index_counts_from_the_end_too_and_one_that_is_not_there_is_said() -> None:
    found = made(torch.tanh)
    assert strip_of(found, LookNode(strip="row", at=(-1, -2)), None, None).number == 10
    assert strip_of(found, LookNode(strip="row", at=(-1,)), None, None).number == 11
    refused = strip_of(found, LookNode(strip="row", at=(3, 0)), None, None)
    assert (refused.number, refused.window) == (-1, ())
    assert "the output has shape (3, 4): no element [3, 0]" in refused.note


def test_where_few_are_not_0_only_those_are_seen() -> None:
    found = made(lambda x: x @ torch.ones(40, 3), (5, 40))
    strip = strip_of(found, LookNode(strip="row", at=(2, 1), span=6), None, None)
    assert (strip.sparse, strip.nonzero, strip.count) == (True, 40, 200)
    assert (strip.window, strip.ends) == ((1.0,) * 6, ((2, 0), (2, 5)))


def test_a_j_of_800_million_elements_gives_a_row_and_a_column() -> None:
    session = Session()
    for statement in parse_line("load mlp seed=0; forward; backward"):
        assert session.execute(statement.command).ok  # type: ignore[union-attr]
    row, column = (_strip(session, direction) for direction in ("row", "column"))
    assert (row.count, row.nonzero, row.shape) == (200_704, 784, (784, 256))
    assert (column.count, column.nonzero, column.shape) == (4096, 16, (16, 256))
    assert "by one run of the node" in row.how
    session.close()


def _strip(session: Session, direction: str) -> Strip:
    (view,) = session.look(LookNode(8, strip=direction))  # type: ignore[arg-type]
    assert isinstance(view, NodeView)
    assert view.matrix is not None
    assert view.matrix.strip is not None
    assert (view.matrix.rows, view.matrix.columns) == (4096, 200_704)
    return view.matrix.strip


def test_an_index_is_counted_row_by_row() -> None:
    assert [unravel(number, (2, 3)) for number in (0, 2, 3, 5)] == [(0, 0), (0, 2), (1, 0), (1, 2)]
    assert unravel(0, ()) == ()
