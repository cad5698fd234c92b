"""`check`: derivatives against finite differences, as a command, a method of the session and a key of Jᵀ v."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gradstep
from gradstep.session.local import Session
from gradstep.values.views.node import LookNode, NodeView


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g * 3


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 2), nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(Doubled.apply(self.first(x)))  # type: ignore[no-any-return]


@pytest.fixture
def session() -> Iterator[Session]:
    torch.manual_seed(0)
    made = gradstep.Session(
        gradstep.Workload(
            model=Net(),
            loss=nn.functional.mse_loss,
            optimizer=lambda p: torch.optim.SGD(p, 0.1),
            batches=[(torch.randn(4, 3), torch.randn(4, 1))],
        )
    )
    yield made
    made.close()


WRONG = (
    "backward of Doubled DISAGREES with finite differences: at ∂ output[0, 0] / ∂ x[0, 0] by 1: "
    "autograd gives 3, differences give 2"
)


def test_bare_it_checks_every_custom_function_also_after_the_backward(session: Session) -> None:
    for lines in ("forward; check", "backward; check"):
        outcome = session.run(lines)
        assert outcome.problem is None
        first, second = outcome.text.splitlines()
        assert first == f"#5 DoubledBackward: {WRONG}; 8 of all 64 elements of J differ"
        assert second.startswith("#5 DoubledBackward: double backward of Doubled agrees")


def test_at_a_node_it_is_about_that_one_and_a_name_or_number_chooses(session: Session) -> None:
    session.run("forward; into backward")
    assert session.check().text.startswith("#0 MseLossBackward0: J agrees with finite differences: all 4 elements of J")
    session.run("break node Doubled*; continue")
    assert WRONG in session.check().text
    assert [line.split(":")[0] for line in session.check("addmm").text.splitlines()] == [
        "#1 AddmmBackward0, input 0",
        "#1 AddmmBackward0, input 1",
        "#1 AddmmBackward0, input 2",
        "#6 AddmmBackward0, input 0",
        "#6 AddmmBackward0, input 2",
    ]
    assert WRONG in session.run("check #5").text


def test_the_jacobian_panel_says_the_same_though_running_it_was_not_asked_for(session: Session) -> None:
    session.run("forward; break node Doubled*; backward")
    view = session.look(LookNode(check=True))[0]
    assert isinstance(view, NodeView)
    assert view.matrix is not None
    assert view.matrix.agrees is False
    assert view.matrix.check.splitlines()[0].startswith(WRONG)
    assert view.matrix.note == "a custom Function: its backward runs again only on request"
    session.run("out phase")
    (after,) = session.look(LookNode(5, check=True))
    assert isinstance(after, NodeView)
    assert after.matrix is not None
    assert after.matrix.check == view.matrix.check


@pytest.mark.parametrize(
    ("lines", "title"),
    [
        ("check", "there is no graph to check"),
        ("forward; check Rellu", "no node is called `Rellu`"),
        ("forward; check #99", "there is no node #99"),
        ("load mlp seed=0; forward; check", "the graph has no custom Function"),
    ],
)
def test_what_can_not_be_checked_says_so(session: Session, lines: str, title: str) -> None:
    outcome = session.run(lines)
    assert outcome.problem is not None
    assert outcome.problem.title == title
    assert outcome.problem.remedy
