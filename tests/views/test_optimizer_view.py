"""The Optimizer view says what torch's own optimizer holds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.values.commands import Command, Load
from gradstep.values.views import LookDigest, LookTensor, TensorView
from gradstep.values.views.training import LookOptimizer, OptimizerView
from gradstep.workload import Workload


def session(optimizer: Any, model: nn.Module | None = None, **more: Any) -> Session:
    return Session(
        Workload(
            model or nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)),
            functional.mse_loss,
            optimizer,
            [(torch.randn(3, 4), torch.randn(3, 2))],
            **more,
        )
    )


def iterate(s: Session, times: int = 1) -> None:
    for _ in range(times):
        for act in (s.forward, s.backward, s.step, s.zero_grad):
            assert act().ok


def command(line: str) -> Command:
    return parse_line(line)[0].command  # type: ignore[union-attr]


def show(s: Session, text: str) -> None:
    outcome = s.execute(command(f"show {text}"))
    assert outcome.ok, outcome


def view(s: Session, points: int = 64) -> OptimizerView:
    [found] = s.look(LookOptimizer(points))
    assert isinstance(found, OptimizerView), found
    return found


def test_groups_have_every_hyper_parameter_but_lr_and_params() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    groups = [{"params": model[0].parameters(), "weight_decay": 0.1}, {"params": model[1].parameters(), "lr": 0.5}]
    optimizer = torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.99))
    s = session(optimizer, model)
    show(s, "`1.bias`")
    found = view(s)
    assert (found.name, len(found.groups)) == ("AdamW", 2)
    for row, group in zip(found.groups, optimizer.param_groups, strict=True):
        assert {key for key, _ in row.hyper} == set(group) - {"params", "lr"}
        assert row.rate == group["lr"]
    assert dict(found.groups[0].hyper)["betas"] == "(0.8, 0.99)"
    assert dict(found.groups[0].hyper)["weight_decay"] == "0.1"
    assert dict(found.groups[0].hyper)["foreach"] == "None"
    assert [row.elements for row in found.groups] == [15, 8]
    assert [row.selected for row in found.groups] == [False, True]


def test_the_rate_has_its_history() -> None:
    def schedule(optimizer: torch.optim.Optimizer) -> Any:
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    s = session(lambda p: torch.optim.SGD(p, lr=1.0), schedulers=schedule)
    iterate(s, 3)
    found = view(s)
    assert [(p.iteration, p.rate) for p in found.groups[0].rates] == [(0, 1.0), (1, 0.5), (2, 0.25), (3, 0.125)]
    assert (found.schedulers, found.schedule) == (("ExponentialLR",), "step")
    iterate(s, 40)
    thin = view(s, 10).groups[0].rates
    assert len(thin) == 10
    assert (thin[0].iteration, thin[-1].iteration) == (0, 43)


def test_a_forward_that_fails_leaves_no_rate_behind() -> None:
    s = session(lambda p: torch.optim.SGD(p, lr=1.0), model=nn.Sequential(nn.Linear(5, 2)))
    assert not s.forward().ok
    assert len(view(s).groups[0].rates) == 1


def test_the_state_of_the_selected_parameter() -> None:
    s = session(torch.optim.Adam)
    show(s, "`0.weight`")
    assert view(s).slots == ()
    assert "no state yet" in view(s).note
    iterate(s)
    assert s._inspector is not None
    held = s._inspector.held
    state = held.optimizer.state[held.tensor("0.weight")]
    rows = {row.key: row for row in view(s).slots}
    assert list(rows) == ["step", "exp_avg", "exp_avg_sq"]
    assert rows["exp_avg"].norm == pytest.approx(float(state["exp_avg"].norm()))
    assert (rows["exp_avg"].shape, rows["exp_avg"].dtype) == ((3, 4), "float32")
    assert rows["step"].text == "1"


def test_a_state_tensor_can_be_shown_and_sliced() -> None:
    s = session(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9))
    assert not s.execute(command("show 0.weight.state.momentum_buffer")).ok
    iterate(s)
    for text, index in (
        ("0.weight.state.momentum_buffer", ...),
        ("0.weight.state.momentum_buffer[1]", 1),
        ("`0.weight`.state.momentum_buffer[0:2, 1:3]", (slice(0, 2), slice(1, 3))),
    ):
        show(s, text)
        [window] = s.look(LookTensor())
        assert isinstance(window, TensorView)
        assert s._inspector is not None
        held = s._inspector.held
        buffer = held.optimizer.state[held.tensor("0.weight")]["momentum_buffer"][index]
        assert window.statistics is not None
        assert window.statistics.norm == pytest.approx(float(buffer.norm()))
        found = view(s)
        assert found.path == "0.weight"
        assert [(row.key, row.selected) for row in found.slots] == [("momentum_buffer", True)]
    show(s, found.slots[0].name)


def test_other_attributes_are_still_refused() -> None:
    s = session(torch.optim.Adam)
    iterate(s)
    for text in ("`0.weight`.state", "`0.weight`.state.exp_avg.grad", "`0.weight`.state.nope"):
        assert not s.execute(command(f"show {text}")).ok


def test_plain_sgd_says_that_it_keeps_nothing() -> None:
    s = session(lambda p: torch.optim.SGD(p, lr=0.1))
    show(s, "`0.weight`")
    s.forward(), s.backward(), s.step()
    assert view(s).note == "SGD keeps no state for it"


def test_parameters_in_no_group_and_in_two_are_named() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2), nn.Linear(2, 2))
    model[2].requires_grad_(False)
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)
    optimizer.param_groups[0]["params"].append(model[0].bias)
    s = session(optimizer, model)
    found = view(s)
    assert found.missing == ("1.weight", "1.bias")
    assert found.twice == ("0.bias",)
    show(s, "`1.bias`")
    assert "not in a parameter group" in view(s).note


@pytest.mark.parametrize("kind", [torch.optim.LBFGS, torch.optim.Rprop, torch.optim.Adagrad, torch.optim.RMSprop])
def test_any_optimizer_can_be_looked_at(kind: Any) -> None:
    s = session(kind)
    show(s, "`0.weight`")
    iterate(s, 2)
    before = s.look(LookDigest())
    assert view(s).slots
    assert s.look(LookDigest()) == before


def test_the_example_with_a_schedule() -> None:
    s = Session()
    assert s.execute(Load("gpt", seed=0)).ok
    show(s, "head.weight")
    iterate(s, 2)
    found = view(s)
    assert found.schedulers == ("LambdaLR",)
    assert [round(p.rate, 6) for p in found.groups[0].rates] == [0.001, 0.002, 0.003]
    assert found.missing == ()
