"""The Batch view: each sample's loss against one taken here, what the data is taken for, and that nothing changes."""

from __future__ import annotations

import gc
import math
import random
from typing import Any
from weakref import ref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from gradstep.engine.reads import read
from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.steps.language.script import StepsLine
from gradstep.values.commands import Load
from gradstep.values.views import LookDigest, LookTensor, TensorView
from gradstep.values.views.training import BatchView, LookBatch, LookLayers, Piece
from gradstep.views.training.batch import kind_of, part_row, thinned
from gradstep.views.training.samples import check
from gradstep.workload import Workload

EPS = torch.finfo(torch.float32).eps


def session(loss: Any, batch: Any, model: nn.Module | None = None, **more: Any) -> Session:
    return Session(
        Workload(model or nn.Linear(4, 3), loss, lambda p: torch.optim.SGD(p, lr=0.1), [batch, batch], **more)
    )


def view(s: Session, **look: int) -> BatchView:
    [found] = s.look(LookBatch(**look))
    assert isinstance(found, BatchView), found
    return found


def data(count: int = 5) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(count, 4), torch.randn(count, 3)


# -- losses ------------------------------------------------------------------------------------------------------------
def test_a_tensor_that_is_input_and_target_keeps_both_names() -> None:
    both = torch.randint(9, (2, 4))
    s = session(None, (both, both), compute_loss=lambda model, batch: model(batch[0].float()).sum())
    assert s.forward().ok
    for _ in range(2):
        assert [row.name for row in view(s).parts][:2] == ["input", "target"]


@pytest.mark.parametrize(
    ("loss", "reduction"),
    [
        (functional.mse_loss, "mean"),
        (functional.l1_loss, "mean"),
        (nn.SmoothL1Loss(), "mean"),
        (lambda y, t: (t - y).pow(2).sum(), "sum"),
        (lambda y, t: functional.mse_loss(y, t, reduction="sum"), "sum"),
    ],
)
def test_the_losses_are_those_of_the_samples_worst_first(loss: Any, reduction: str) -> None:
    x, y = data()
    model = nn.Linear(4, 3)
    s = session(loss, (x, y), model)
    s.forward()
    expected = [loss(model(x)[i : i + 1], y[i : i + 1]).item() for i in range(5)]
    found = view(s)
    assert found.reduction == reduction
    assert [row.loss for row in found.samples] == pytest.approx(sorted(expected, reverse=True))
    assert {row.index: row.loss for row in found.samples} == pytest.approx(dict(enumerate(expected)))


def test_classes_have_an_answer_and_whether_it_is_right() -> None:
    x, _ = data()
    y = torch.tensor([0, 2, 1, 1, 0])
    model = nn.Linear(4, 3)
    s = session(functional.cross_entropy, (x, y), model)
    s.forward()
    best = model(x).argmax(1)
    for row in view(s).samples:
        assert row.answer is not None
        assert row.target is not None
        assert row.answer.rows == ((float(best[row.index]),),)
        assert row.target.rows == ((float(y[row.index]),),)
        assert row.right == float(best[row.index] == y[row.index])


def test_a_loss_that_is_not_made_of_its_samples_says_so() -> None:
    x, _ = data()
    y = torch.tensor([0, 2, 1, 1, 0])
    weights = torch.tensor([1.0, 5.0, 0.1])
    s = session(nn.CrossEntropyLoss(weight=weights), (x, y))
    s.forward()
    found = view(s)
    assert found.reduction == ""
    assert all(row.loss is None for row in found.samples)
    assert [row.index for row in found.samples] == list(range(5))
    assert "which is neither" in found.note


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda y, t: (y - t).pow(2).mean() if len(y) > 1 else 1 / 0, "ZeroDivisionError"),
        (lambda y, t: (y - y.mean(0)).pow(2).mean(), "which is neither"),
        (lambda y, t: (y - t).pow(2), "not a scalar"),
    ],
)
def test_losses_that_cannot_be_taken_apart_say_why(loss: Any, words: str) -> None:
    s = session(loss, data())
    assert s.forward().ok
    assert words in view(s).note
    assert view(s).reduction == ""


def test_compute_loss_says_why_and_still_shows_the_data() -> None:
    def compute(model: nn.Module, batch: Any) -> Tensor:
        return model(batch["x"]).pow(2).mean()

    s = Session(
        Workload(
            nn.Linear(4, 3),
            compute_loss=compute,
            optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
            batches=[{"x": data()[0], "labels": torch.arange(5)}],
        )
    )
    s.forward()
    found = view(s)
    assert "compute_loss takes the whole batch" in found.note
    assert [row.name for row in found.parts] == ["x", "labels", "prediction"]
    assert found.samples[2].target is not None
    assert found.samples[2].target.rows == ((2.0,),)


