"""Reading tensors on the host: bit for bit, and in one transfer for all who read at the same time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from gradstep.engine import reads
from gradstep.engine.bits import same_bits
from gradstep.engine.reads import Reading, fetched, gather, read, scalars


@pytest.fixture
def transfers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grow by the number of tensors that come in one transfer, as if they were on a device."""
    made: list[int] = []
    monkeypatch.setattr(reads, "on_host", lambda _: False)
    monkeypatch.setattr(reads, "fetched", lambda given: [made.append(len(given)), fetched(given)][1])
    return made


def of_all_kinds() -> list[Tensor]:
    torch.manual_seed(0)
    some = torch.randn(3, 4)
    return [
        torch.tensor([True, False, True]),
        some.t(),
        some[0, 0],
        some.double()[::2],
        some.bfloat16(),
        some.to(torch.complex64).conj(),
        torch.tensor([float("nan"), -0.0, float("inf")]).half(),
        torch.tensor(1 << 60),
        torch.zeros(0, 2),
        some.requires_grad_(),
    ]


def test_tensors_of_all_kinds_arrive_bit_for_bit(transfers: list[int]) -> None:
    tensors = of_all_kinds()
    for tensor, arrived in zip(tensors, fetched(tensors), strict=True):
        assert same_bits(tensor, arrived)
        assert not arrived.requires_grad
    assert not transfers


def rounds(count: int, of: Tensor) -> Reading[list[float]]:
    found = []
    for i in range(count):
        found += yield from scalars([of + i])
    return found


def test_readings_that_are_gathered_share_their_transfers(transfers: list[int]) -> None:
    one, other, none = read(
        gather([rounds(3, torch.tensor(1.0)), rounds(1, torch.tensor(5)), rounds(0, torch.ones(1))])
    )
    assert (one, other, none) == ([1.0, 2.0, 3.0], [5.0], [])
    assert transfers == [2, 1, 1]


def test_what_is_on_the_host_is_read_in_order_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []

    def noted(number: int) -> Reading[None]:
        for _ in range(2):
            yield [torch.ones(1)]
            done.append(number)

    def refused(_: Sequence[Tensor]) -> Sequence[Tensor]:
        raise AssertionError

    monkeypatch.setattr(reads, "fetched", refused)
    read(gather([noted(1), noted(2)]))
    assert done == [1, 1, 2, 2]
