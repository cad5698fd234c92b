"""A buffer that a forward resizes in place, or gives other data: compared and restored by its shape and strides."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from holding import F, Fuse, failed, hold
from test_files import restore, write
from torch import Tensor, nn
from travelling import Traveller

import gradstep
from gradstep.engine.bits import hash_of, tensor_bytes
from gradstep.engine.stepping.rerun import forward_again
from gradstep.values.views import LookChanges, LookDigest, LookModel


def resized(low: Tensor, x: Tensor) -> None:
    low.resize_(4).copy_(x.amin(0))


def shrunk(low: Tensor, x: Tensor) -> None:
    low.resize_(2).copy_(x[0, :2])


def other_data(low: Tensor, x: Tensor) -> None:
    low.data = x.clone()


def turned(low: Tensor, x: Tensor) -> None:
    low.data = x[:2, :3].double().t()


WAYS = [resized, shrunk, other_data, turned]


class Observed(nn.Module):
    """Records the range of its input in its first forward, as the observers of torch.ao do."""

    low: Tensor
    seen: Tensor

    def __init__(self, way: Callable[[Tensor, Tensor], None], fuse: Fuse | None = None) -> None:
        super().__init__()
        self.inner, self.way, self.fuse = nn.Linear(4, 2), way, fuse or Fuse()
        self.register_buffer("low", torch.empty(0) if way is not shrunk else torch.arange(6.0))
        self.register_buffer("seen", torch.zeros((), dtype=torch.bool))

    def forward(self, x: Tensor) -> Tensor:
        if not self.seen:
            self.way(self.low, x.detach())
            self.seen |= True
        self.fuse()
        out: Tensor = self.inner(x) * (1 + self.low.sum().float())
        return out


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("budget", [1 << 30, 1])
def test_it_goes_back_and_forth(way: Callable[[Tensor, Tensor], None], budget: int) -> None:
    torch.manual_seed(0)
    traveller = Traveller.of(hold(Observed(way)), budget)
    low = traveller.held.model.low
    shapes = {1: low.shape}
    for line in ("forward", "backward", "step", "zero_grad", "forward", "backward", "step"):
        assert traveller.take("act", line)
        traveller.check()
        shapes[traveller.timeline.number] = low.shape
    assert shapes[1] != shapes[2]
    numbers = list(traveller.timeline.points)
    for number in (*numbers[::-1], *numbers, *numbers[::3], 1, 2, 1):
        traveller.go(number)
        traveller.check()
        assert traveller.held.model.low is low
        assert low.shape == shapes[number]
        assert traveller.take("visit", 3)
        assert low.shape == shapes[number]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("budget", [1 << 30, 0])
def test_a_forward_that_raises_puts_its_shape_back(way: Callable[[Tensor, Tensor], None], budget: int) -> None:
    fuse = Fuse()
    traveller = Traveller.of(hold(Observed(way, fuse)), budget)
    before, strides = traveller.digest(), traveller.held.model.low.stride()
    fuse.light()
    failed(traveller.held, F)
    assert traveller.digest() == before
    assert traveller.held.model.low.stride() == strides
    assert traveller.take("act", "forward")


@pytest.mark.parametrize("way", WAYS)
def test_a_look_that_runs_the_forward_again_leaves_it(way: Callable[[Tensor, Tensor], None]) -> None:
    traveller = Traveller.of(hold(Observed(way)), 1 << 30)
    assert traveller.take("act", "forward")
    traveller.check()
    forward_again(traveller.held)
    traveller.check()
    assert traveller.take("act", "backward")


@pytest.mark.parametrize("way", WAYS)
def test_a_file_has_its_shape(way: Callable[[Tensor, Tensor], None], tmp_path: Path) -> None:
    torch.manual_seed(0)
    traveller = Traveller.of(hold(Observed(way)), 1 << 30)
    before = write(traveller, tmp_path / "before.safetensors")
    for line in ("forward", "backward"):
        traveller.take("act", line)
    after, there = write(traveller, tmp_path / "after.safetensors"), traveller.digest()
    restore(traveller, before)
    assert traveller.digest() == traveller.digests[1]
    assert traveller.take("act", "forward")
    assert traveller.take("undo", 1)
    restore(traveller, after)
    assert traveller.digest() == there


@pytest.mark.parametrize("read", [hash_of, tensor_bytes])
def test_a_tensor_that_was_hashed_can_still_be_resized(read: Callable[[Tensor], bytes]) -> None:
    tensor = torch.arange(3.0)
    read(tensor)
    tensor.resize_(1000).fill_(1)
    assert tensor.sum() == 1000


def test_a_model_in_quantization_aware_training_goes_back_and_forth() -> None:
    torch.manual_seed(0)
    traveller = Traveller.of(hold(quantized()), 1 << 30)
    scales = {1: _scale(traveller)}
    for line in ("forward", "backward", "step", "zero_grad", "forward"):
        assert traveller.take("act", line)
        traveller.check()
        scales[traveller.timeline.number] = _scale(traveller)
    for number in (5, 1, 4, 2, 6, 1):
        traveller.go(number)
        traveller.check()
        assert _scale(traveller) == scales[number]


def _scale(traveller: Traveller) -> torch.Size:
    return dict(traveller.held.buffers())["first.weight_fake_quant.scale"].shape


def quantized() -> nn.Module:
    """Return a small model with the fake quantizers and observers of torch.ao."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ao = pytest.importorskip("torch.ao.quantization")
        model = nn.Sequential()
        for name, part in (
            ("quant", ao.QuantStub()),
            ("first", nn.Linear(4, 8)),
            ("relu", nn.ReLU()),
            ("last", nn.Linear(8, 2)),
            ("dequant", ao.DeQuantStub()),
        ):
            model.add_module(name, part)
        model.qconfig = ao.get_default_qat_qconfig("fbgemm")
        return ao.prepare_qat(model.train())


def test_a_session_that_looks_at_every_stop_trains_a_quantized_model_as_one_that_does_not() -> None:
    digests = []
    for looks in (True, False):
        torch.manual_seed(0)
        workload = hold(quantized(), [(torch.ones(3, 4), torch.ones(3, 2))]).workload
        session = gradstep.Session(workload, seed=1)
        seen = []
        for line in ("forward", "backward", "step", "zero_grad", "forward", "backward", "step", "undo 7", "redo 4"):
            outcome = session.run(line)
            assert outcome.ok, outcome.problem
            if looks or line == "step":
                seen.append(session.look(LookDigest(), LookChanges(), LookModel())[0])
        digests.append([view.digest for view in seen])
    assert digests[0][6] == digests[1][1]
    assert digests[0][8] == digests[0][3]
