"""Nested tensors, whose rows differ in length: graphs and nodes of them are shown, and what can't be is said."""

from __future__ import annotations

import pytest
import torch
from msgspec import msgpack
from torch import Tensor, nn

from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.values.numbers import shape
from gradstep.values.views import LookWhy, Request, View, WhyView
from gradstep.values.views.contributions import ContributionsView, LookContributions
from gradstep.values.views.graph import GraphView, LookGraph
from gradstep.values.views.inside import InsideView, LookInside
from gradstep.values.views.node import ChainView, LookChain, LookNode, NodeView
from gradstep.workload import Workload

LAYOUTS = (torch.jagged, torch.strided)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x).relu()
        return y + y


def session_of(layout: torch.layout) -> Session:
    torch.manual_seed(0)
    rows = [torch.randn(2, 4), torch.randn(3, 4)]

    def loss(model: nn.Module, batch: list[Tensor]) -> Tensor:
        return torch.cat(model(torch.nested.nested_tensor(batch, layout=layout)).unbind()).pow(2).sum()

    made = Session(
        Workload(model=Twice(), compute_loss=loss, optimizer=lambda p: torch.optim.SGD(p, lr=0.1), batches=[rows])
    )
    assert made.forward().ok
    return made


def do(session: Session, text: str) -> None:
    for statement in parse_line(text):
        assert session.execute(statement.command).ok  # type: ignore[union-attr]


def seen(session: Session, request: Request) -> View:
    (view,) = session.look(request)
    return msgpack.decode(msgpack.encode(view), type=type(view))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_panel_shows_each_stop_of_a_backward_through_them(layout: torch.layout) -> None:
    session = session_of(layout)
    graph = seen(session, LookGraph())
    assert isinstance(graph, GraphView)
    number, adds = next((i, row) for i, row in enumerate(graph.rows) if row.name == "AddBackward0")
    assert adds.shape is not None
    assert shape(adds.shape) == ("2×j×3" if layout is torch.jagged else "j")
    do(session, "into backward; break node AddBackward0 after; continue")
    node, inside = seen(session, LookNode()), seen(session, LookInside())
    assert isinstance(node, NodeView)
    assert node.arrives[0] is not None
    assert shape(node.arrives[0].shape) == "2×j×3"
    assert node.arrives[0].note == "nested: all its rows, concatenated"
    assert node.arrives[0].window
    assert node.matrix is not None
    assert node.matrix.note == "nested tensors: rows of different lengths have no single J"
    assert isinstance(inside, InsideView)
    assert shape(inside.inputs[0].shape or ()) == "2×j×3"
    met, why = seen(session, LookContributions()), seen(session, LookWhy())
    assert isinstance(met, ContributionsView)
    assert {shape(total.shape) for total in met.totals} == {"2×j×3"}
    assert all(total.exact for total in met.totals)
    assert isinstance(why, WhyView)
    assert "has run" in why.sentence
    do(session, "delete; continue")
    again = seen(session, LookNode(number=number))
    assert isinstance(again, NodeView)
    assert again.arrives == node.arrives
    assert isinstance(seen(session, LookChain(number=number)), ChainView)
    session.close()
