"""`break nan` stops at the very op or node that makes the first NaN or inf, wherever that is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from holding import B, F, hold, run
from torch import Tensor, nn

from gradstep.engine.held import Held
from gradstep.engine.stepping.breakpoints import Breakpoints
from gradstep.engine.stepping.stepper import Stepping
from gradstep.values.commands import Backward, Break, Forward
from gradstep.values.inside import Position

INF = float("inf")


class Planted(nn.Module):
    """Two layers with something between them."""

    def __init__(self, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.between = nn.Linear(4, 4), nn.Linear(4, 2), between

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        return self.second(self.between(hidden))  # type: ignore[no-any-return]


def planted(between: Callable[[Tensor], Tensor]) -> Held:
    torch.manual_seed(0)
    return hold(Planted(between))


def found(held: Held, act: Forward | Backward) -> tuple[Position, str]:
    """Return where the phase stops for a NaN; it must."""
    points = Breakpoints()
    points.add(Break("nan"), held)
    phase = Stepping(held, act, points, lambda _: True, str)
    assert phase.go("continue")
    position = phase.position
    assert position is not None
    phase.abandon()
    return position, phase.reason


FORWARD: dict[str, tuple[Callable[[Tensor], Tensor], str, str]] = {
    "log": (lambda x: (-x.abs() - 1).log(), "torch.Tensor.log", "nan"),
    "sqrt": (lambda x: (x - 100).sqrt(), "torch.Tensor.sqrt", "nan"),
    "overflow": (lambda x: (x + 1000).exp(), "torch.Tensor.exp", "inf"),
    "division": (lambda x: x / torch.zeros(4), "torch.Tensor.div", "inf"),
    "inf minus inf": (lambda x: (x * 0 + 3e38) * 10 - 1, "torch.Tensor.mul", "inf"),
    "masked softmax": (lambda x: torch.softmax(x.masked_fill(x == x, -INF), 1), "torch.Tensor.masked_fill", "inf"),
    "in place": (lambda x: x.clone().sub_(100).log_(), "torch.Tensor.log_", "nan"),
}


@pytest.mark.parametrize("name", FORWARD)
def test_the_op_of_a_forward_is_found(name: str) -> None:
    between, op, bad = FORWARD[name]
    position, reason = found(planted(between), F)
    assert (position.phase, position.kind, position.name) == ("forward", "op", op)
    assert reason == f"breakpoint 1: {op} makes {bad} of finite numbers"
    assert position.source.file.endswith("test_nans.py")


def test_a_nan_that_came_in_is_not_blamed_on_the_op() -> None:
    held = planted(lambda x: x)
    weight = held.tensor("second.weight")
    assert weight is not None
    weight.data[0, 1] = float("nan")
    position, reason = found(held, F)
    assert position.path == "second"
    assert "gives nan: nan came in with op.in[1]" in reason


def test_what_only_passes_a_nan_on_stops_nothing_but_another_one_does() -> None:
    def between(x: Tensor) -> Tensor:
        bad = (-x.abs() - 1).log() * 2 + 1
        return bad + (x * 0).log()

    held, points, stops = planted(between), Breakpoints(), []
    points.add(Break("nan"), held)
    for act in (F, B):
        phase = Stepping(held, act, points, lambda _: True, str)
        while phase.go("continue"):
            stops.append(phase.reason)
    assert stops == [
        "breakpoint 1: torch.Tensor.log makes nan of finite numbers",
        "breakpoint 1: torch.Tensor.log makes inf of finite numbers",
        "breakpoint 1: #0 MseLossBackward0 gives nan: nan came in with self, which it saved",
    ]


BACKWARD: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "sqrt at 0": (lambda x: (x * 0).sqrt(), "SqrtBackward0"),
    "where": (lambda x: torch.where(x > 100, (x - 100).abs().add(1).log(), (x * 0).pow(0.5)), "PowBackward0"),
    "norm over 0": (lambda x: x * (x.detach() * 0 + x * 0).abs().pow(0.25), "PowBackward0"),
}


@pytest.mark.parametrize("name", BACKWARD)
def test_the_node_of_a_backward_is_found(name: str) -> None:
    between, node = BACKWARD[name]
    held = run(planted(between), F)
    loss = held.point.value
    assert loss is not None
    assert loss - loss == 0, "the forward is finite: nobody could see it there"
    position, reason = found(held, B)
    assert (position.phase, position.edge, position.name) == ("backward", "after", node)
    assert "of finite numbers" in reason


def vmapped(x: Tensor) -> Tensor:
    return torch.vmap(lambda row: (row * 0).log())(x)


def test_a_nan_is_found_where_a_vmap_runs_and_in_what_is_sparse() -> None:
    position, reason = found(planted(vmapped), F)
    assert (position.name, reason) == ("torch.Tensor.log", "breakpoint 1: torch.Tensor.log makes inf of finite numbers")
    bad = torch.tensor([[1.0, 0.0, 0.0], [0.0, INF, 0.0], [0.0, 0.0, 1.0]]).to_sparse()
    _, reason = found(planted(lambda x: torch.sparse.mm(bad, x)), F)
    assert "inf came in with op.in[0]" in reason


def test_what_can_not_be_read_fails_no_phase() -> None:
    points = Breakpoints()
    nested = torch.nested.nested_tensor([torch.ones(1, 4), torch.ones(2, 4)], layout=torch.jagged)
    held = planted(lambda x: torch.vmap(lambda row: row.tanh())(x) + (nested * x[0, 0]).values().sum())
    points.add(Break("nan"), held)
    for act in (F, B):
        phase = Stepping(held, act, points, lambda _: True, str)
        while phase.go("into"):
            phase.looked = True
    assert held.point.phase == "backward"


def test_the_loss_function_is_looked_into() -> None:
    torch.manual_seed(0)
    held = hold(nn.Linear(4, 2), loss=lambda output, target: (output - 100).log().sum() + target.sum())
    position, _ = found(held, F)
    assert (position.name, position.stack) == ("torch.Tensor.log", ())


def test_finite_phases_are_not_stopped() -> None:
    held = planted(lambda x: x.relu())
    points = Breakpoints()
    points.add(Break("nan"), held)
    for act in (F, B):
        assert not Stepping(held, act, points, lambda _: True, str).go("continue")
