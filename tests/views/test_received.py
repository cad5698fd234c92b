"""What nodes are passed: at a stop, after the fact, and where several gradients meet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.values.views import Digest, LookDigest, Request
from gradstep.values.views.contributions import ContributionsView, LookContributions
from gradstep.values.views.graph import GraphView
from gradstep.values.views.node import ChainView, LookChain, LookNode, NodeView
from gradstep.workload import Workload


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


def test_a_rerun_for_a_node_ends_once_the_node_has_run() -> None:
    reached: list[str] = []

    def loss(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        hidden = model[0](x)
        hidden.register_hook(lambda _: reached.append("hidden"))
        out = model[1](hidden)
        out.register_hook(lambda _: reached.append("out"))
        return out.sum()

    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 2))
    session = Session(
        Workload(model, compute_loss=loss, optimizer=lambda p: torch.optim.SGD(p, lr=0.1), batches=[torch.ones(4, 2)])
    )
    do(session, "forward; backward")
    reached.clear()
    (view,) = session.look(LookNode(1))
    assert isinstance(view, NodeView)
    assert (view.when, view.exact, reached) == ("after", True, ["out"])


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
    assert "run `forward`" in node(session, LookNode(3)).note
    do(session, "forward")
    assert "its last one is #11" in node(session, LookNode(99)).note
    do(session, "into backward; over")
    assert "not run yet" in node(session, LookNode(9)).note
    do(session, "out phase; step; next_batch; step")
    assert node(session, LookNode(3)).arrives, "the history has the weights of that forward"


def test_without_a_history_the_weights_before_two_steps_are_not_known() -> None:
    session = Session(history=0)
    do(session, "load mlp seed=0; forward; backward; step")
    assert node(session, LookNode(3)).arrives
    do(session, "next_batch; step")
    assert "a step has changed the weights since" in node(session, LookNode(3)).note


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
    view = met(session, LookContributions(path="cell.weight_hh"))
    assert [(row.call, row.calls) for row in view.rows] == [(16 - i, 16) for i in range(16)]
    assert view.exact
    assert sum(row.share or 0.0 for row in view.rows) == pytest.approx(1, abs=1e-6)
    do(session, "let g = cell.weight_hh.grad")
    outcome = session.execute(parse_line("print norm(g)")[0].command)  # type: ignore[union-attr]
    assert [total.norm for total in view.totals] == [pytest.approx(float(outcome.text), rel=1e-5)]


def test_a_residual_connection_lists_both_ways(session: Session) -> None:
    do(session, "load gpt seed=0; forward; into backward")
    joined: list[ContributionsView] = []
    for _ in range(2 * 53):
        view = met(session, LookContributions())
        if view.count > 1:
            joined.append(view)
        if session.execute(parse_line("over")[0].command).stop.position is None:  # type: ignore[union-attr]
            break
    assert joined
    assert all(view.exact for view in joined)
    assert {row.name for view in joined for row in view.rows} >= {"AddBackward0"}


def test_where_one_gradient_arrives_it_is_all_there_is(session: Session) -> None:
    do(session, "load mlp seed=0; forward; backward")
    view = met(session, LookContributions(path="0.weight"))
    (row,), (total,) = view.rows, view.totals
    assert (view.parameter, view.grad, view.count) == ("0.weight", "fresh", 1)
    assert (row.operation, row.share) == ("Wᵀ", pytest.approx(1.0))
    assert (row.norm, row.shape) == (total.norm, total.shape)
    do(session, "forward; backward")
    assert ".grad is x2" in met(session, LookContributions(path="0.weight")).facts[0]


def test_a_grad_that_was_changed_since_is_said(session: Session) -> None:
    do(session, "load mlp seed=0; forward; backward")
    assert met(session, LookContributions(path="0.weight")).note == ""
    do(session, "set 0.weight.grad[0, 0] = 1")
    assert ".grad is not this sum" in met(session, LookContributions(path="0.weight")).note


@pytest.mark.parametrize("name", ["cnn", "deep", "gpt", "hot", "linear", "rnn", "xor"])
def test_what_a_parameter_was_given_is_its_fresh_grad(session: Session, name: str) -> None:
    do(session, f"load {name} seed=0; forward; backward")
    for parameter, _ in session._inspector.held.parameters:  # type: ignore[union-attr]
        view = met(session, LookContributions(path=parameter, count=1))
        assert (view.parameter, view.grad, view.exact, view.note) == (parameter, "fresh", True, "")


def test_a_module_stands_for_the_node_that_made_its_output(session: Session) -> None:
    do(session, "load mlp seed=0; forward; backward")
    assert met(session, LookContributions(path="1")).name == "ReluBackward0"
    assert met(session, LookContributions(path="2")).name == "AddmmBackward0"


def test_a_window_of_the_rows_by_share(session: Session) -> None:
    do(session, "load rnn seed=0; forward; backward")
    every = met(session, LookContributions(path="cell.weight_hh")).rows
    view = met(session, LookContributions(path="cell.weight_hh", first=2, count=3, by="share"))
    ordered = sorted(every, key=lambda row: -abs(row.share or 0.0))
    assert (view.first, view.count, view.rows) == (2, 16, tuple(ordered[2:5]))
    assert view.greatest == abs(ordered[0].share or 0.0)
    assert met(session, LookContributions(path="cell.weight_hh", first=99, count=3)).rows == every[-3:]


class Halves(torch.nn.Module):
    """Makes three parts at once, one of them used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = torch.nn.Linear(4, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, two, three = self.wide(x).unbind(1)[:3]
        return one * one + one * two + three


def made(model: torch.nn.Module) -> Workload:
    x = torch.arange(8.0).reshape(2, 4) / 8
    loss = lambda y, _: y.sum()  # noqa: E731
    return Workload(model, loss, torch.optim.SGD(model.parameters(), lr=0.1), [(x, x)])


def test_of_several_outputs_each_has_a_sum_of_its_own() -> None:
    torch.manual_seed(0)
    session = Session(made(Halves()))
    do(session, "forward; backward")
    graph = session.graph()
    assert isinstance(graph, GraphView)
    number = next(row.order for row in graph.rows if row.name == "UnbindBackward0")
    view = met(session, LookContributions(number))
    assert [(total.output, total.count) for total in view.totals] == [(0, 3), (1, 1), (2, 1)]
    assert [row.output for row in view.rows] == [0, 0, 0, 1, 2]
    assert view.exact
    for output in range(3):
        assert sum(row.share or 0.0 for row in view.rows if row.output == output) == pytest.approx(1.0)
    session.close()


def test_a_hook_that_changes_the_sum_is_said() -> None:
    class Hooked(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fit = torch.nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.fit(x)
            y.register_hook(lambda grad: 2 * grad)
            return y + y.relu()

    session = Session(made(Hooked()))
    do(session, "forward; backward")
    view = met(session, LookContributions(path="fit"))
    assert (view.count, view.exact) == (2, False)
    assert "a hook changed the sum" in view.facts[0]
    session.close()


def test_the_view_draws_itself_by_name() -> None:
    session = Session()
    do(session, "load rnn seed=0; forward; backward")
    drawn = repr(session.contributions("cell.weight_hh", count=2, by="share"))
    assert "cell.weight_hh.grad, fresh: 16 gradients meet, largest share first" in drawn
    assert "sum of 16" in drawn
    assert "bit-equal" in drawn
    assert "rows 0 to 1 of 16" in drawn
    page = session.contributions("cell.weight_hh")._repr_html_()  # type: ignore[union-attr]
    assert page.count("<tr") == 18, "a head, 16 time steps and their sum"
    session.close()


def test_what_there_is_not_is_said(session: Session) -> None:
    assert "run `forward`" in _note(session, "load mlp seed=0", LookContributions(3))
    assert "run `backward`, or step into it with `into`" in _note(session, "forward", LookContributions(3))
    assert "backward starts here" in _note(session, "backward", LookContributions(0))
    assert "has no operation of nothing" in _note(session, "print 1", LookContributions(path="nothing"))
    assert torch.is_grad_enabled()


def _note(session: Session, text: str, request: LookContributions) -> str:
    do(session, text)
    return met(session, request).note
