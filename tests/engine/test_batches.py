"""Batches come in the order of a plain loop, for each kind of source."""

from __future__ import annotations

import random
from collections import namedtuple
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from holding import CPU, Broken, F, N, failed, hold, run
from torch import nn
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, TensorDataset

from gradstep.engine.debuggee.batches import Batches, move
from gradstep.engine.debuggee.generators import RandomKeeper, seed_everything
from gradstep.engine.held import Held
from gradstep.values.errors import GradstepError
from gradstep.workload import Workload

PAIRS = [(torch.randn(3, 4), torch.randn(3, 2)) for _ in range(3)]


def take(source: Any, count: int) -> list[Any]:
    batches = Batches(source, CPU, RandomKeeper())
    taken = []
    for _ in range(count):
        batches.take()
        taken.append(batches.batch)
    return taken


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_list_goes_round_and_round() -> None:
    assert all(taken[0] is pair[0] for taken, pair in zip(take(PAIRS, 7), PAIRS * 3, strict=False))


def test_a_new_epoch_is_told_but_the_first() -> None:
    batches = Batches(PAIRS, CPU, RandomKeeper())
    assert [batches.take() for _ in range(7)] == [False, False, False, True, False, False, True]
    assert (batches.taken, batches.within) == (7, 1)


def test_one_batch_is_kept() -> None:
    assert Batches(PAIRS[:1], CPU, RandomKeeper()).single
    assert not Batches(PAIRS, CPU, RandomKeeper()).single
    held = run(hold(nn.Linear(4, 2), PAIRS[:1]), F)
    assert held.natural() == ("backward",)
    run(held, N)
    assert held.natural() == ("forward",)


@pytest.mark.parametrize("own", [True, False])
def test_a_shuffling_loader_gives_what_the_plain_loop_gives(own: bool) -> None:
    def loader() -> DataLoader[Any]:
        seed_everything(5)
        data = TensorDataset(torch.arange(7.0), torch.arange(7.0))
        return DataLoader(data, batch_size=2, shuffle=True, generator=torch.Generator().manual_seed(1) if own else None)

    plain, made = [], loader()
    for _ in range(3):
        for batch in made:
            plain.append(batch)
            torch.rand(2)  # what dropout does
    ours, batches = [], Batches(loader(), CPU, RandomKeeper())
    for _ in range(12):
        batches.take()
        ours.append(batches.batch)
        torch.rand(2)
    assert len(plain) == 12
    assert all(map(same, plain, ours))


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("at", [0, 1, 3, 4, 6])
def test_going_back_in_a_shuffling_loader_gives_the_same_batches_again(at: int, own: bool) -> None:
    seed_everything(5)
    data = TensorDataset(torch.arange(7.0), torch.arange(7.0))
    keeper = RandomKeeper()
    generator = torch.Generator().manual_seed(1) if own else None
    batches = Batches(DataLoader(data, batch_size=2, shuffle=True, generator=generator), CPU, keeper)
    for _ in range(at):
        batches.take()
    cursor, before = batches.cursor(), keeper.capture()
    turns = []
    for _ in range(2):
        turns.append([])
        for _ in range(6):
            batches.take()
            turns[-1].append((batches.batch, torch.rand(1)))
        batches.restore(cursor)
        keeper.restore(before)
    for (one, drawn), (other, again) in zip(*turns, strict=True):
        assert same(one, other)
        assert torch.equal(drawn, again)


def test_an_iterable_is_started_again_when_it_ends() -> None:
    class Twice:
        def __iter__(self) -> Iterator[int]:
            return iter([1, 2])

    assert take(Twice(), 5) == [1, 2, 1, 2, 1]


def test_a_generator_that_ends_says_so_and_loses_nothing() -> None:
    held = hold(nn.Linear(4, 2), iter(PAIRS[:2]))
    run(held, N, N)
    problem = failed(held, N)
    assert problem.title == "there are no more batches"
    assert "yielded 2 batches" in problem.what
    assert held.batches.batch[0] is PAIRS[1][0]
    run(held, F)


@pytest.mark.parametrize("source", [[].__iter__(), DataLoader(TensorDataset(torch.zeros(0)))])
def test_a_source_without_a_batch_says_so(source: Any) -> None:
    with pytest.raises(GradstepError) as caught:
        take(source, 1)
    assert caught.value.problem.title == "there are no more batches"


