"""What nodes are passed: at a stop, after the fact, and where several gradients meet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from gradstep.session.local import Session
from gradstep.steps.parse import parse_line
from gradstep.values.inside import ContributionsView, LookContributions
from gradstep.values.nodes import ChainView, LookChain, LookNode, NodeView
from gradstep.values.views import Digest, LookDigest, Request


@pytest.fixture
def session() -> Iterator[Session]:
    made = Session()
    yield made
    made.close()


def do(session: Session, text: str) -> None:
    for statement in parse_line(text):
        outcome = session.execute(statement.command)  # type: ignore[union-attr]
        assert outcome.ok, outcome.problem


def node(session: Session, request: Request) -> NodeView:
    view = session.look(request)[0]
    assert isinstance(view, NodeView)
    return view


def met(session: Session, request: LookContributions) -> ContributionsView:
    view = session.look(request)[0]
    assert isinstance(view, ContributionsView)
    return view


def digest(session: Session) -> str:
    view = session.look(LookDigest())[0]
    assert isinstance(view, Digest)
    return view.digest


def test_after_the_fact_a_node_shows_what_it_was_passed(session: Session) -> None:
    do(session, "load mlp seed=0; forward; into backward; until node.number == 7; into")
    seen = node(session, LookNode())
    do(session, "out phase")
    before = digest(session)
    again = node(session, LookNode(7))
    assert again.arrives[0] is not None
    assert again.arrives == seen.arrives
    assert [edge.leaves for edge in again.edges] == [edge.leaves for edge in seen.edges]
    assert again.exact
    assert digest(session) == before


@pytest.mark.parametrize("name", ["cnn", "gpt", "deep"])
def test_looking_back_changes_nothing(session: Session, name: str) -> None:
    do(session, f"load {name} seed=0; forward; backward; zero_grad set_to_none=false; next_batch; forward; backward")
    before = digest(session)
    assert node(session, LookNode(3)).arrives
    assert digest(session) == before
    do(session, "step")
    after = digest(session)
    assert node(session, LookNode(3)).arrives, "the weights of before the step are known"
    assert digest(session) == after


def test_what_can_not_be_seen_is_said(session: Session) -> None:
    do(session, "load mlp seed=0")
    assert "f runs forward" in node(session, LookNode(3)).note
    do(session, "forward")
    assert "its last one is #11" in node(session, LookNode(99)).note
    do(session, "into backward; over")
    assert "not run yet" in node(session, LookNode(9)).note
    do(session, "out phase; step; next_batch; step")
    assert "weights of that forward are gone" in node(session, LookNode(3)).note


def test_the_chain_leads_from_the_loss_to_the_node(session: Session) -> None:
    do(session, "load mlp seed=0; forward; backward")
    view = session.look(LookChain(8))[0]
    assert isinstance(view, ChainView)
    assert [link.name for link in view.chain.links] == [
        "SumBackward0",
        "PowBackward0",
        "SubBackward0",
        "AddmmBackward0",
        "ReluBackward0",
        "AddmmBackward0",
    ]
    assert view.chain.links[0].norm == 1.0


def test_each_time_step_gives_its_share_of_the_gradient_of_an_rnn(session: Session) -> None:
    do(session, "load rnn seed=0; forward; backward")
    view = met(session, LookContributions(parameter="cell.weight_hh"))
    assert [(row.call, row.calls) for row in view.rows] == [(16 - i, 16) for i in range(16)]
    assert view.exact
    assert sum(row.share or 0.0 for row in view.rows) == pytest.approx(1, abs=1e-6)
    do(session, "let g = cell.weight_hh.grad")
    outcome = session.execute(parse_line("print norm(g)")[0].command)  # type: ignore[union-attr]
    assert view.norm == pytest.approx(float(outcome.text), rel=1e-5)


def test_a_residual_connection_lists_both_ways(session: Session) -> None:
    do(session, "load gpt seed=0; forward; into backward")
    joined: list[ContributionsView] = []
    for _ in range(2 * 53):
        view = met(session, LookContributions())
        if len(view.rows) > 1:
            joined.append(view)
        if session.execute(parse_line("over")[0].command).stop.position is None:  # type: ignore[union-attr]
            break
    assert joined
    assert all(view.exact for view in joined)
    assert {row.name for view in joined for row in view.rows} >= {"AddBackward0"}


def test_where_nothing_meets_it_is_said(session: Session) -> None:
    do(session, "load mlp seed=0; forward; backward")
    assert "nothing is added to it" in met(session, LookContributions(7)).note
    assert "does not lead to" in met(session, LookContributions(parameter="nothing")).note
    assert torch.is_grad_enabled()
