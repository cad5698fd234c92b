"""The Layers view against norms, updates and zeros that are computed here, by torch, another way."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from gradstep.session.local import Session
from gradstep.values.commands import Backward, Forward, Load, Step, ZeroGrad
from gradstep.values.views import LookDigest, LookLoss, LookModel
from gradstep.values.views.training import LayerRow, LayersView, LookLayers
from gradstep.workload import Workload


def session(model: nn.Module, **more: Any) -> Session:
    given: dict[str, Any] = {
        "model": model,
        "loss": functional.mse_loss,
        "optimizer": lambda p: torch.optim.SGD(p, lr=0.1),
        "batches": [(torch.randn(3, 4), torch.randn(3, 2))],
        **more,
    }
    return Session(Workload(**given))


def loaded(name: str) -> Session:
    made = Session()
    assert made.execute(Load(name, seed=0)).ok
    return made


def layers(session: Session) -> LayersView:
    [view] = session.look(LookLayers())
    assert isinstance(view, LayersView), view
    return view


def rows(session: Session) -> dict[str, LayerRow]:
    return {row.path: row for row in layers(session).rows}


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def flat(*tensors: Tensor) -> float:
    return float(torch.linalg.vector_norm(torch.cat([t.detach().double().flatten() for t in tensors])))


def test_norms_are_those_of_all_parameters_of_a_module() -> None:
    model = small()
    s = session(model)
    s.forward()
    before = rows(s)
    assert before["0"].grad is None
    assert before["0"].update is None
    s.backward()
    now = rows(s)
    for path, module in (("0", model[0]), ("2", model[2])):
        assert now[path].weight == pytest.approx(flat(module.weight, module.bias))
        assert now[path].grad == pytest.approx(flat(module.weight.grad, module.bias.grad))
    assert now["1"].weight is None
    assert now["1"].type == "ReLU"


def test_the_update_is_what_the_step_added_and_stays_until_the_next_step() -> None:
    model = small()
    s = session(model)
    s.forward(), s.backward()
    old = [p.detach().clone() for p in model[0].parameters()]
    s.step()
    moved = flat(*(now - then for now, then in zip(model[0].parameters(), old, strict=True)))
    for after in ((), (s.zero_grad,), (s.forward, s.backward)):
        for act in after:
            act()
        view = layers(s)
        row = next(row for row in view.rows if row.path == "0")
        assert view.updated == 1
        assert row.update == pytest.approx(moved)
        assert row.ratio == pytest.approx(moved / flat(*old))
    s.step()
    assert layers(s).updated == 2


def test_an_update_that_nobody_saw_is_not_known() -> None:
    s = session(small())
    for command in (Forward(), Backward(), Step(), ZeroGrad()):
        assert s.execute(command).ok
    view = layers(s)
    assert view.updated is None
    assert all(row.update is None and row.ratio is None for row in view.rows)


def test_a_step_that_nobody_looks_at_is_measured_while_the_panel_is_open() -> None:
    s = session(small())
    layers(s)
    for command in (Forward(), Backward(), Step(), ZeroGrad(), Forward()):
        assert s.execute(command).ok
    assert layers(s).updated == 1


def test_zeros_are_those_of_the_module_and_only_counted_while_asked_for() -> None:
    model = small()
    batch = torch.randn(3, 4)
    s = session(model, batches=[(batch, torch.randn(3, 2))])
    assert s.execute(Forward()).ok
    assert rows(s)["1"].zeros is None
    assert s.execute(Forward()).ok
    zeros = torch.relu(model[0](batch)) == 0
    assert rows(s)["1"].zeros == pytest.approx(float(zeros.double().mean()))
    assert 0 < zeros.sum() < zeros.numel()
    for _ in range(2):
        assert s.execute(Forward()).ok
        s.look(LookModel())
    assert s._inspector is not None
    assert not s._inspector.held.recording.zeros
    assert rows(s)["1"].zeros is None


def test_a_digest_at_the_same_stop_does_not_close_the_panel() -> None:
    s = session(small())
    layers(s)
    s.look(LookDigest())
    s.look(LookLoss())
    assert s._inspector is not None
    assert s._inspector.held.recording.zeros


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.b = nn.Linear(8, 2)
        self.a = nn.Linear(4, 8)
        self.unused = nn.Linear(1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(functional.relu(self.a(x)))


def test_a_relu_that_is_no_module_is_read_off_the_graph_and_rows_stand_in_forward_order() -> None:
    model = Functional()
    batch = torch.randn(3, 4)
    s = session(model, batches=[(batch, torch.randn(3, 2))])
    s.forward()
    view = layers(s)
    assert [(row.path, row.type) for row in view.rows] == [
        ("unused", "Linear"),
        ("a", "Linear"),
        ("", "relu()"),
        ("b", "Linear"),
    ]
    expected = float((torch.relu(model.a(batch)) == 0).double().mean())
    assert view.rows[2].zeros == pytest.approx(expected)
    s.backward()
    assert layers(s).rows[2].zeros == pytest.approx(expected)


def test_vanishing_gradients_are_seen() -> None:
    s = loaded("deep")
    s.forward(), s.backward()
    found = [row.grad for row in layers(s).rows]
    assert [row.path for row in layers(s).rows] == [*(f"layer{i}" for i in range(20)), "head"]
    assert all(grad is not None and grad > 0 for grad in found)
    assert found[0] < 1e-8 * found[-1]  # type: ignore[operator]


def test_nan_and_inf_are_kept() -> None:
    model = small()
    s = session(model)
    s.forward(), s.backward()
    with torch.no_grad():
        model[0].weight[0, 0] = math.nan
        model[0].bias[0] = math.inf
        model[2].bias[0] = math.inf
        model[2].weight.grad[0, 0] = math.nan
    now = rows(s)
    assert math.isnan(now["0"].weight or 0)
    assert now["2"].weight == math.inf
    assert math.isnan(now["2"].grad or 0)


def test_an_update_of_weights_that_were_zero_is_infinitely_many_times_theirs() -> None:
    model = small()
    nn.init.zeros_(model[2].weight), nn.init.zeros_(model[2].bias)
    s = session(model)
    layers(s)
    s.forward(), s.backward(), s.step()
    assert rows(s)["2"].ratio == math.inf


def test_a_shared_module_has_one_row_and_a_frozen_one_says_so() -> None:
    model = small()
    model[2].requires_grad_(False)
    model.add_module("again", model[0])
    s = session(model, batches=[(torch.randn(3, 4), torch.randn(3, 8))])
    now = rows(s)
    assert now["2"].frozen
    assert not now["0"].frozen
    assert list(now) == ["0", "1", "2"]
    assert (now["2"].partly, now["0"].partly) == ((), ())
    model[0].weight.requires_grad_(False)
    now = rows(s)
    assert not now["0"].frozen
    assert now["0"].partly == ("weight",)


def digests(name: str, look: bool) -> list[object]:
    s = loaded(name)
    found: list[object] = []
    for _ in range(2):
        for act in ("next_batch", "forward", "backward", "step", "zero_grad"):
            getattr(s, act)()
            if look:
                assert layers(s).rows
            found.append(s.look(LookDigest())[0])
    return found


@pytest.mark.parametrize("name", ["mlp", "linear", "xor", "cnn", "rnn", "gpt", "deep", "hot"])
def test_looking_changes_nothing(name: str) -> None:
    assert digests(name, look=True) == digests(name, look=False)
