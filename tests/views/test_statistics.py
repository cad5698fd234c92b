"""Statistics against torch's own, over every dtype, shape and stride; where extremes are; norms of any length."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from running import runner_of
from torch import Tensor, nn
from torch.nn import functional

from gradstep.engine.held import Held
from gradstep.engine.numbers.norms import norm_of, norms
from gradstep.engine.numbers.readable import real
from gradstep.engine.numbers.selection import cut
from gradstep.engine.reads import read
from gradstep.values.commands import Backward, Forward, Step
from gradstep.values.views.tensor import EXTREMES, LookPlace, PlaceView, Statistics
from gradstep.views.tensor import goto
from gradstep.views.tensor import statistics as room
from gradstep.views.tensor.before_after import BeforeAfter, statistics_of
from gradstep.views.tensor.goto import place_view
from gradstep.views.tensor.view import Selection
from gradstep.workload import Workload

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
DTYPES += [torch.complex64, torch.float8_e4m3fn]


def of(tensor: Tensor, before: Tensor | None = None, bins: int = 8, *items: Any, quantity: str = "value") -> Statistics:
    side = BeforeAfter("it", tensor, before, "kept" if before is not None else "unknown")
    return read(statistics_of(side, cut(tensor.shape, items), quantity, bins))  # type: ignore[arg-type]


@st.composite
def tensors(draw: st.DrawFn, odd: bool = True) -> Tensor:
    """A tensor of any dtype and strides, with NaN, inf and zeros in some."""
    shape = draw(st.lists(st.integers(1, 6), max_size=4))
    dtype = draw(st.sampled_from(DTYPES))
    values = torch.randn([2 * size for size in shape]) * draw(st.sampled_from([1e-3, 1.0, 40.0]))
    values = values.abs() if dtype is torch.uint8 else values
    flat = values.view(-1)
    flat[:: draw(st.integers(1, 9))] = 0.0
    if odd and dtype.is_floating_point and draw(st.booleans()):
        flat[draw(st.integers(0, flat.numel() - 1))] = math.nan
        flat[draw(st.integers(0, flat.numel() - 1))] = draw(st.sampled_from([math.inf, -math.inf]))
    tensor = values.to(dtype)[tuple(slice(None, None, 2) for _ in shape)]
    return tensor.permute(draw(st.permutations(range(len(shape)))))


def near(value: float | None, expected: Tensor | float, size: float) -> bool:
    wanted = float(expected)
    assert value is not None
    return (math.isnan(value) and math.isnan(wanted)) or value == pytest.approx(wanted, rel=2e-6, abs=2e-6 * size)


@settings(max_examples=300)
@given(tensors(), st.sampled_from([1, 7, 1 << 17]))
def test_statistics_are_torchs_own(tensor: Tensor, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_CHUNK", chunk)
        patch.setattr(room, "_WHOLE", chunk)
        found = of(tensor)
    plain = real(tensor).double().reshape(-1)
    finite, numbers = plain[plain.isfinite()], plain[~plain.isnan()]
    size = float(finite.abs().max()) if finite.numel() else 1.0
    assert found.count == plain.numel()
    assert found.zeros == int((plain == 0).sum())
    assert found.nans == int(plain.isnan().sum())
    assert found.infs == int(plain.isinf().sum())
    assert found.minimum == (float(numbers.min()) if numbers.numel() else None)
    assert found.maximum == (float(numbers.max()) if numbers.numel() else None)
    assert near(found.mean, plain.mean(), size)
    assert found.std is None if plain.numel() == 1 else near(found.std, plain.std(), size)
    if tensor.is_floating_point() or tensor.is_complex():
        assert near(found.norm, torch.linalg.vector_norm(plain), size)
    else:
        assert found.norm is None
    shaping = finite[finite != 0]
    assert near(found.rms, shaping.square().mean().sqrt() if shaping.numel() else 0.0, size)
    if finite.numel():
        assert found.histogram is not None
        assert sum(found.histogram.counts) == finite.numel()
        assert (found.histogram.low, found.histogram.high) == (float(finite.min()), float(finite.max()))


@settings(max_examples=100)
@given(tensors(odd=False), st.data())
def test_the_statistics_of_a_change_are_those_of_the_difference(tensor: Tensor, data: st.DataObject) -> None:
    before = tensor.clone()
    tensor = tensor.clone() if tensor.dtype is torch.bool else (real(tensor) * 1.5).to(tensor.dtype)
    difference = real(tensor - before) if tensor.is_complex() else real(tensor).double() - real(before).double()
    found = of(tensor, before, quantity="change")
    size = float(real(tensor).abs().max())
    assert near(found.mean, difference.mean(), size)
    assert near(found.maximum, difference.max(), size)
    ratio = of(tensor, before, quantity="ratio")
    assert ratio.count == int((real(before) != 0).sum()), "there is no ratio to 0"


def test_a_mean_far_from_zero_leaves_the_spread_its_digits() -> None:
    values = torch.arange(4096, dtype=torch.float32) % 7 + 100_000
    assert of(values).std == pytest.approx(float(values.double().std()), rel=1e-9)


@pytest.mark.parametrize(("value", "dtype"), [(1e30, torch.float32), (1e-30, torch.float32), (1e300, torch.float64)])
def test_what_leaves_its_dtype_when_squared_is_measured_still(value: float, dtype: torch.dtype) -> None:
    found = of(torch.tensor([value, -value, 0.0], dtype=dtype))
    assert found.rms == pytest.approx(value, rel=1e-6) if value < 1e150 else found.minimum == -value


@pytest.mark.parametrize("bins", [4, 24])
def test_the_bins_are_numpys(bins: int) -> None:
    numpy = pytest.importorskip("numpy")
    values = torch.randn(5000, dtype=torch.float64)
    made = of(values, None, bins).histogram
    assert made is not None
    assert list(made.counts) == list(numpy.histogram(values.numpy(), bins)[0])
    assert made.every == 1


def test_of_a_large_slice_evenly_taken_elements_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_SAMPLE", 1000)
    monkeypatch.setattr(room, "_WHOLE", 777)
    made = of(torch.arange(100_000, dtype=torch.float32).view(100, 1000)).histogram
    assert made is not None
    assert made.every == 101
    assert sum(made.counts) == math.ceil(100_000 / 101)
    assert max(made.counts) - min(made.counts) <= 1, "each part of it has its share"


def test_a_constant_has_one_bin_and_no_spread() -> None:
    found = of(torch.full((5,), 0.1))
    assert (found.std, found.histogram and found.histogram.counts) == (0.0, (5,))


# -- norms -------------------------------------------------------------------------------------------------------------
def test_the_norm_of_a_large_tensor_has_all_its_digits() -> None:
    """`torch.linalg.vector_norm` itself is off by 1e-5 here: it adds a million squares up in float32."""
    torch.manual_seed(0)
    large = torch.randn(1100, 1001) * 0.02
    exact = float(torch.linalg.vector_norm(large, dtype=torch.float64))
    assert norm_of(large) == pytest.approx(exact, rel=1e-7)
    assert read(norms([large]))[0] == norm_of(large) == of(large).norm


# -- extremes ----------------------------------------------------------------------------------------------------------
def hold(tensor: Tensor) -> Held:
    model = nn.Linear(4, 2)
    model.register_buffer("it", tensor)
    batches = [(torch.ones(3, 4), torch.zeros(3, 2))]
    return Held(
        Workload(model, functional.mse_loss, lambda p: torch.optim.SGD(p, lr=0.1), batches), torch.device("cpu")
    )


def place(held: Held, path: str, look: LookPlace, *items: Any) -> PlaceView:
    return place_view(held, 1, Selection(path, path, items), held.tensor(path), look)


@settings(max_examples=200)
@given(tensors(), st.sampled_from(EXTREMES), st.integers(1, 50), st.data())
def test_extremes_are_where_torch_finds_them(tensor: Tensor, extreme: Any, rows: int, data: st.DataObject) -> None:
    items = tuple(
        data.draw(st.integers(0, n - 1) | st.builds(slice, st.integers(0, n - 1), st.just(None), st.integers(1, 2)))
        for n in tensor.shape[: data.draw(st.integers(0, tensor.dim()))]
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(goto, "_ROWS", rows)
        found = place(hold(tensor), "it", LookPlace(extreme), *items)
    flat = real(tensor[items]).double().reshape(-1)
    numbers = flat[~flat.isnan()]
    if extreme == "change":
        assert found.why == "nothing changed in it"
        return
    if extreme in ("nan", "inf"):
        odd = flat.isnan() if extreme == "nan" else flat.isinf()
        assert (found.index is not None) == bool(odd.any())
        expected = int(odd.to(torch.uint8).argmax())
    else:
        assert (found.index is not None) == bool(numbers.numel())
        score = {"max": flat, "min": -flat, "abs": flat.abs()}[extreme]
        expected = int((score == score[~score.isnan()].max()).to(torch.uint8).argmax()) if numbers.numel() else 0
    if found.index is None:
        assert found.why
        return
    # the first of several, and an index into the whole tensor
    assert (
        torch.arange(tensor.numel()).view(tensor.shape)[items].reshape(-1)[expected]
        == (torch.arange(tensor.numel()).view(tensor.shape)[found.index])
    )


def test_the_largest_change_is_found_of_a_weight_and_of_its_grad() -> None:
    held = hold(torch.zeros(1))
    for act in (Forward(), Backward()):
        runner_of(held).run(act)
    with torch.no_grad():
        held.model.weight.grad[1, 2] = -9.0  # type: ignore[index]
    runner_of(held).run(Step())
    found = place(held, "weight", LookPlace("change"))
    assert (found.index, found.value) == ((1, 2), pytest.approx(0.9))
    assert place(held, "weight", LookPlace("change", grad=True)).why == "nothing changed in it"
    assert place(held, "weight", LookPlace("min", grad=True)).index == (1, 2)
    assert place(held, "it", LookPlace("max", grad=True)).why == "there is no .grad"


def test_what_cannot_be_searched_says_why() -> None:
    held = hold(torch.zeros(3))
    assert place_view(held, 1, None, None, LookPlace("max")).why == "there is nothing to search"
    meta = torch.zeros(2, device="meta")
    assert "no values" in place_view(held, 1, Selection("m", "m", ()), meta, LookPlace("max")).why
    given = Selection("input", "input", ())
    assert place_view(held, 1, given, torch.ones(2), LookPlace("change")).why == "its values before were not kept"
