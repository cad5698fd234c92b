"""How far two tensors are apart, and what counts as close: as torch.testing.assert_close has it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack
from torch.testing._comparison import default_tolerances

from gradstep.engine.diagnose.closeness import close_for, difference_of
from gradstep.values.differences import FileComparison, FirstDifference, RunComparison, TensorDifference, Tolerance

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128, torch.int64]
NUMBERS = st.floats(-1e4, 1e4, width=32) | st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan])


@pytest.mark.parametrize("one", DTYPES)
@pytest.mark.parametrize("other", DTYPES)
def test_what_passes_unless_told_is_what_torch_lets_pass(one: torch.dtype, other: torch.dtype) -> None:
    assert close_for(one, other) == default_tolerances(one, other)


@given(st.lists(st.tuples(NUMBERS, NUMBERS | st.none()), min_size=1, max_size=6), st.sampled_from([0.0, 1e-3, 0.5]))
def test_close_is_what_assert_close_calls_so(pairs: list[tuple[float, float | None]], tolerance: float) -> None:
    one = torch.tensor([a for a, _ in pairs], dtype=torch.float64)
    other = torch.tensor([a if b is None else b for a, b in pairs], dtype=torch.float64)
    try:
        torch.testing.assert_close(other, one, rtol=tolerance, atol=tolerance, equal_nan=True)
        close = True
    except AssertionError:
        close = False
    assert (difference_of("x", one, other, Tolerance(tolerance, tolerance)) is None) is close


@given(st.floats(-1e6, 1e6, width=32).filter(bool), st.integers(1, 40))
def test_ulps_are_the_numbers_between(start: float, steps: int) -> None:
    one = torch.tensor(start, dtype=torch.float32)
    other = one
    for _ in range(steps):
        other = torch.nextafter(other, torch.tensor(math.copysign(math.inf, start)))
    found = difference_of("x", one, other)
    assert found is not None
    assert found.ulps == steps


def test_bits_are_compared_where_nothing_is_let_pass() -> None:
    assert difference_of("x", torch.tensor([math.nan, 1.0]), torch.tensor([math.nan, 1.0])) is None
    found = difference_of("x", torch.tensor([1.0, 0.0]), torch.tensor([1.0, -0.0]))
    assert found is not None
    assert (found.largest, found.at, found.differing) == (0.0, (1,), 1)
    assert difference_of("x", torch.tensor([0.0]), torch.tensor([-0.0]), Tolerance(0.0, 0.0)) is None


def test_how_far_is_told_where_it_is_farthest() -> None:
    one, other = torch.zeros(3, 4), torch.zeros(3, 4)
    one[0, 0], other[2, 1], other[1, 1] = 3.0, -4.0, 1e-3
    assert difference_of("x", one, other) == TensorDifference(
        "x",
        largest=4.0,
        at=(2, 1),
        first=0.0,
        second=-4.0,
        relative=pytest.approx(math.sqrt(25 + 1e-6) / 3),
        differing=3,
        elements=12,
    )


def test_a_nan_on_one_side_is_the_farthest() -> None:
    found = difference_of("x", torch.tensor([0.0, 1.0, 2.0]), torch.tensor([9.0, math.nan, 2.0]), Tolerance())
    assert found is not None
    assert math.isnan(found.largest or 0.0)
    assert found.at == (1,)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (None, "a tensor and none"),
        (torch.zeros(3), "its shape is (2,) and (3,)"),
        (torch.zeros(2, dtype=torch.float64), "its dtype is float32 and float64"),
    ],
)
def test_where_there_is_no_number_it_says_why(other: torch.Tensor | None, what: str) -> None:
    assert difference_of("x", torch.zeros(2), other) == TensorDifference("x", what)
    assert difference_of("x", None, None) is None


def test_two_dtypes_are_close_by_the_coarser_one() -> None:
    exact = torch.linspace(1, 2, 50, dtype=torch.float64)
    assert difference_of("x", exact.to(torch.bfloat16), exact, Tolerance()) is None
    # what both hold in float32, and one has computed in bfloat16
    assert difference_of("loss", exact.to(torch.bfloat16).float(), exact.float(), Tolerance()) is not None
    assert (
        difference_of("loss", exact.to(torch.bfloat16).float(), exact.float(), Tolerance(dtypes=("bfloat16",))) is None
    )
    assert difference_of("step", torch.tensor(3), torch.tensor(4), Tolerance(dtypes=("bfloat16",))) is not None


@pytest.mark.parametrize(
    "pair",
    [
        (torch.eye(3).to_sparse(), (2 * torch.eye(3)).to_sparse()),
        (torch.tensor([1 + 1j]), torch.tensor([1 + 3j])),
        (torch.tensor([True, False]), torch.tensor([True, True])),
        (torch.empty(0, 3), torch.empty(0, 4)),
    ],
    ids=["sparse", "complex", "bool", "empty"],
)
def test_every_kind_of_tensor_can_be_compared(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    one, other = pair
    assert difference_of("x", one, one.clone()) is None
    found = difference_of("x", one, other)
    assert found is not None
    assert found.what or found.largest in (1.0, 2.0)


def test_large_tensors_are_compared_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = torch.arange(100.0), torch.arange(100.0)
    other[57] = -1
    whole = difference_of("x", one, other)
    monkeypatch.setattr("gradstep.engine.diagnose.closeness._PART", 7)
    assert difference_of("x", one, other) == whole
    assert whole is not None
    assert (whole.at, whole.largest) == ((57,), 58.0)


def test_all_of_it_survives_the_wire() -> None:
    tensor = TensorDifference("x", "", 1.0, (0, 1), 2.0, 3.0, 4, 0.5, 6, 7, 1e-3, 1e-5)
    sides = RunComparison(
        ("a", "b"),
        3,
        FirstDifference(("step", ""), ("a:1", ""), 2, tensor, None),
        ("one",),
        "b goes on",
        4,
        Tolerance(0.1),
    )
    for value in (sides, FileComparison(("a", "b"), (tensor,), ("lr",), 3)):
        assert msgpack.decode(msgpack.encode(value), type=type(value)) == value
