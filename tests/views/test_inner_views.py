"""At a stop inside a backward that a forward runs by itself, every view is about that backward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gradstep
from gradstep.session.local import Session
from gradstep.values.views import LookWhy, NoView, WhyView
from gradstep.values.views.graph import GraphView, LookGraph
from gradstep.values.views.inside import InsideView, LookInside, LookSource, SourceView
from gradstep.values.views.node import ChainView, LookChain, LookNode, NodeView


def penalty(model: nn.Module, batch: Any) -> Tensor:
    x = batch[0].clone().requires_grad_()
    out = model(x).square()
    (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    return out.mean() + slope.square().mean()


@pytest.fixture
def session() -> Iterator[Session]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    made = gradstep.Session(
        gradstep.Workload(
            model=model,
            compute_loss=penalty,
            optimizer=lambda p: torch.optim.SGD(p, 0.1),
            batches=[(torch.randn(4, 3),)],
        )
    )
    made.run("forward; backward; step; zero_grad")
    yield made
    made.close()


def at_tanh(session: Session) -> Session:
    session.run("break node Tanh*; forward")
    position = session.stop.position
    assert position is not None
    assert position.words == "forward > torch.autograd.grad: before #6 TanhBackward0 of 1 Tanh"
    return session


def test_graph_is_that_of_the_inner_backward(session: Session) -> None:
    (graph,) = at_tanh(session).look(LookGraph())
    assert isinstance(graph, GraphView)
    assert graph.nodes == 12
    by_name = {row.name: row.status for row in graph.rows}
    assert by_name["SumBackward0"] == by_name["PowBackward0"] == "done"
    assert by_name["TanhBackward0"] == "running"
    assert {row.status for row in graph.rows if row.name == "AccumulateGrad" and row.parameter} == {"left out"}, (
        "by x alone"
    )
    assert by_name["AddmmBackward0"] == "waiting"
    session.run("out")
    (graph,) = session.look(LookGraph())
    assert isinstance(graph, GraphView)
    assert "TanhBackward0" in {row.name for row in graph.rows}
    assert {row.status for row in graph.rows} == {"done"}, "the graph of the last loss again"


def test_a_node_has_its_jacobian_chain_source_and_sentence(session: Session) -> None:
    requests = (LookNode(), LookChain(), LookSource(), LookInside(), LookWhy())
    node, chain, source, inside, why = at_tanh(session).look(*requests)
    assert isinstance(node, NodeView)
    assert (node.number, node.name, node.when) == (6, "TanhBackward0", "before")
    assert node.matrix is not None
    assert node.matrix.structure == "diagonal"
    assert node.edges[0].leaves is not None
    assert isinstance(chain, ChainView)
    assert [link.name for link in chain.chain.links] == [
        "SumBackward0",
        "PowBackward0",
        "AddmmBackward0",
        "TanhBackward0",
    ]
    assert isinstance(source, SourceView)
    assert source.lines[source.here - source.first].strip() == "out = model(x).square()"
    assert isinstance(inside, InsideView)
    assert [row.name for row in inside.inputs] == ["node.in"]
    assert isinstance(why, WhyView)
    assert why.sentence.startswith("TanhBackward0 (tanh of 1 Tanh) is about to run: v (4×8) arrives from b + x Wᵀ of 2")
    assert why.torch == "torch.autograd.grad"


def test_before_its_first_node_the_call_says_what_is_about_to_run(session: Session) -> None:
    session.run("into forward")
    while session.stop.position is not None and session.stop.position.name != "torch.autograd.grad":
        session.run("into")
    why, graph = session.look(LookWhy(), LookGraph())
    assert isinstance(why, WhyView)
    assert why.sentence == (
        "torch.autograd.grad is about to run backward inside the forward. "
        "`into` steps to its nodes, `over` runs it whole."
    )
    assert isinstance(graph, GraphView)
    assert graph.rows[0].status == "ready"


def test_what_flows_there_can_not_be_set(session: Session) -> None:
    outcome = at_tanh(session).run("set node.in = 0")
    assert outcome.problem is not None
    assert outcome.problem.what == "this is a stop in a forward; only gradients can be edited"
    assert session.run("print norm(node.in)").problem is None


def test_undo_goes_back_among_its_nodes(session: Session) -> None:
    at_tanh(session).run("over")
    there = session.stop.position
    session.run("over; undo")
    assert session.stop.position == there
    assert not any(isinstance(view, NoView) for view in session.look(LookNode(), LookGraph()))
