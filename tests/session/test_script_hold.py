"""What a script trains, copied into a held workload, and the script going on as if nothing had been."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from scripting import phases, stepped
from torch import Tensor, nn
from torch.nn import functional as F

from gradstep.values import commands as cmd

RUN_ON = cmd.Continue()


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


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ((), "The last forward was not recorded: the script ran on to the end of the next one."),
        ((RUN_ON,), "The last forward was not recorded: the script ran on to the end of the next one."),
        ((cmd.Into(), cmd.Into()), "The forward had not ended: the script ran on to its end."),
        (
            (cmd.Forward(), cmd.Into(), cmd.Into()),
            "The backward had not ended: the script ran on to its end.",
        ),
    ],
)
def test_where_no_forward_has_just_ended_the_script_runs_on_to_hold(way: Sequence[cmd.Command], said: str) -> None:
    alone: list[Tensor] = []
    watched: list[Tensor] = []
    loop(alone, plain, mlp)()
    with stepped(loop(watched, plain, mlp)) as session:
        session.execute(cmd.Break("iteration", "2"))
        for command in way:
            assert session.execute(command).ok
        held = session.execute(cmd.Hold())
        assert held.text.startswith(said)
        assert "bit for bit" in held.text
        loss = session.execute(cmd.Release()).stop.loss
        session.execute(cmd.Hold())
        assert session.execute(cmd.Forward()).stop.loss == loss
        session.execute(cmd.Release())
        phases(session)
    assert all(torch.equal(a, b) for a, b in zip(alone, watched, strict=True))


def test_a_breakpoint_or_the_end_of_the_script_on_the_way_is_said() -> None:
    with stepped(loop([], plain, mlp)) as session:
        session.execute(cmd.Break("module", "0", "enter"))
        stopped = session.execute(cmd.Hold()).problem
        assert stopped is not None
        assert stopped.what.endswith("Before the end of the next one: breakpoint 1")
        assert session.execute(cmd.Hold()).ok
        session.execute(cmd.Release())
        session.execute(cmd.Delete())
        session.execute(cmd.Break("iteration", "3"))
        session.execute(cmd.Continue())
        session.execute(cmd.Step())
        session.execute(cmd.Continue())
        ended = session.execute(cmd.Hold()).problem
        assert ended is not None
        assert session.ended is not None


def test_without_an_optimizer_or_a_copy_it_is_refused() -> None:
    def train() -> None:
        nn.Linear(2, 1)(torch.ones(1, 2)).sum().backward()

    with stepped(train) as session:
        problem = session.execute(cmd.Hold()).problem
        assert problem is not None
        assert problem.title == "there is no optimizer to hold"
        assert not session.execute(cmd.Release()).ok
        assert session.execute(cmd.Backward()).ok
