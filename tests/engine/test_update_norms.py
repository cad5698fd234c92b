"""The norms of a write: before, after and of the difference, in one pass."""

from __future__ import annotations

import math

import pytest
import torch

from gradstep.engine.numbers.norms import BY_ROWS, norm_of, update_norms, wide


@pytest.mark.parametrize("size", [10, BY_ROWS - 1, BY_ROWS, 300_001, 1_000_003])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_norms_of_an_update_are_those_of_each_taken_alone(size: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    before = torch.randn(size).to(dtype)
    now = (before.float() + 0.01 * torch.randn(size)).to(dtype)
    found = update_norms(now, before)
    assert found == (norm_of(before), norm_of(now), norm_of(wide(now) - wide(before)))
    assert update_norms(now.reshape(1, -1), before.reshape(1, -1)) == found


def test_values_that_are_not_finite_and_other_layouts_are_as_alone() -> None:
    before = torch.randn(400, 1000)
    now = before.clone()
    now[3, 3] = torch.nan
    assert math.isnan(update_norms(now, before).change or 0.0)
    large = torch.full((400_000,), 1e30)
    assert update_norms(large, torch.zeros_like(large)).after == norm_of(large) == pytest.approx(1e30 * 400_000**0.5)
    turned = before.t()
    assert update_norms(turned, turned.clone()).change == 0.0
