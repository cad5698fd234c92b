"""A buffer that a forward registers is not restored by undo; a message says so once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.values.outcomes import Outcome
from gradstep.workload import Workload


class Late(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.register_buffer("early", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        if "late" not in self._buffers:
            self.register_buffer("late", torch.ones(1))
        return self.layer(x)


def session_of(model: nn.Module) -> Session:
    x = torch.ones(2, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return Session(Workload(model=model, loss=nn.functional.mse_loss, optimizer=optimizer, batches=[(x, x[:, :1])]))


def do(session: Session, text: str) -> Outcome:
    outcomes = [session.execute(statement.command) for statement in parse_line(text)]  # type: ignore[union-attr]
    return outcomes[-1]


def test_a_buffer_that_a_forward_registers_is_named_once() -> None:
    session = session_of(nn.Sequential(Late()))
    assert "0.late: a buffer registered during training" in do(session, "forward").text
    assert "late" not in do(session, "forward").text
    session.close()


def test_those_that_were_there_are_not() -> None:
    session = session_of(nn.Sequential(nn.Linear(4, 1), nn.BatchNorm1d(1)))
    assert do(session, "forward").text == ""
    session.close()
