"""`break nan` stops at the very op or node that makes a NaN or overflows, wherever that is, and at no mask."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from holding import B, F, hold, run
from running import runner_of
from torch import Tensor, nn

from gradstep.engine.held import Held
from gradstep.engine.stepping.breakpoints import Breakpoints
from gradstep.engine.stepping.stepper import Stepping
from gradstep.values.commands import Backward, Break, BreakKind, Forward
from gradstep.values.views.inside import Position

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


def found(held: Held, act: Forward | Backward, kind: BreakKind = "nan") -> tuple[Position, str]:
    """Return where the phase stops for a NaN or an infinity; it must."""
    points = Breakpoints()
    points.add(Break(kind), held)
    phase = Stepping(runner_of(held), act, points, lambda _: True, str)
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
    "logarithm of 0": (lambda x: (x * 0).log(), "torch.Tensor.log", "-inf"),
    "a cast": (lambda x: (x * 0 + 1e30).half().float(), "torch.Tensor.half", "inf"),
    "the least number twice": (lambda x: x * 0 + torch.finfo().min + torch.finfo().min, "torch.Tensor.add", "-inf"),
    "in place": (lambda x: x.clone().sub_(100).log_(), "torch.Tensor.log_", "nan"),
}


@pytest.mark.parametrize("name", FORWARD)
def test_the_op_of_a_forward_is_found(name: str) -> None:
    between, op, bad = FORWARD[name]
    position, reason = found(planted(between), F)
    assert (position.phase, position.kind, position.name) == ("forward", "op", op)
    assert reason == f"breakpoint 1: {op} makes {bad} of finite numbers"
    assert position.source.file.endswith("test_nans.py")


def masked(x: Tensor) -> Tensor:
    return x.masked_fill(torch.ones(4, dtype=torch.bool), -INF)


def row(x: Tensor) -> Tensor:
    return torch.full((4,), -INF) + x * 0


FROM_A_MASK: dict[str, tuple[Callable[[Tensor], Tensor], str, str]] = {
    "a softmax over nothing": (
        lambda x: masked(x).softmax(-1),
        "torch.Tensor.softmax",
        "-inf, which came in with op.in[0]: a row of it is -inf throughout",
    ),
    "an additive mask": (
        lambda x: nn.functional.log_softmax(x + torch.full((4,), -INF), dim=1),
        "F.log_softmax",
        "-inf, which came in with op.in: a row of it is -inf throughout",
    ),
    "a mask that is multiplied": (
        lambda x: x + torch.ones(4, 4).triu(1) * -INF,
        "torch.Tensor.mul",
        "-inf, which came in with op.in[1]",
    ),
    "inf minus inf": (lambda x: row(x) - row(x), "torch.Tensor.sub", "-inf, which came in with op.in[0]"),
    "in place": (lambda x: row(x).mul_(0), "torch.Tensor.mul_", "-inf, which came in with op.in[0]"),
    "a fused kernel": (
        lambda x: x + nn.functional.cross_entropy(masked(x), torch.zeros(4, dtype=torch.long)),
        "F.cross_entropy",
        "-inf, which came in with op.in[0]",
    ),
}


@pytest.mark.parametrize("name", FROM_A_MASK)
def test_a_mask_is_passed_by_and_the_op_that_makes_nan_of_it_is_not(name: str) -> None:
    between, op, of = FROM_A_MASK[name]
    held = hold(Planted(between), batches=[(torch.randn(4, 4), torch.randn(4, 2))])
    position, reason = found(held, F)
    assert position.name == op
    assert reason == f"breakpoint 1: {op} makes nan of {of}"


def written(x: Tensor) -> Tensor:
    mask = torch.empty(4, 4)
    mask.fill_(-INF)
    mask[:, 0] = 0
    mask[0, 1:] = -INF
    return (x.mean() + mask).softmax(-1)


def uninitialised(x: Tensor) -> Tensor:
    """Write memory that holds NaN, as `torch.empty` may give it, row by row."""
    rows = torch.empty(4, 4)
    rows.numpy()[:] = float("nan")  # unseen by torch, as what was there before
    for i in range(4):
        rows[i] = x[0]
    return rows


HEALTHY: dict[str, Callable[[Tensor], Tensor]] = {
    "filled": lambda x: x.masked_fill(x < x.max(1, keepdim=True).values, -INF).softmax(1),
    "where": lambda x: torch.where(x == x.max(1, keepdim=True).values, x, -INF).softmax(1),
    "where a tensor": lambda x: torch.where(x == x.max(1, True).values, x, torch.tensor(-INF)).softmax(1),
    "causal": lambda x: (x @ x.T + torch.full((4, 4), -INF).triu(1)).softmax(-1) @ x,
    "causal, of a larger one": lambda x: (x @ x.T + torch.full((8, 8), -INF).triu(1)[:4, :4].clone().t().t()).softmax(
        -1
    ),
    "moved": lambda x: (x + torch.full((4, 4), -INF).triu(1).flip(0).flip(0).contiguous().to(x.dtype)).softmax(1),
    "a mask of least numbers": lambda x: (x + torch.zeros(4, 4).masked_fill(x > 9, torch.finfo().min)).softmax(-1),
    "padded": lambda x: nn.functional.pad(x, (0, 4), value=-INF).softmax(1)[:, :4],
    "greatest so far": lambda x: torch.maximum(torch.full((4, 4), -INF), x),
    "of a list": lambda x: torch.maximum(torch.tensor([-INF, 0.0, -INF, 0.0]), x),
    "written in place": written,
    "not yet written": uninitialised,
}


@pytest.mark.parametrize("name", HEALTHY)
def test_an_infinity_that_is_meant_stops_nothing(name: str) -> None:
    held, points = hold(Planted(HEALTHY[name]), batches=[(torch.randn(4, 4), torch.randn(4, 2))]), Breakpoints()
    points.add(Break("nan"), held)
    for act in (F, B):
        phase = Stepping(runner_of(held), act, points, lambda _: True, str)
        assert not phase.go("continue"), phase.reason


def test_break_inf_stops_at_what_is_filled_in_too_and_at_no_nan() -> None:
    held, points, stops = (
        planted(lambda x: masked(x).softmax(-1) + x.exp().mul(INF) + torch.full((4,), INF)),
        Breakpoints(),
        [],
    )
    points.add(Break("inf"), held)
    phase = Stepping(runner_of(held), F, points, lambda _: True, str)
    while phase.go("continue"):
        stops.append(phase.reason.removeprefix("breakpoint 1: "))
    assert stops == [
        "torch.Tensor.masked_fill gives -inf: op.in[2] is -inf",
        "torch.Tensor.mul gives inf: op.in[1] is inf",
        "torch.full gives inf: op.in[1] is inf",
    ]


def test_what_overflows_beside_a_mask_is_found() -> None:
    position, reason = found(planted(lambda x: (torch.tensor([-INF, 500.0, 0.0, 0.0]) + x * 0).exp()), F)
    assert (position.name, reason) == ("torch.Tensor.exp", "breakpoint 1: torch.Tensor.exp makes inf of finite numbers")
    position, reason = found(planted(lambda x: 1 / (torch.tensor([-INF, 0.0, 1.0, 1.0]) + x * 0)), F)
    assert position.name == "torch.Tensor.__rtruediv__"
    assert reason.endswith("makes inf of finite numbers")


@pytest.mark.parametrize("between", [lambda x: x, lambda x: masked(x).clamp(min=1)], ids=["alone", "after a mask"])
def test_a_weight_that_a_step_made_infinite_is_no_mask(between: Callable[[Tensor], Tensor]) -> None:
    held = planted(between)
    weight = held.tensor("second.weight")
    assert weight is not None
    weight.data[0, 1] = INF
    position, reason = found(held, F)
    assert position.path == "second"
    assert "inf came in with op.in[1]" in reason


class Whole(nn.Module):
    """A transformer's attention, which in eval is one kernel that no op is seen of."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, key_padding_mask=torch.ones(2, 3, dtype=torch.bool))[0]  # type: ignore[no-any-return]


