"""Norms that several views of one look share."""

from __future__ import annotations

import pytest
import torch

from gradstep.session.local import Session
from gradstep.values.commands import Load
from gradstep.values.reasons import LookLedger
from gradstep.values.training import LookLayers
from gradstep.values.views import LookModel, LookTensor, LookWhy
from gradstep.views import numbers
from gradstep.views.numbers import Norms, norms


def test_norms_are_those_taken_alone_and_each_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = [torch.full((n,), 2.0) for n in (1, 4, 9)] + [torch.zeros(2, dtype=torch.int64)]
    asked: list[torch.Tensor] = []
    monkeypatch.setattr(numbers, "norms", lambda given: [asked.extend(given), norms(given)][1])
    taken = Norms()
    assert taken.of(tensors[:2]) == [2.0, 4.0]
    assert taken.of(tensors[::-1]) == [None, 6.0, 4.0, 2.0]
    assert taken.of([]) == []
    assert sorted(map(id, asked)) == sorted(map(id, tensors))


def test_one_look_takes_the_norm_of_each_weight_and_gradient_once(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session()
    assert session.execute(Load("mlp", seed=0, device="cpu")).ok
    session.show("2.weight")
    session.forward()
    session.backward()
    counted: list[int] = []
    monkeypatch.setattr(numbers, "norms", lambda given: [counted.append(len(given)), norms(given)][1])
    views = session.look(LookTensor(), LookModel(), LookWhy(), LookLedger(), LookLayers())
    assert sum(counted) == 8
    assert views == session.look(LookTensor(), LookModel(), LookWhy(), LookLedger(), LookLayers())


def test_a_weight_written_between_looks_has_its_new_norm() -> None:
    session = Session()
    assert session.execute(Load("linear", seed=0, device="cpu")).ok
    looks = session._looks
    assert looks is not None
    for value in (3.0, 4.0):
        looks.held.parameters[0][1].data.fill_(value)
        (view,) = session.look(LookModel())
        row = next(row for row in view.rows if row.kind == "parameter")
        assert row.norm == pytest.approx(value * torch.Size(row.shape).numel() ** 0.5)
