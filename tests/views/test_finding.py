"""Finding by parts of names: in the model and in the graph."""

from __future__ import annotations

import pytest
import torch

from gradstep.session.local import Session
from gradstep.values.commands import Forward, Load
from gradstep.values.views.search import FoundView, Hit, LookFind
from gradstep.workload import Workload


@pytest.fixture
def session() -> Session:
    session = Session()
    assert session.execute(Load("mlp", seed=0)).ok
    return session


def find(session: Session, text: str, limit: int = 100) -> FoundView:
    view = session.look(LookFind(text, limit))[0]
    assert isinstance(view, FoundView)
    return view


def test_modules_parameters_and_buffers_are_found_by_name_and_kind(session: Session) -> None:
    assert find(session, "LINEAR").hits == (Hit("module", "0", "Linear", "0"), Hit("module", "2", "Linear", "2"))
    assert [hit.name for hit in find(session, "weight").hits] == ["0.weight", "2.weight"]
    assert find(session, "2.weight").hits == (Hit("parameter", "2.weight", "10×256", "2.weight", "2.weight"),)
    assert [hit.name for hit in find(session, "bias 2.").hits] == ["2.bias"]
    assert [hit.name for hit in find(session, "parameter").hits] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert find(session, "  ").hits == ()
    assert find(session, "nonsense").total == 0


def test_the_best_fit_comes_first() -> None:
    model = torch.nn.Sequential()
    for name in ("my_head", "body", "head", "header"):
        model.add_module(name, torch.nn.Identity())
    model.register_buffer("a_head", torch.zeros(1))
    x = torch.ones(2, requires_grad=True)
    workload = Workload(
        model=model,
        loss=lambda out, target: out.sum(),
        optimizer=lambda p: torch.optim.SGD([x], lr=0.1),
        batches=[(torch.ones(2), torch.ones(2))],
    )
    names = [hit.name for hit in find(Session(workload), "head").hits]
    assert names == ["head", "header", "my_head", "a_head"]


def test_nodes_are_found_by_name_operation_owner_and_number(session: Session) -> None:
    assert find(session, "addmm").hits == ()
    session.execute(Forward())
    addmm = find(session, "addmm").hits
    assert [hit.about for hit in addmm] == ["b + x Wᵀ  2", "b + x Wᵀ  0"]
    assert all(hit.name == f"#{hit.order} AddmmBackward0" for hit in addmm)
    assert {hit.kind for hit in find(session, "relu").hits} == {"module", "node"}
    leaf = find(session, "accumulategrad 2.bias").hits
    assert [(hit.about, hit.shows) for hit in leaf] == [("2.bias.grad", "2.bias")]
    assert find(session, f"#{leaf[0].order}").hits[0] == leaf[0]


def test_a_new_graph_is_searched_anew(session: Session) -> None:
    session.execute(Forward())
    first = find(session, "sum").hits
    session.execute(Load("xor", seed=0))
    session.execute(Forward())
    assert first
    assert find(session, "sum").hits != first


def test_no_more_are_returned_than_asked_for_and_all_are_counted() -> None:
    def loss(out: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        for _ in range(50):
            out = torch.tanh(out)
        return out.sum()

    session = Session(
        Workload(
            model=torch.nn.Linear(2, 2),
            loss=loss,
            optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
            batches=[(torch.ones(1, 2), torch.ones(1, 2))],
        )
    )
    session.forward()
    found = find(session, "tanh", limit=7)
    assert (len(found.hits), found.total) == (7, 50)
    assert [hit.order for hit in found.hits] == [*range(1, 8)]
    assert find(session, "#1").hits[0].order == 1
