"""What a script trains, copied into a held workload, and the script going on as if nothing had been."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from scripting import phases, stepped
from torch import Tensor, nn
from torch.nn import functional as F

from gradstep.values import commands as cmd


def loop(weights: list[Tensor], body: Callable[..., Tensor], model: Callable[[], nn.Module]) -> Callable[[], None]:
    """Return a training loop with this loss."""

    def train() -> None:
        torch.manual_seed(0)
        net = model()
        opt = torch.optim.Adam(net.parameters(), lr=0.05)
        x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
        for _ in range(4):
            opt.zero_grad()
            loss = body(net, x, y)
            loss.backward()
            opt.step()
        weights[:] = [p.detach().clone() for p in net.parameters()]

    return train


def mlp() -> nn.Module:
    """Return a model with a buffer, and one that draws random numbers."""
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def plain(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """One module call and a function of the output."""
    return F.cross_entropy(net(x), y)


def twice(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Two calls of the model, arithmetic between, and an in-place write of a given tensor."""
    noise = torch.zeros_like(x)
    noise += 0.5
    first, second = net(x), net(x + noise)
    return nn.CrossEntropyLoss()(first, y) + 0.1 * (first - second).pow(2).mean()


@pytest.mark.parametrize("body", [plain, twice])
def test_a_held_copy_gives_the_same_loss_and_travels_while_the_script_stands(body: Callable[..., Tensor]) -> None:
    alone: list[Tensor] = []
    watched: list[Tensor] = []
    loop(alone, body, mlp)()
    with stepped(loop(watched, body, mlp)) as session:
        session.execute(cmd.Step())
        stop = session.execute(cmd.Forward()).stop
        held = session.execute(cmd.Hold())
        assert held.ok
        assert "bit for bit" in held.text
        assert not held.stop.script
        for act in (cmd.Forward(), cmd.Backward(), cmd.Step(), cmd.Forward()):
            assert session.execute(act).ok
        later = session.stop.loss
        assert session.execute(cmd.Undo(4)).ok
        for act in (cmd.Forward(), cmd.Backward(), cmd.Step(), cmd.Forward()):
            assert session.execute(act).ok
        assert session.stop.loss == later
        back = session.execute(cmd.Release())
        assert back.stop.script
        assert back.stop.loss == stop.loss
        phases(session)
    assert all(torch.equal(a, b) for a, b in zip(alone, watched, strict=True))


def test_what_cannot_be_held_is_said() -> None:
    with stepped(loop([], plain, mlp)) as session:
        problem = session.execute(cmd.Hold()).problem
        assert problem is not None
        assert "no forward" in problem.title
        assert not session.execute(cmd.Release()).ok
        session.execute(cmd.Forward())
        assert session.execute(cmd.Backward()).ok
