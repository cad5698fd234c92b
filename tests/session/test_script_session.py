"""A script's loop, stepped phase by phase and inside, with the results of running it alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from scripting import phases, stepped
from torch import Tensor, nn
from torch.nn import functional as F

from gradstep.values import commands as cmd
from gradstep.values.expressions import Name
from gradstep.values.views import LookModel, ModelView


def plain(weights: list[Tensor], count: int = 3) -> Callable[[], None]:
    """Return a loop as most scripts have it; it leaves its weights in `weights`."""

    def train() -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        opt = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        x, y = torch.randn(16, 4), torch.randint(0, 3, (16,))
        for _ in range(count):
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            opt.step()
        weights[:] = [p.detach().clone() for p in net.parameters()]

    return train


def test_it_stops_after_each_phase_and_ends_with_the_weights_of_a_run_alone() -> None:
    alone: list[Tensor] = []
    watched: list[Tensor] = []
    plain(alone)()
    with stepped(plain(watched)) as session:
        found = [(each.stop.phase, each.stop.iteration) for each in phases(session)]
    once = ["forward", "backward", "step", "zero_grad"]
    assert [name for name, _ in found] == [*once, *once, "forward", "backward", "step", "step"]
    assert all(torch.equal(a, b) for a, b in zip(alone, watched, strict=True))


def test_inside_a_phase_it_stops_at_modules_ops_and_nodes() -> None:
    alone: list[Tensor] = []
    watched: list[Tensor] = []
    plain(alone)()
    with stepped(plain(watched)) as session:
        session.execute(cmd.ZeroGrad())
        kinds = []
        for _ in range(20):
            stop = session.execute(cmd.Into()).stop
            if stop.position is not None:
                kinds.append((stop.position.phase, stop.position.kind))
        phases(session)
    assert ("forward", "module") in kinds
    assert ("forward", "op") in kinds
    assert ("backward", "node") in kinds
    assert all(torch.equal(a, b) for a, b in zip(alone, watched, strict=True))


def test_the_model_is_named_as_its_state_dict_is() -> None:
    with stepped(plain([])) as session:
        (view,) = session.look(LookModel())
        session.execute(cmd.Forward())
        assert isinstance(view, ModelView)
        assert {"0.weight", "0.bias", "2.weight", "2.bias"} <= {row.path for row in view.rows}
        assert session.execute(cmd.Print(Name("iteration"))).text == "0"
