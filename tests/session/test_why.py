"""`why X.grad` in a session: the answer does not depend on how the session reached the stop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.values.views import Digest, LookDigest, LookWhy, WhyView
from gradstep.workload import Workload


class Draws(nn.Module):
    """Detaches its hidden state, and draws which of two ways it goes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.norm(self.first(x))
        if torch.rand(()) < 0.5:
            hidden = hidden.tanh()
            return self.second(hidden.detach()) * 2  # type: ignore[no-any-return]
        return self.second(hidden.detach())  # type: ignore[no-any-return]


def session(history: int = 1 << 30) -> Session:
    torch.manual_seed(0)
    batches = [(torch.randn(5, 4), torch.randn(5, 1)) for _ in range(3)]
    workload = Workload(
        model=Draws(), loss=nn.MSELoss(), optimizer=lambda p: torch.optim.SGD(p, lr=0.1), batches=batches
    )
    return Session(workload, seed=0, history=history)


def do(session: Session, text: str) -> str:
    outcomes = [session.execute(statement.command) for statement in parse_line(text)]  # type: ignore[union-attr]
    assert all(outcome.ok for outcome in outcomes), outcomes
    return outcomes[-1].text


def why(session: Session) -> str:
    """Return the answer, and see that asking for it changes nothing."""
    before = session.look(LookDigest())
    text = do(session, "why first.weight.grad")
    assert session.look(LookDigest()) == before
    assert isinstance(before[0], Digest)
    return text


@pytest.mark.parametrize(
    "way",
    [
        "undo; redo",
        "step; undo",
        "step; zero_grad; next_batch; goto 3",
        "step; zero_grad; goto 1; goto 3",
        "undo; backward",
        "step",
        "step; step",
        "step; zero_grad; next_batch",
        "step; forward; backward; undo 3",
    ],
)
def test_the_answer_does_not_depend_on_how_the_stop_was_reached(way: str) -> None:
    asked = session()
    do(asked, "forward; backward")
    plain = why(asked)
    assert "ends at torch.Tensor.detach at test_why.py:" in plain
    do(asked, way)
    assert why(asked) == plain


def test_without_a_history_it_is_the_same() -> None:
    asked = session(history=0)
    do(asked, "forward; backward; step")
    assert "ends at torch.Tensor.detach at test_why.py:" in why(asked)


def forgot(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """A loss with a term that trains nothing."""
    output = model(batch[0])
    return nn.functional.mse_loss(output, batch[1]) + 0.1 * output.detach().square().mean()


def test_a_term_without_a_graph_is_named_at_every_stop_and_nothing_runs_inside_a_phase() -> None:
    ran: list[int] = []

    def compute_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        ran.append(1)
        return forgot(model, batch)

    torch.manual_seed(0)
    batches = [(torch.randn(5, 4), torch.randn(5, 1))]
    workload = Workload(
        model=nn.Linear(4, 1),
        compute_loss=compute_loss,
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
        batches=batches,
    )
    asked = Session(workload)
    do(asked, "forward")
    (view,) = asked.look(LookWhy())
    assert isinstance(view, WhyView)
    assert "A term of the loss has no graph and trains nothing" in view.sentence
    do(asked, "step; undo")
    (again,) = asked.look(LookWhy())
    assert isinstance(again, WhyView)
    assert again.sentence == view.sentence
    do(asked, "into backward")
    before = len(ran)
    assert isinstance(asked.look(LookWhy(), at=2)[0], WhyView)
    assert len(ran) == before
