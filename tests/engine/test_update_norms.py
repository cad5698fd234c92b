"""The norm of what a write changed, in blocks."""

from __future__ import annotations

import math

import pytest
import torch

from gradstep.engine.numbers.norms import BY_ROWS, all_update_norms, change_norm, norm_of, wide
from gradstep.engine.reads import read


@pytest.mark.parametrize("size", [10, BY_ROWS - 1, BY_ROWS, 300_001, 1_000_003])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_norm_of_a_change_is_that_of_the_difference(size: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    before = torch.randn(size).to(dtype)
    now = (before.float() + 0.01 * torch.randn(size)).to(dtype)
    found = change_norm(now, before)
    assert found == norm_of(wide(now) - wide(before))
    assert change_norm(now.reshape(1, -1), before.reshape(1, -1)) == found
    assert read(all_update_norms([(now, before)])) == [(norm_of(before), norm_of(now), found)]


def test_values_that_are_not_finite_and_other_layouts_are_as_alone() -> None:
    before = torch.randn(400, 1000)
    now = before.clone()
    now[3, 3] = torch.nan
    assert math.isnan(change_norm(now, before) or 0.0)
    large = torch.full((400_000,), 1e30)
    assert change_norm(large, torch.zeros_like(large)) == norm_of(large) == pytest.approx(1e30 * 400_000**0.5)
    turned = before.t()
    assert change_norm(turned, turned.clone()) == 0.0
