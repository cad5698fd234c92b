"""The largest magnitudes that checks of gradients read are those of torch's infinity norm."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gradstep.checks.numbers.gradients import blocks, largest

SMALL = [
    torch.tensor([1.0, -3.0, 2.0]),
    torch.tensor([0.0, -0.0]),
    torch.tensor([1.0, math.nan, -3.0]),
    torch.tensor([1.0, -math.inf]),
    torch.tensor([3 + 4j, 1.0]),
    torch.tensor([1.0, -2.0], dtype=torch.bfloat16),
    torch.tensor(-5.0),
]


@pytest.mark.parametrize("more", [[], [torch.linspace(-7, 6, 1 << 15)]], ids=["small", "with a large one"])
def test_largest_is_the_infinity_norm_of_each(more: list[Tensor]) -> None:
    tensors = [*SMALL, *more]
    found = largest([torch.empty(0), *tensors])
    assert found[0] == 0
    expected = [torch.linalg.vector_norm(each, math.inf).item() for each in tensors]
    assert repr(found[1:]) == repr(expected)  # NaN too


def test_blocks_of_a_large_tensor_are_small_enough_to_be_read_in_one_pass() -> None:
    assert blocks(torch.zeros(100, 1000)).numel() == 1 << 14
