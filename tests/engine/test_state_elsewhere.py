"""State outside of the model is restored as well: a batch that a forward writes, a loss that is a module."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from holding import F, Fuse, N, S, failed, hold, run
from torch import Tensor, nn
from torch.nn import functional
from travelling import Traveller

from gradstep.engine.held import Held

DataLoader: Any = torch.utils.data.DataLoader


class Doubles(nn.Module):
    """Doubles the batch it is given, in place."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self.inner, self.fuse = nn.Linear(4, 2), fuse

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x.mul_(2))
        self.fuse()
        return out


@pytest.mark.parametrize("history", [0, 1 << 30])
def test_a_first_forward_that_raises_leaves_the_batch_it_took_as_it_was(history: int) -> None:
    fuse, x = Fuse(), torch.ones(3, 4)
    traveller = Traveller.of(hold(Doubles(fuse), [(x, torch.zeros(3, 2))]), history)
    fuse.light()
    failed(traveller.held, F)
    assert x.tolist() == [[1.0] * 4] * 3
    traveller.take("act", "forward")
    assert x.tolist() == [[2.0] * 4] * 3


def test_undoing_the_first_forward_puts_back_what_it_wrote_in_its_batch() -> None:
    x = torch.ones(3, 4)
    traveller = Traveller.of(hold(Doubles(Fuse()), [(x, torch.zeros(3, 2))]), 1 << 30)
    first = traveller.digest()
    traveller.take("act", "forward")
    there, loss = traveller.digest(), traveller.held.point.value
    traveller.take("undo", 1)
    assert x.tolist() == [[1.0] * 4] * 3
    assert traveller.digest() == first
    traveller.take("act", "forward")
    assert (traveller.digest(), traveller.held.point.value) == (there, loss)


def test_a_closure_that_raises_leaves_the_batch_as_it_was() -> None:
    fuse, x = Fuse(), torch.ones(3, 4)
    held = hold(Doubles(fuse), [(x, torch.zeros(3, 2))], optimizer=lambda p: torch.optim.LBFGS(p, max_iter=3))
    for _ in range(2):  # the first takes the batch, at the second it is there
        fuse.light(2)
        failed(held, S)
        assert x.tolist() == [[1.0] * 4] * 3
        held.batches.take()


class Averaged(nn.Module):
    """A loss relative to a running average of itself, with a learned scale."""

    average: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("average", torch.ones(()))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        loss = functional.mse_loss(output, target)
        self.average.mul_(0.9).add_(loss.detach(), alpha=0.1)
        return loss / self.average.clone() * self.scale


def averaged(budget: int, learned: bool) -> Traveller:
    torch.manual_seed(0)
    model, loss = nn.Linear(4, 2), Averaged()
    more = {"optimizer": torch.optim.SGD([*model.parameters(), loss.scale], lr=0.1)} if learned else {}
    return Traveller.of(hold(model, loss=loss, **more), budget)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("budget", [1, 1 << 30])
def test_a_loss_that_is_a_module_is_state_too(budget: int, learned: bool) -> None:
    traveller = averaged(budget, learned)
    traveller.take("loop", 3)
    seen, end = dict(traveller.digests), traveller.timeline.here().number
    average = traveller.held.tensor("loss.average")
    assert average is not None
    last = average.item()
    assert last != 1
    for number in (1, 5, 2, end):
        traveller.go(number)
        assert traveller.digest() == seen[number]
        assert number > 1 or average.item() == 1
    assert average.item() == last
    assert traveller.told == []
    assert "loss.average" in traveller.timeline.at(2).changed
    assert ("loss.scale" in traveller.timeline.at(4).changed) == learned


def test_a_loss_that_has_the_model_in_it_brings_nothing_twice() -> None:
    class Whole(nn.Module):
        count: Tensor

        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.model = model
            self.register_buffer("count", torch.zeros(()))

        def forward(self, model: nn.Module, batch: Any) -> Tensor:
            self.count += 1
            return functional.mse_loss(self.model(batch[0]), batch[1])

    model = nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2))
    held: Held = hold(model, compute_loss=Whole(model))
    names = [name for name, _ in held.buffers()]
    assert names == ["1.running_mean", "1.running_var", "1.num_batches_tracked", "loss.count"]
    assert [name for name, _ in held.parameters] == [name for name, _ in model.named_parameters()]


def test_the_generator_of_a_batch_samplers_sampler_is_state() -> None:
    data = [(torch.full((4,), float(i)), torch.zeros(2)) for i in range(12)]
    sampler = torch.utils.data.RandomSampler(data, generator=torch.Generator().manual_seed(3))
    loader = DataLoader(data, batch_sampler=torch.utils.data.BatchSampler(sampler, 4, False))
    traveller = Traveller.of(hold(nn.Linear(4, 2), loader), 1)
    for _ in range(5):  # into the second epoch
        traveller.take("act", "next_batch")
        traveller.check()
    seen, end = dict(traveller.digests), traveller.timeline.here().number
    for number in (1, 5, 3, end):
        traveller.go(number)
        assert traveller.digest() == seen[number]


def test_a_batch_that_was_pulled_and_did_not_reach_the_device_is_not_lost() -> None:
    data = [(torch.full((4,), float(i)), torch.zeros(2)) for i in range(4)]
    held = hold(nn.Linear(4, 2), DataLoader(data, batch_size=1))
    run(held, N)
    form = held.batches.form

    def full(_: object) -> object:
        raise MemoryError

    held.batches.form = full
    failed(held, N)
    held.batches.form = form
    run(held, N)
    assert held.batches.batch[0].tolist() == [[1, 1, 1, 1]]