def test_a_module_whose_ops_are_not_seen_is_named_itself() -> None:
    held = hold(Whole().eval(), batches=[(torch.randn(2, 3, 4), torch.randn(2, 3, 4))])
    position, reason = found(held, F)
    assert (position.kind, position.path) == ("module", "attention")
    assert reason == "breakpoint 1: attention MultiheadAttention returns nan; its ops were not observed"


def test_nan_in_a_backward_of_a_mask_is_found() -> None:
    """0 · -inf: the gradient of a product with a mask."""
    held = run(planted(lambda x: (x * torch.tensor([-INF, 1.0, 1.0, 1.0])).clamp(-1, 1)), F)
    position, reason = found(held, B)
    assert position.name == "MulBackward0"
    assert reason.endswith("makes nan of -inf, which came in with other, which it saved")


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
        phase = Stepping(runner_of(held), act, points, lambda _: True, str)
        while phase.go("continue"):
            stops.append(phase.reason)
    assert stops == [
        "breakpoint 1: torch.Tensor.log makes nan of finite numbers",
        "breakpoint 1: torch.Tensor.log makes -inf of finite numbers",
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
    assert (position.name, reason) == (
        "torch.Tensor.log",
        "breakpoint 1: torch.Tensor.log makes -inf of finite numbers",
    )
    bad = torch.tensor([[1.0, 0.0, 0.0], [0.0, INF, 0.0], [0.0, 0.0, 1.0]]).to_sparse()
    _, reason = found(planted(lambda x: torch.sparse.mm(bad, x)), F, "inf")
    assert "inf came in with op.in[0]" in reason


def test_what_can_not_be_read_fails_no_phase() -> None:
    points = Breakpoints()
    nested = torch.nested.nested_tensor([torch.ones(1, 4), torch.ones(2, 4)], layout=torch.jagged)
    held = planted(lambda x: torch.vmap(lambda row: row.tanh())(x) + (nested * x[0, 0]).values().sum())
    points.add(Break("nan"), held)
    for act in (F, B):
        phase = Stepping(runner_of(held), act, points, lambda _: True, str)
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
        assert not Stepping(runner_of(held), act, points, lambda _: True, str).go("continue")