def test_the_sample_that_made_the_loss_nan_comes_first() -> None:
    x, y = data()
    y[3, 1] = math.nan
    s = session(functional.mse_loss, (x, y))
    s.forward()
    found = view(s)
    assert found.samples[0].index == 3
    assert math.isnan(found.samples[0].loss or 0)
    assert found.samples[1].loss is not None
    target = next(row for row in found.parts if row.name == "target")
    assert target.nans == 1
    assert target.mean == pytest.approx(float(y.nanmean()))


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_only_a_mean_or_a_sum_is_taken_for_one(parts: list[float]) -> None:
    size = sum(map(abs, parts))
    assert check(parts, sum(parts) / len(parts), EPS).reduction == "mean"
    if len(parts) > 1 and abs(sum(parts)) * (1 - 1 / len(parts)) > 1e-3 * size > 0:
        assert check(parts, sum(parts), EPS).reduction == "sum"
    off = sum(parts) + size + 1
    assert check(parts, off, EPS).values == ()


# -- nothing changes ---------------------------------------------------------------------------------------------------
class Drawing(nn.Module):
    """A loss that draws from every generator, counts its calls, and writes into what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, y: Tensor, t: Tensor) -> Tensor:
        torch.rand(3), random.random(), np.random.rand()
        self.calls += 1
        if not torch.is_grad_enabled():
            y.zero_(), t.zero_()
        print("called")
        return functional.mse_loss(y, t)


def test_a_loss_that_draws_counts_and_writes_changes_nothing(capfd: Any) -> None:
    batch = data()
    s = session(Drawing(), batch)
    s.forward()
    assert s._inspector is not None
    held = s._inspector.held
    capfd.readouterr()
    kept = [t.clone() for t in (*held.batches.batch, held.point.watched.output)]
    before = s.look(LookDigest())
    assert view(s).note
    assert s.look(LookDigest()) == before
    assert held.workload.loss.calls == 1  # type: ignore[union-attr]
    assert capfd.readouterr().out == ""
    for then, now in zip(kept, (*held.batches.batch, held.point.watched.output), strict=True):
        assert torch.equal(then, now)
    assert s.backward().ok


def digests(name: str, look: bool) -> list[object]:
    s = Session()
    assert s.execute(Load(name, seed=0)).ok
    found: list[object] = []
    for _ in range(2):
        for act in ("next_batch", "forward", "backward", "step", "zero_grad"):
            assert getattr(s, act)().ok
            if look:
                assert view(s).samples
            found.append(s.look(LookDigest())[0])
    return found


@pytest.mark.parametrize("name", ["mlp", "linear", "xor", "cnn", "rnn", "gpt", "deep", "hot"])
def test_looking_changes_nothing(name: str) -> None:
    assert digests(name, look=True) == digests(name, look=False)


# -- what the data is --------------------------------------------------------------------------------------------------
KINDS = {
    "mlp": ("numbers", "numbers", "numbers"),
    "cnn": ("image", "tokens", "numbers"),
    "rnn": ("curve", "curve", "numbers"),
    "gpt": ("tokens", "tokens", "numbers"),
    "hot": ("numbers", "numbers", "numbers"),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_examples_are_taken_for_what_they_are(name: str) -> None:
    s = Session()
    assert s.execute(Load(name, seed=0)).ok
    assert view(s).taken == 0
    s.next_batch()
    assert view(s).note == "not run yet: run `forward`"
    s.forward()
    found = view(s)
    assert found.reduction == ("sum" if name in ("mlp", "hot") else "mean")
    kinds = tuple(row.kind for row in found.parts)
    assert kinds[:2] == KINDS[name][:2]
    first = found.samples[0]
    assert first.loss == max(row.loss or 0 for row in found.samples)


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [
        (torch.zeros(2, 3, 32, 32), "image"),
        (torch.zeros(2, 28, 28), "image"),
        (torch.zeros(2, 1, 2, 2), "numbers"),
        (torch.zeros(2, 5, dtype=torch.int64), "tokens"),
        (torch.linspace(0, 1, 40).repeat(3, 1), "curve"),
        (torch.linspace(0, 1, 40).repeat(3, 1, 1), "curve"),
        (torch.zeros(3, 40), "numbers"),
        (torch.zeros(3, 40, dtype=torch.complex64), "numbers"),
        (torch.zeros(0, 40), "numbers"),
        (torch.full((3, 40), math.nan), "numbers"),
    ],
)
def test_kinds(tensor: Tensor, kind: str) -> None:
    assert read(kind_of(tensor)) == kind


def test_statistics_are_torchs_own() -> None:
    torch.manual_seed(0)
    x = torch.randn(7, 5)
    row = read(part_row("input", x))
    assert (row.minimum, row.maximum) == (float(x.min()), float(x.max()))
    assert row.mean == pytest.approx(float(x.mean()))
    assert row.std == pytest.approx(float(x.std()))
    x[0, 0], x[1, 1], x[2, 2] = math.nan, math.inf, -math.inf
    row, finite = read(part_row("input", x)), x[x.isfinite()]
    assert (row.nans, row.infs) == (1, 2)
    assert row.std == pytest.approx(float(finite.std()))


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(0, 3),
        torch.zeros(()),
        torch.full((2, 2), math.nan),
        torch.ones(3, dtype=torch.bool),
        torch.ones(3, dtype=torch.complex64),
        torch.ones(2, 3, device="meta"),
        torch.eye(3).to_sparse(),
        torch.ones(3, dtype=torch.float8_e4m3fn),
    ],
)
def test_any_tensor_has_a_row(tensor: Tensor) -> None:
    assert read(part_row("x", tensor)).shape == tuple(tensor.shape)


def drawn(sample: Tensor, rows: int, columns: int) -> Piece:
    made = thinned(sample, "image", rows, columns)
    return made.piece(made.values)


def test_a_picture_is_thinned_and_keeps_its_form() -> None:
    picture = torch.arange(3 * 40 * 80.0).reshape(3, 40, 80)
    made = drawn(picture, 10, 100)
    assert (len(made.rows), len(made.rows[0]), made.elements) == (10, 20, 9600)
    expected = picture.mean(0).reshape(10, 4, 20, 4).mean((1, 3))
    assert torch.allclose(torch.tensor(made.rows), expected)
    whole = drawn(picture[:, :8, :8], 10, 10)
    assert torch.allclose(torch.tensor(whole.rows), picture[:, :8, :8].mean(0))


def test_a_batch_made_in_inference_mode_can_be_looked_at() -> None:
    with torch.inference_mode():
        x, y = data()
    s = session(functional.mse_loss, (x.clone(), y))
    s.next_batch()
    assert [row.name for row in view(s).parts][:2] == ["input", "target"]


def test_samples_are_asked_for_by_window() -> None:
    s = session(functional.mse_loss, data(9))
    s.forward()
    everything = [row.index for row in view(s, count=100).samples]
    assert [row.index for row in view(s, first=2, count=3).samples] == everything[2:5]
    assert (view(s, first=2, count=3).first, view(s).total) == (2, 9)


@pytest.mark.parametrize("batch", [torch.randn(2, 4), [torch.randn(2, 4)], "text", {}, [], None])
def test_any_batch_can_be_looked_at(batch: Any) -> None:
    s = Session(
        Workload(
            nn.Linear(4, 3),
            compute_loss=lambda model, batch: model(torch.ones(4)).sum(),
            optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
            batches=lambda: batch,
        )
    )
    assert s.forward().ok
    assert view(s).taken == 1


def test_looking_keeps_no_old_graph_alive() -> None:
    s = session(functional.mse_loss, data())
    s.forward()
    assert s._inspector is not None
    held = s._inspector.held
    view(s), s.look(LookLayers())
    old = [ref(held.point.loss), ref(held.point.watched.output)]
    held._graph = None
    s.forward()
    gc.collect()
    assert [each() for each in old] == [None, None]


@pytest.mark.parametrize("kind", ["pair", "dict", "alone"])
def test_a_sample_has_an_expression_that_shows_it(kind: str) -> None:
    x, y = data()
    batch = {"pair": (x, y), "dict": {"tokens": x, "labels": y}, "alone": x}[kind]
    s = Session(
        Workload(
            nn.Linear(4, 3),
            optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
            batches=[batch],
            compute_loss=lambda model, given: model(x).sum(),
        )
    )
    s.forward()
    found = view(s)
    assert found.input == {"pair": "input", "dict": "batch.tokens", "alone": "batch"}[kind]
    [shown] = parse_line(f"show {found.input}[2]")
    assert isinstance(shown, StepsLine)
    assert s.execute(shown.command).ok
    [seen] = s.look(LookTensor(rows=9))
    assert isinstance(seen, TensorView)
    assert seen.value is not None
    assert [row[0] for row in seen.value.values] == x[2].tolist()
