"""J is compared with finite differences of the operation, run again from what its node kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_derivatives import CASES, tame, wild
from torch import Tensor
from torch.nn import functional as F

from gradstep.engine.autograd.derivatives.rerun_table import TABLE
from gradstep.engine.autograd.finite_differences import FiniteDifference, check, compare
from gradstep.engine.autograd.jacobian import Refusal


@pytest.mark.parametrize("name", sorted(TABLE))
def test_j_of_every_operation_that_can_be_run_again_agrees(name: str) -> None:
    torch.manual_seed(4)
    seen = 0
    for make in CASES[name]:
        y = make()
        node: Any = y.grad_fn
        for edge, (following, _) in enumerate(node.next_functions):
            if following is None:
                continue
            found = check(node, edge, y.output_nr)
            assert isinstance(found, FiniteDifference), (edge, found)
            assert found.agrees, (edge, found)
            seen += 1
    assert seen


def test_every_kind_of_node_that_can_be_run_again_has_a_case() -> None:
    assert set(TABLE) <= set(CASES)


def test_small_ones_are_compared_element_by_element_and_large_ones_in_random_directions() -> None:
    small: Any = wild(4, 5).tanh().grad_fn
    large: Any = torch.randn(64, 256, requires_grad=True).tanh().grad_fn
    assert isinstance(made := check(small, 0), FiniteDifference)
    assert made.how == "all 400 elements of J"
    assert isinstance(made := check(large, 0), FiniteDifference)
    assert made.how == "J u for 3 random u"
    assert 0 < made.error < made.tolerance


def test_attention_is_compared_from_both_sides_where_it_is_large() -> None:
    given = [torch.randn(2, 4, 64, 32, requires_grad=True) for _ in range(3)]
    node: Any = F.scaled_dot_product_attention(*given).grad_fn
    assert isinstance(made := check(node, 0), FiniteDifference)
    assert made.how == "v · J u for 3 random u and v"
    assert made.agrees


@pytest.mark.parametrize("shape", [(4, 5), (64, 64)])
def test_a_wrong_derivative_is_found(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    x = tame(*shape)
    node: Any = x.log().grad_fn
    assert isinstance(right := check(node, 0), FiniteDifference)
    assert right.agrees
    monkeypatch.setitem(TABLE, "LogBackward0", TABLE["Log2Backward0"])
    assert isinstance(wrong := check(node, 0), FiniteDifference)
    assert not wrong.agrees
    assert wrong.error > 0.1


def test_kinks_are_left_out_and_said() -> None:
    torch.manual_seed(0)
    for shape in ((1, 1, 4, 4), (2, 8, 32, 32)):  # element by element, and in random directions
        y = F.max_pool2d(torch.randn(shape, requires_grad=True).relu(), 2)
        found = check(y.grad_fn, 0)  # type: ignore[arg-type]
        assert isinstance(found, FiniteDifference)
        assert found.agrees
        assert "skipped at a kink" in found.how
    tie = torch.ones(3, requires_grad=True).amax()
    refused = check(tie.grad_fn, 0)  # type: ignore[arg-type]
    assert isinstance(refused, Refusal)
    assert "kink" in refused.why


def test_what_was_not_kept_is_said() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    for y, what in ((x.max(1)[0], "MaxBackward0"), (torch.linalg.svd(x)[1], "LinalgSvdBackward0")):
        found = check(y.grad_fn, 0, y.output_nr)  # type: ignore[arg-type]
        assert isinstance(found, Refusal)
        assert found.why == f"{what} did not save what its operation needs to be rerun"


def test_half_precision_is_given_what_its_rounding_explains() -> None:
    x: Tensor = torch.randn(4, 5, dtype=torch.bfloat16, requires_grad=True)
    found = check(F.silu(x).grad_fn, 0)  # type: ignore[arg-type]
    assert isinstance(found, FiniteDifference)
    assert found.agrees
    assert found.tolerance == pytest.approx(2**-3.5)


def test_a_freed_node_is_refused() -> None:
    y = torch.randn(3, requires_grad=True).exp()
    y.sum().backward()
    found = check(y.grad_fn, 0)  # type: ignore[arg-type]
    assert isinstance(found, Refusal)
    assert found.kind == "freed"


@pytest.mark.parametrize("size", [3, 600])
def test_j_that_is_not_finite_is_said_to_be_so(size: int) -> None:
    y = torch.zeros(size, requires_grad=True).sqrt()
    made = compare(y.grad_fn, 0)  # type: ignore[arg-type]
    assert made.agrees is None
    where = (
        "∂ output[0] / ∂ input[0] is inf, finite differences give nan" if size == 3 else "J u is not, for a random u"
    )
    assert made.words == f"J is not finite: {where}"


def test_the_verdict_is_in_words() -> None:
    made = compare(torch.randn(3, requires_grad=True).exp().grad_fn, 0)  # type: ignore[arg-type]
    assert made.agrees is True
    assert made.words.startswith("J agrees with finite differences: all 9 elements of J, relative error ")
    greatest = torch.randn(2, 2, requires_grad=True).max(1)[0]
    made = compare(greatest.grad_fn, 0)  # type: ignore[arg-type]
    assert made.agrees is None
    assert made.words.startswith("J is not compared with finite differences: MaxBackward0 did not save what")
