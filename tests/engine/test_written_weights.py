"""A forward that writes weights is rolled back when it raises, and its writes are shown when it does not."""

from __future__ import annotations

import pytest
import torch

from gradstep.session.local import Session
from gradstep.values.views import LookDigest, LookWhy
from gradstep.workload import Workload


class Writing(torch.nn.Module):
    """Adds 1 to its weight in every forward, and raises on request."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.fails = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            self.weight.add_(1)
        if self.fails:
            raise ValueError("as told")
        return x * self.weight


def session_of(model: torch.nn.Module) -> Session:
    batches = [(torch.ones(3), torch.zeros(3))]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Session(Workload(model, lambda out, target: (out - target).pow(2).sum(), optimizer, batches))


def test_weights_that_a_failed_forward_wrote_are_put_back() -> None:
    model = Writing()
    session = session_of(model)
    assert session.forward().ok
    assert model.weight.tolist() == [2, 2, 2]
    model.fails = True
    digest = session.look(LookDigest())[0]
    outcome = session.forward()
    assert outcome.problem is not None
    assert outcome.problem.kind == "raised"
    assert model.weight.tolist() == [2, 2, 2]
    assert session.look(LookDigest())[0] == digest
    assert session.backward().ok, "the graph of the forward that went through still runs"


def test_a_forward_that_writes_weights_says_so() -> None:
    session = session_of(Writing())
    changes = session.forward().changes
    assert changes is not None
    assert [row.name for row in changes.rows] == ["weight"]


def test_a_hook_on_torchs_own_module_is_undone_too() -> None:
    model = torch.nn.Linear(3, 3)
    session = session_of(model)
    before = model.weight.detach().clone()

    def write(module: torch.nn.Module, _: object) -> None:
        with torch.no_grad():
            model.weight.zero_()
        raise ValueError("as told")

    model.register_forward_pre_hook(write)
    assert session.forward().problem is not None
    assert torch.equal(model.weight, before)


@pytest.mark.parametrize("weight", [1.0, 0.0])
def test_the_sentence_of_an_ordinary_forward_is_about_no_weight(weight: float) -> None:
    model = torch.nn.Linear(3, 3)
    torch.nn.init.constant_(model.weight, weight)
    session = session_of(model)
    session.forward()
    assert "No weight" in session.look(LookWhy())[0].sentence


def test_an_unobserved_session_computes_the_same_and_keeps_nothing() -> None:
    """A replay without views gives the same bits, and saves nothing."""
    digests = []
    for observed in (True, False):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.5))
        session = Session(
            Workload(
                model,
                lambda out, target: (out - target).pow(2).sum(),
                torch.optim.AdamW(model.parameters(), lr=0.1),
                [(torch.randn(5, 3), torch.randn(5, 4))],
            )
        )
        session.observe(observed)
        for _ in range(5):
            for act in (session.forward, session.backward, session.step, session.zero_grad):
                outcome = act()
                assert outcome.ok
                assert outcome.changes is not None
                assert observed or not outcome.changes.rows
        digests.append(session.look(LookDigest())[0])
    assert digests[0] == digests[1]