def test_an_iterator_behind_an_iterable_ends_in_words_too() -> None:
    class Once:
        def __init__(self) -> None:
            self.it = iter([1])

        def __iter__(self) -> Iterator[int]:
            return self.it

    with pytest.raises(GradstepError) as caught:
        take(Once(), 2)
    assert "yielded 1 batches" in caught.value.problem.what


def test_a_generators_batch_is_not_lost_when_the_forward_on_it_raises() -> None:
    def draws() -> Iterator[Any]:
        for pair in PAIRS:
            yield pair[0] + torch.rand(()), pair[1] + random.random()

    def train(fails: bool) -> list[tuple[int, float]]:
        seed_everything(1)
        model = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2))
        held = hold(model, draws())
        if fails:
            hook = model.register_forward_pre_hook(lambda *_: 1 / 0)
            assert "ZeroDivisionError" in failed(held, F).what
            hook.remove()
        run(held, F, N, F)
        return held.losses

    assert train(fails=True) == train(fails=False)


def test_a_function_may_take_the_number_of_batches_before_it() -> None:
    assert take(lambda: 7, 2) == [7, 7]
    assert take(lambda i: i, 3) == [0, 1, 2]
    assert take(lambda size=8: size, 2) == [8, 8], "a default is the function's own"
    assert take(lambda *_: "any", 1) == ["any"]


def test_a_batch_of_none_is_taken_once() -> None:
    calls = []
    held = hold(
        nn.Linear(4, 2),
        lambda: calls.append(1),
        compute_loss=lambda model, batch: model(torch.ones(4)).sum(),
    )
    run(held, F, F)
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("source", "title"),
    [([], "there are no batches"), (7, "the batches can't be iterated"), (None, "the workload has no batches")],
)
def test_what_gives_no_batches_is_refused_when_it_is_loaded(source: Any, title: str) -> None:
    with pytest.raises(GradstepError) as caught:
        Held(Workload(nn.Linear(4, 2), nn.MSELoss(), lambda p: torch.optim.SGD(p, lr=1), source), CPU)
    assert caught.value.problem.title == title


def test_a_batch_that_is_no_pair_is_said_with_what_it_is() -> None:
    held = hold(nn.Linear(4, 2), [torch.zeros(3, 4)])
    assert failed(held, F).what == "it is a Tensor"
    held = hold(nn.Linear(4, 2), [PAIRS[0] + PAIRS[1]])
    assert failed(held, F).what == "it is a tuple of 4"


def test_moving_keeps_the_form_of_a_batch() -> None:
    Both = namedtuple("Both", "x y")
    batch = {"a": [Both(torch.ones(1), 2)], "b": (torch.zeros(2), "text", None)}
    moved = move(batch, torch.device("meta"))
    assert isinstance(moved["a"][0], Both)
    assert moved["a"][0].x.is_meta
    assert moved["b"][0].is_meta
    assert moved["b"][1:] == ("text", None)
    packed = move(pack_sequence([torch.ones(2), torch.ones(1)]), CPU)
    assert packed.batch_sizes.tolist() == [2, 1]


def test_an_epoch_scheduler_steps_where_the_epoch_ends() -> None:
    held = hold(
        nn.Linear(4, 2), PAIRS, schedulers=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5), schedule="epoch"
    )
    seen = []
    for _ in range(7):
        run(held, N)
        seen.append(held.rates()[0])
    assert seen == [0.1] * 3 + [0.05] * 3 + [0.025]


def test_one_batch_is_taken_again_where_that_ends_an_epoch_for_a_scheduler() -> None:
    held = hold(
        nn.Linear(4, 2), PAIRS[:1], schedulers=lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5), schedule="epoch"
    )
    run(held, F)
    held.point = type(held.point)(phase="zero_grad", used_batch=True)
    assert held.natural() == ("next_batch", "forward")


def test_a_batch_taken_before_its_scheduler_raised_comes_again() -> None:
    class Raises:
        fail = True

        def step(self) -> None:
            if self.fail:
                raise Broken("on purpose")

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, _: dict[str, Any]) -> None:
            pass

    scheduler = Raises()
    held = hold(nn.Linear(4, 2), PAIRS[:2], schedulers=scheduler, schedule="epoch")
    run(held, N, N)
    failed(held, N)
    assert held.batches.batch[0] is PAIRS[1][0]
    scheduler.fail = False
    run(held, N)
    assert held.batches.batch[0] is PAIRS[0][0]
