"""The indices that a DataLoader draws are recorded, and recording changes nothing."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from holding import CPU
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from gradstep.engine.debuggee.batches import Batches
from gradstep.engine.debuggee.generators import RandomKeeper
from gradstep.session.local import Session
from gradstep.values.commands import NextBatch
from gradstep.values.views.training import BatchView, LookBatch
from gradstep.workload import Workload

DATA = TensorDataset(torch.arange(17), torch.arange(17) * 10.0)


class Eager(BatchSampler):
    """Draws the whole epoch when an iterator is created, and counts the draws."""

    epochs = 0

    def __iter__(self) -> Iterator[list[int]]:
        self.epochs += 1
        order = torch.randperm(17).tolist()
        return iter([order[i : i + 5] for i in range(0, 17, 5)])


def loaders() -> list[DataLoader[Any]]:
    own = torch.Generator().manual_seed(3)
    return [
        DataLoader(DATA, 5),
        DataLoader(DATA, 5, shuffle=True, drop_last=True),
        DataLoader(DATA, 5, sampler=RandomSampler(DATA, generator=own)),
        DataLoader(DATA, 5, sampler=WeightedRandomSampler([1.0] * 17, 17)),
        DataLoader(DATA, 5, sampler=SubsetRandomSampler([3, 5, 7, 9, 11, 13])),
        DataLoader(DATA, batch_sampler=Eager(range(17), 5, False)),
    ]


@pytest.mark.parametrize("which", range(6))
def test_each_batch_is_what_its_indices_say_and_the_run_is_the_plain_one(which: int) -> None:
    torch.manual_seed(0)
    plain = loaders()[which]
    expected = [*plain, *plain, *plain]
    state = torch.get_rng_state()
    torch.manual_seed(0)
    loader = loaders()[which]
    batches = Batches(loader, CPU, RandomKeeper())
    own = loader.batch_sampler
    for inputs, targets in expected:
        batches.take()
        assert torch.equal(batches.batch[0], inputs)
        assert torch.equal(batches.batch[1], targets)
        assert batches.drawn == tuple(inputs.tolist())
        assert loader.batch_sampler is own
    assert torch.equal(torch.get_rng_state(), state)
    if isinstance(own, Eager):
        assert own.epochs == 3


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_that_are_ahead_change_nothing_of_which_index_is_whose(persistent: bool) -> None:
    torch.manual_seed(0)
    loader = DataLoader(DATA, 5, shuffle=True, num_workers=2, prefetch_factor=2, persistent_workers=persistent)
    batches = Batches(loader, CPU, RandomKeeper())
    for _ in range(9):
        batches.take()
        assert batches.drawn == tuple(batches.batch[0].tolist())
    dropped = weakref.ref(loader)
    del loader, batches
    assert dropped() is None, "what the garbage collector finds waits for its workers"


class Stream(IterableDataset[Tensor]):
    def __iter__(self) -> Iterator[Tensor]:
        return iter(torch.arange(17))


def longest_first(samples: list[Any]) -> Any:
    return torch.utils.data.default_collate(sorted(samples, key=lambda pair: -int(pair[0])))


@pytest.mark.parametrize(
    "source",
    [
        DataLoader(Stream(), 5),
        DataLoader(DATA, 5, collate_fn=longest_first),
        DataLoader(DATA, batch_size=None),
        [(torch.zeros(5, 2), torch.zeros(5))],
        lambda: (torch.zeros(5, 2), torch.zeros(5)),
    ],
)
def test_nothing_is_told_that_can_not_be_known(source: Any) -> None:
    batches = Batches(source, CPU, RandomKeeper())
    batches.take()
    assert batches.drawn == ()


def test_going_back_brings_the_indices_back_and_batch_has_them() -> None:
    data = TensorDataset(torch.randn(17, 3), torch.randn(17, 1))
    loader = DataLoader(data, 5, shuffle=True)
    s = Session(
        Workload(
            torch.nn.Linear(3, 1), torch.nn.functional.mse_loss, lambda p: torch.optim.SGD(p, lr=0.1), batches=loader
        )
    )

    def samples() -> dict[int, int | None]:
        [view] = s.look(LookBatch(count=5))
        assert isinstance(view, BatchView)
        assert view.input == "input"
        for row in view.samples:
            assert row.drawn is not None
            assert row.input is not None
            assert row.input.rows[0] == tuple(data[row.drawn][0].tolist())
        return {row.index: row.drawn for row in view.samples}

    s.forward()
    first = samples()
    s.execute(NextBatch())
    s.forward()
    second = samples()
    assert second != first
    s.undo(2)
    assert samples() == first
    s.redo(2)
    assert samples() == second
