"""Numbers as text: one set of rules for all of them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradstep.values import numbers

ALL = {
    "single": numbers.single,
    "norm": numbers.norm,
    "loss": numbers.loss,
    "change": lambda value: numbers.loss(value, sign=True),
    "short": numbers.short,
    "signed": lambda value: numbers.signed(value, numbers.form_of([value])),
}
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(FINITE)
def test_every_form_has_a_real_minus_and_reads_back_near(value: float) -> None:
    for name, write in ALL.items():
        text = write(abs(value) if name == "norm" else value)
        assert "-" not in text
        assert text.startswith(numbers.MINUS) == (name != "norm" and math.copysign(1, value) < 0), name
        read = float(text.replace(numbers.MINUS, "-"))
        assert abs(read) == pytest.approx(abs(value), rel=6e-3, abs=0), name


@pytest.mark.parametrize("name", ALL)
def test_what_is_not_finite_has_one_name(name: str) -> None:
    write = ALL[name]
    assert write(math.nan).lower() == "nan"
    assert write(math.inf).removeprefix("+") == "inf"
    assert write(-math.inf) == f"{numbers.MINUS}inf"
    assert (write(math.inf)[0] == "+") == (name in ("change", "signed", "single"))


@pytest.mark.parametrize(
    ("value", "loss", "norm"),
    [
        (None, "", ""),
        (0.0, "0.0000", "0"),
        (12.5, "12.5000", "12.500"),
        (1.25e-4, "1.2500e−04", "1.25e−04"),
        (2e7, "2.0000e+07", "2.00e+07"),
    ],
)
def test_losses_and_norms(value: float | None, loss: str, norm: str) -> None:
    assert (numbers.loss(value), numbers.norm(value)) == (loss, norm)


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (None, "", "·"),
        (0.0, "", "0"),
        (1.25, "", "+1.2500"),
        (-12.5, "", "−12.500"),
        (0.001, "", "+0.00100"),
        (9.9e-5, "", "+9.900e−05"),
        (3.0, "int64", "+3"),
    ],
)
def test_single_numbers(value: float | None, dtype: str, text: str) -> None:
    assert numbers.single(value, dtype) == text
    assert numbers.single(value, dtype, plus=False) == text.removeprefix("+")


@given(st.floats(-1e300, 1e300), st.integers(2, 8))
def test_a_single_number_keeps_three_significant_digits(value: float, digits: int) -> None:
    text = numbers.single(value, digits=digits)
    assert "-" not in text
    assert float(text.replace("−", "-")) == pytest.approx(value, rel=0.6 * 10 ** (1 - min(digits, 3)), abs=0)


@pytest.mark.parametrize(
    ("greatest", "visible", "scale"),
    [(0.07, [2e-7, -3e-6, 0.0], 3e-6), (0.07, [2e-7, 0.001], 0.07), (2.0, [0.0, None, math.nan], 2.0), (0.0, [], 0.0)],
)
def test_visible_numbers_that_would_all_round_to_zero_choose_the_form(greatest, visible, scale) -> None:
    assert numbers.form_scale(greatest, visible, 3) == scale
