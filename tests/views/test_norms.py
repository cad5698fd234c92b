"""Norms that several views of one look share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

import gradstep
from gradstep.engine.numbers.norms import norms, norms_there
from gradstep.engine.reads import read
from gradstep.engine.state.saved import Copies, Saved
from gradstep.session.local import Session
from gradstep.values.commands import Backward, Forward, Load, Step, ZeroGrad
from gradstep.values.commands.stepping import Into, Out, Over
from gradstep.values.commands.time_travel import Goto, Redo, Undo
from gradstep.values.views import LookModel, LookTensor, LookWhy
from gradstep.values.views.ledger import LookLedger
from gradstep.values.views.training import LookLayers
from gradstep.views import numbers
from gradstep.views.numbers import Norms


def test_norms_are_those_taken_alone_and_each_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = [torch.full((n,), 2.0) for n in (1, 4, 9)] + [torch.zeros(2, dtype=torch.int64)]
    asked: list[torch.Tensor] = []
    monkeypatch.setattr(numbers, "norms_there", lambda given: [asked.extend(given), norms_there(given)][1])
    taken = Norms()
    assert read(taken.of(tensors[:2])) == [2.0, 4.0]
    assert read(taken.of(tensors[::-1])) == [None, 6.0, 4.0, 2.0]
    assert read(taken.of([])) == []
    assert sorted(map(id, asked)) == sorted(map(id, tensors))


def test_one_look_takes_the_norm_of_each_weight_and_gradient_once(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session()
    assert session.execute(Load("mlp", seed=0, device="cpu")).ok
    session.show("2.weight")
    session.forward()
    session.backward()
    counted: list[int] = []
    monkeypatch.setattr(numbers, "norms_there", lambda given: [counted.append(len(given)), norms_there(given)][1])
    views = session.look(LookTensor(), LookModel(), LookWhy(), LookLedger(), LookLayers())
    assert sum(counted) == 8
    assert views == session.look(LookTensor(), LookModel(), LookWhy(), LookLedger(), LookLayers())


def test_a_weight_written_between_looks_has_its_new_norm() -> None:
    session = Session()
    assert session.execute(Load("linear", seed=0, device="cpu")).ok
    looks = session._inspector
    assert looks is not None
    for value in (3.0, 4.0):
        looks.held.parameters[0][1].data.fill_(value)
        (view,) = session.look(LookModel())
        row = next(row for row in view.rows if row.kind == "parameter")
        assert row.norm == pytest.approx(value * torch.Size(row.shape).numel() ** 0.5)


LARGE = 1 << 18


def after(tensor: torch.Tensor, saved: Saved, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Take norms at one stop and at the next; return what was measured at the next."""
    taken = Norms()
    read(taken.of([tensor]))
    asked: list[torch.Tensor] = []
    with monkeypatch.context() as patch:
        patch.setattr(numbers, "norms_there", lambda given: [asked.extend(given), norms_there(given)][1])
        assert read(taken.after(saved).of([tensor])) == read(norms([tensor]))
    return asked


def test_the_norm_of_a_large_tensor_holds_after_an_act_that_can_not_write_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert after(torch.randn(LARGE), Saved(), monkeypatch) == []
    assert len(after(torch.randn(LARGE - 1), Saved(), monkeypatch)) == 1  # as quickly taken again


def test_what_an_act_kept_or_may_have_written_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = torch.randn(LARGE)
    kept = Copies([("weight", "w")], [tensor], [tensor.clone()], [0])
    for saved in (Saved(kept), Saved(known=False)):
        assert len(after(tensor, saved, monkeypatch)) == 1


@pytest.mark.parametrize(
    "write",
    [lambda t: t.zero_(), lambda t: t[7].add_(1), lambda t: t.data.mul_(2), lambda t: t.detach().numpy().fill(1.0)],
)
def test_what_a_hook_wrote_has_its_new_norm(write: Callable[[torch.Tensor], object]) -> None:
    tensor = torch.randn(LARGE + 5)
    taken = Norms()
    read(taken.of([tensor]))
    write(tensor)
    assert read(taken.after(Saved()).of([tensor])) == read(norms([tensor]))


def test_a_tensor_that_took_the_place_of_another_has_its_own_norm() -> None:
    taken = Norms()
    first = torch.full((LARGE,), 2.0)
    read(taken.of([first]))
    del first
    second = torch.full((LARGE,), 3.0)
    assert read(taken.after(Saved()).of([second])) == read(norms([second]))


class Wide(torch.nn.Module):
    """A weight as large as those whose norm is carried over, and a hook that writes it behind torch's back."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(64, LARGE // 64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight.t()


def test_at_every_stop_of_a_screen_norms_and_statistics_are_those_of_the_tensors() -> None:
    held = gradstep.Workload(
        Wide(),
        loss=torch.nn.functional.mse_loss,
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
        batches=[(torch.randn(2, LARGE // 64), torch.randn(2, 64))],
    )
    session = Session(held)
    session.can_pause(lambda _: None, lambda: False)
    session.show("weight")
    weight = session._inspector.held.parameters[0][1]
    inside = [Forward(), Into("backward"), Over(), Over(), Over(), Out(True), Step()]
    for command in [*inside, ZeroGrad(), *inside, Undo(1), Redo(1), Goto(2), Forward(), Backward()]:
        assert session.execute(command).ok
        view, shown = session.look(LookModel(), LookTensor(2, 2))
        assert session._inspector.aside().look(session.stop.number, [LookTensor(2, 2)]) == (shown,)
        row = next(row for row in view.rows if row.kind == "parameter")
        assert row.norm == read(norms([weight]))[0]
        assert row.grad_norm == (None if weight.grad is None else read(norms([weight.grad]))[0])
