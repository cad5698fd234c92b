"""The Tensor view says what torch itself says: windows any slice and dimensions, changes, what can't be shown."""

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
from gradstep.engine.numbers.readable import part, stored
from gradstep.engine.numbers.selection import cut
from gradstep.engine.reads import read
from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.values.commands import Backward, Forward, Load, Show, Step, ZeroGrad
from gradstep.values.views.tensor import LookTensor, TensorView
from gradstep.views.tensor.view import Selection, TensorViewer
from gradstep.views.training.changes import changed_names, compared
from gradstep.workload import Workload

F, B, S, Z = Forward(), Backward(), Step(), ZeroGrad()


def hold(model: nn.Module, batches: Any = None, **more: Any) -> Held:
    given: dict[str, Any] = {
        "model": model,
        "loss": functional.mse_loss,
        "optimizer": lambda p: torch.optim.SGD(p, lr=0.1),
        "batches": batches if batches is not None else [(torch.ones(3, 4), torch.zeros(3, 2))],
        **more,
    }
    return Held(Workload(**given), torch.device("cpu"))


def run(held: Held, *acts: Any) -> Held:
    for act in acts:
        runner_of(held).run(act)
    return held


def window(held: Held, path: str, *items: object, tensor: Tensor | None = None, **look: Any) -> TensorView:
    tensor = held.tensor(path) if tensor is None else tensor
    return read(TensorViewer().view(held, 1, Selection(path, path, items), tensor, LookTensor(**look)))


def grid(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


# -- windows -----------------------------------------------------------------------------------------------------------
DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int8,
    torch.uint8,
    torch.uint16,
    torch.bool,
    torch.complex64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
]


@st.composite
def tensors(draw: st.DrawFn) -> tuple[Tensor, tuple[Any, ...]]:
    """A tensor of any dtype and strides, and an index that torch takes."""
    shape = draw(st.lists(st.integers(1, 5), max_size=4))
    dtype = draw(st.sampled_from(DTYPES))
    values = torch.randn([2 * size for size in shape]) * 3
    tensor = (values.abs() if dtype in (torch.uint8, torch.uint16) else values).to(dtype)
    if dtype is torch.float32 and tensor.numel() > 2:
        flat = tensor.view(-1)
        flat[0], flat[1], flat[-1] = -0.0, math.nan, -math.inf
    tensor = tensor[tuple(slice(None, None, 2) for _ in shape)]
    tensor = tensor.permute(draw(st.permutations(range(len(shape)))))
    items: list[Any] = []
    for size in tensor.shape[: draw(st.integers(0, len(shape)))]:
        if draw(st.booleans()):
            items.append(draw(st.integers(-size, size - 1)))
        else:
            start = draw(st.integers(0, size - 1))
            stop = draw(st.none() | st.integers(start + 1, 9))
            items.append(slice(draw(st.sampled_from([start, start - size])), stop, draw(st.sampled_from([None, 1, 2]))))
    if draw(st.booleans()):
        items.append(...)
    return tensor, tuple(items)


@st.composite
def looks(draw: st.DrawFn) -> tuple[Tensor, tuple[Any, ...], LookTensor]:
    """A tensor, an index, and a window onto any two of the dimensions that it keeps."""
    tensor, items = draw(tensors())
    kept = [axis for axis, part in enumerate(cut(tensor.shape, items).parts) if isinstance(part, range)]
    dims = tuple(draw(st.permutations(kept))[:2]) if draw(st.booleans()) else ()
    at = tuple(draw(st.integers(0, 4)) for _ in kept) if draw(st.booleans()) else ()
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return tensor, items, LookTensor(rows, columns, draw(st.integers(0, 4)), draw(st.integers(0, 4)), None, dims, at)


@settings(max_examples=400)
@given(looks())
def test_a_window_is_torchs_own_slice(case: tuple[Tensor, tuple[Any, ...], LookTensor]) -> None:
    tensor, items, look = case
    model = nn.Linear(4, 2)
    model.register_buffer("it", tensor)
    view = read(TensorViewer().view(hold(model), 1, Selection("it", "it", items), tensor, look))
    whole = tensor[items]
    assert view.shape == tuple(whole.shape) == tuple(axis.count for axis in view.axes)
    assert view.whole == tuple(tensor.shape)
    assert view.kind == ("number", "vector", "matrix")[min(2, whole.dim())]
    shown = [whole_dim(view, dim) for dim in view.dims]
    assert view.dims == (look.dims or tuple(axis.dim for axis in view.axes)[-2:])
    at = [min(place, axis.count - 1) for place, axis in zip(look.at or [0] * whole.dim(), view.axes, strict=True)]
    # the others at their index, then rows before columns: torch's own indexing and permute
    plane = whole[tuple(slice(None) if dim in shown else at[dim] for dim in range(whole.dim()))]
    plane = plane.T if len(shown) == 2 and shown[0] > shown[1] else plane
    plane = (plane.abs() if plane.is_complex() else plane).double()
    cells = plane.reshape(-1, 1) if plane.dim() < 2 else plane
    expected = cells[view.top : view.top + look.rows, view.left : view.left + look.columns]
    assert view.value is not None
    got = grid(view.value.values)
    assert got.shape == expected.shape
    assert torch.equal(got.view(torch.int64), expected.contiguous().view(torch.int64)) or bool(expected.isnan().any())
    assert torch.equal(got.nan_to_num(7), expected.nan_to_num(7))
    assert view.top == min(look.top, max(0, cells.shape[0] - look.rows))
    # what is written on a cell is the index that finds it in the whole tensor
    if view.kind == "matrix":
        assert view.left == min(look.left, max(0, cells.shape[1] - look.columns))
        for i, row in enumerate(view.row_labels):
            for j, column in enumerate(view.column_labels):
                index = list(view.place)
                index[view.dims[0]], index[view.dims[1]] = int(row), int(column)
                found = tensor[tuple(index)]
                assert same(float(found.abs() if found.is_complex() else found), view.value.values[i][j])


def whole_dim(view: TensorView, dim: int) -> int:
    return [axis.dim for axis in view.axes].index(dim)


def same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def test_a_plane_of_a_convolution_is_the_slice_that_its_title_would_be() -> None:
    weight = torch.randn(8, 3, 5, 4)
    model = nn.Linear(4, 2)
    model.register_buffer("w", weight)
    view = window(hold(model), "w")
    assert (view.dims, view.place) == ((2, 3), (0, 0, None, None))
    assert torch.equal(grid(view.value.values).float(), weight[0, 0])  # type: ignore[union-attr]
    view = window(hold(model), "w", dims=(3, 1), at=(6, 0, 2, 0))
    assert (view.dims, view.place, view.row_labels) == ((3, 1), (6, None, 2, None), ("0", "1", "2", "3"))
    assert torch.equal(grid(view.value.values).float(), weight[6, :, 2, :].T)  # type: ignore[union-attr]
    assert window(hold(model), "w", dims=(0, 9)).dims == (2, 3), "dimensions that it does not have"
    assert window(hold(model), "w", at=(99, 99, 0, 0)).place == (7, 2, None, None), "past the end is the end"


def test_only_the_window_is_copied() -> None:
    model = nn.Linear(4, 2)
    model.register_buffer("big", torch.zeros(1).expand(50_257, 768_000))
    view = window(hold(model), "big", top=50_000, left=700_000, rows=2, columns=3, hurry=True)
    assert view.row_labels == ("50000", "50001")
    assert view.due, "38 thousand million elements are not measured before they are shown"


# -- what can't be shown, and what is shown as something else ----------------------------------------------------------
def test_what_cannot_be_drawn_says_why() -> None:
    model = nn.Linear(4, 2)
    model.register_buffer("empty", torch.zeros(0, 3))
    held = hold(model)
    assert window(held, "empty").note == "an empty tensor: there is nothing to draw"
    assert window(held, "m", tensor=torch.zeros(2, device="meta")).note == "a meta tensor has a shape and no values"
    odd = torch.zeros(2, dtype=torch.uint8).view(torch.bits8)
    assert window(held, "odd", tensor=odd).note == "torch cannot convert bits8 to numbers"
    view = window(held, "weight", slice(1, 1))
    assert (view.note, view.value, view.shape) == ("an empty slice: there is nothing to draw", None, (0, 4))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("loss", "it does not exist yet: run `forward`"),
        ("0.weight.grad", "it is None: run `forward`, then `backward`, which writes it"),
        (
            "0.weight.state.exp_avg",
            "it does not exist yet: the optimizer creates it in its first step: run `forward`, `backward`, `step`",
        ),
        ("", "nothing selected: move in the Model panel, or type `show NAME`"),
    ],
)
def test_what_is_not_there_yet_says_what_makes_it(path: str, words: str) -> None:
    selection = Selection(path, path, ()) if path else None
    assert read(TensorViewer().view(hold(nn.Linear(4, 2)), 1, selection, None, LookTensor())).note == words


@pytest.mark.filterwarnings("ignore:Sparse CSC")
@settings(max_examples=100)
@given(st.data())
def test_a_part_of_a_sparse_tensor_is_the_part_of_the_dense_one(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    dense = torch.randn(shape) * (torch.rand(shape) > 0.5)
    layouts = [lambda: dense.to_sparse(data.draw(st.integers(1, dense.dim())))]
    if dense.dim() == 2:
        layouts += [dense.to_sparse_csr, dense.to_sparse_csc]
    sparse = data.draw(st.sampled_from(layouts))()
    items = tuple(
        data.draw(st.integers(0, n - 1) | st.builds(slice, st.integers(0, n - 1), st.integers(0, n + 1), st.just(2)))
        for n in shape[: data.draw(st.integers(0, len(shape)))]
    )
    chosen = cut(dense.shape, items)
    assert torch.equal(part(sparse, chosen), dense[items])
    values, zeros = stored(sparse, chosen)
    assert values.numel() + zeros == dense[items].numel()
    assert float(values.abs().sum()) == pytest.approx(float(dense[items].abs().sum()))


def test_a_sparse_grad_is_shown_beside_its_weight() -> None:
    model = nn.Sequential(nn.Embedding(5, 2, sparse=True), nn.Flatten(0))
    held = run(hold(model, [(torch.tensor([1, 1]), torch.zeros(4))]), F, B)
    view = window(held, "0.weight")
    grad = model[0].weight.grad.to_dense().double()
    assert view.grad is not None
    assert torch.equal(grid(view.grad.values), grad)
    assert view.grad_state == "fresh"
    assert view.note == ".grad: sparse_coo: elements not stored are 0"
    assert view.grad_statistics is not None
    assert (view.grad_statistics.count, view.grad_statistics.zeros) == (10, 8)
    assert view.grad_statistics.norm == pytest.approx(float(grad.norm()))


@pytest.mark.filterwarnings("ignore")
def test_quantised_tensors_are_shown_as_what_they_stand_for() -> None:
    held, values = hold(nn.Linear(4, 2)), torch.tensor([[0.12, -0.4], [1.0, 0.0]])
    by_tensor = torch.quantize_per_tensor(values, 0.1, 3, torch.quint8)
    view = window(held, "q", tensor=by_tensor)
    assert view.note == "dequantised: scale 0.1, zero point 3"
    assert torch.equal(grid(view.value.values).float(), by_tensor.dequantize())  # type: ignore[union-attr]
    by_channel = torch.quantize_per_channel(values, torch.tensor([0.1, 0.5]), torch.zeros(2), 0, torch.qint8)
    view = window(held, "q", 1, tensor=by_channel)
    assert "dimension 0" in view.note
    assert torch.equal(grid(view.value.values).float()[:, 0], by_channel.dequantize()[1])  # type: ignore[union-attr]


def test_what_is_read_of_complex_numbers_is_said() -> None:
    view = window(hold(nn.Linear(4, 2)), "c", tensor=torch.tensor([3 + 4j, 0j]))
    assert view.note == "magnitudes of complex numbers"
    assert view.value is not None
    assert view.value.values == ((5.0,), (0.0,))


@pytest.mark.parametrize(
    ("line", "shape"), [("input", (16, 784)), ("target", (16, 10)), ("prediction", (16, 10)), ("batch.0", (16, 784))]
)
def test_the_batch_and_what_the_model_made_of_it_can_be_shown(line: str, shape: tuple[int, ...]) -> None:
    session = Session()
    session.execute(Load("mlp", seed=0))
    session.execute(F)
    [show] = [statement.command for statement in parse_line(f"show {line}[1:]")]  # type: ignore[union-attr]
    assert isinstance(show, Show)
    assert session.execute(show).ok
    [view] = session.look(LookTensor(quantity="change"))
    assert isinstance(view, TensorView)
    assert (view.whole, view.shape) == (shape, (15, shape[1]))
    assert view.quantity == "value"
    assert view.note == "its values before were not kept: these are the present ones"


# -- what changed ------------------------------------------------------------------------------------------------------
def test_labels_are_places_in_the_whole_tensor() -> None:
    held = hold(nn.Linear(6, 9))
    view = window(held, "weight", slice(1, 9, 3), slice(2, None), rows=2, columns=2, top=1, left=1)
    assert (view.row_labels, view.column_labels) == (("4", "7"), ("3", "4"))
    assert (view.top, view.left, view.shape) == (1, 1, (3, 4))
    assert view.value is not None
    assert view.value.values[0][0] == held.model.weight[4, 3].item()


def test_marks_are_of_the_bits_that_the_last_phase_changed() -> None:
    held = run(hold(nn.Linear(4, 2)), F)
    assert window(held, "weight").grad is None
    run(held, B)
    view = window(held, "weight")
    assert view.value is not None
    assert view.grad is not None
    assert view.value.changed == ()
    assert view.grad.before is None
    assert all(all(row) for row in view.grad.changed), "all of it is new"
    weight = held.model.weight.detach().clone()
    held.model.weight.grad[0, 1:] = 0.0  # type: ignore[index]
    run(held, S)
    view = window(held, "weight", rows=1)
    assert view.value is not None
    assert view.value.before == tuple(map(tuple, weight[:1].double().tolist()))
    assert view.value.changed == ((True, False, False, False),)
    assert view.grad is not None
    assert view.grad.changed == ()


def test_minus_zero_in_place_of_zero_is_a_change() -> None:
    model = nn.Linear(4, 2)
    nn.init.zeros_(model.weight)
    held = hold(model, optimizer=lambda p: torch.optim.SGD(p, lr=0.0))
    run(held, F, B)
    model.weight.grad = torch.full_like(model.weight, -1.0)

    class Negates(torch.optim.SGD):
        def step(self) -> None:  # type: ignore[override]
            self.param_groups[0]["params"][0].data.neg_()

    held.optimizer.step = Negates.step.__get__(held.optimizer)  # type: ignore[method-assign]
    run(held, S)
    view = window(held, "weight")
    assert view.value is not None
    assert all(all(row) for row in view.value.changed)
    assert "weight" in read(changed_names(compared(held)))


def test_a_shared_weight_is_marked_under_each_of_its_names() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 2))
    model[1].weight = model[0].weight
    held = run(hold(model), F, B, S)
    for name in ("0.weight", "1.weight"):
        view = window(held, name)
        assert view.value is not None
        assert view.value.before is not None
        assert any(map(any, view.value.changed))
        assert view.grad_state == "stale"


def test_the_change_and_its_ratio_take_the_place_of_the_value() -> None:
    held = run(hold(nn.Linear(4, 2)), F, B)
    before = held.model.weight.detach().double().clone()
    with torch.no_grad():
        held.model.weight[0, 0] = before[0, 0] = 0.0
        held.model.weight.grad[1, 1] = 0.0  # type: ignore[index]
    run(held, S)
    after = held.model.weight.detach().double()
    view = window(held, "weight", quantity="change")
    assert view.quantity == "change"
    assert view.value is not None
    assert torch.equal(grid(view.value.values), after - before)
    assert torch.equal(grid(view.value.now), after)
    assert view.value.changed == ((True,) * 4, (True, False, True, True))
    assert view.statistics is not None
    assert view.statistics.zeros == 1
    assert view.statistics.norm == pytest.approx(float((after - before).norm()))
    view = window(held, "weight", quantity="ratio")
    assert view.value is not None
    ratio = grid(view.value.values)
    assert view.value.absent == ((True, False, False, False), (False,) * 4), "there is no ratio to what was 0"
    assert torch.equal(ratio.view(-1)[1:], ((after - before) / before).view(-1)[1:])
    assert view.statistics is not None
    assert view.statistics.count == 7, "and is left out of the statistics"
    assert view.grad is not None
    assert not grid(view.grad.values).any(), "step left .grad as it was"


def test_what_was_not_there_before_has_changed_by_all_of_it() -> None:
    held = run(hold(nn.Linear(4, 2)), F, B)
    view = window(held, "weight", quantity="change")
    grad = held.model.weight.grad.double()  # type: ignore[union-attr]
    assert view.grad is not None
    assert torch.equal(grid(view.grad.values), grad)
    assert view.value is not None
    assert not grid(view.value.values).any(), "backward can't write a weight"
    assert view.statistics is not None
    assert (view.statistics.count, view.statistics.zeros) == (8, 8)
    ratio = window(held, "weight", quantity="ratio")
    assert ratio.grad is not None
    assert all(map(all, ratio.grad.absent))


def test_a_number_that_stays_nan_or_inf_did_not_change() -> None:
    model = nn.Linear(4, 2)
    with torch.no_grad():
        model.weight[0, :2] = torch.tensor([math.nan, math.inf])
    held = run(hold(model, [(torch.zeros(3, 4), torch.zeros(3, 2))]), F, B)
    model.weight.grad = torch.zeros_like(model.weight)
    run(held, S)
    view = window(held, "weight", quantity="change")
    assert view.value is not None
    assert not grid(view.value.values).any()
    assert view.statistics is not None
    assert (view.statistics.nans, view.statistics.zeros) == (0, 8)


# -- statistics that are kept ------------------------------------------------------------------------------------------
def test_scrolling_measures_nothing_anew_and_a_phase_does(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradstep.views.tensor import measures as room

    measured: list[str] = []
    real = room.statistics_of
    monkeypatch.setattr(room, "statistics_of", lambda side, *rest: measured.append(side.name) or real(side, *rest))
    held, look = run(hold(nn.Linear(4, 2)), F, B), TensorViewer()

    def see(stop: int, **more: Any) -> TensorView:
        selection = Selection("weight", "weight", ())
        return read(look.view(held, stop, selection, held.model.weight, LookTensor(1, 1, **more)))

    first = see(1)
    assert measured == ["weight", "weight.grad"]
    assert see(1, top=1, left=3, dims=(1, 0)).statistics is first.statistics
    assert len(measured) == 2
    see(1, quantity="change")
    assert len(measured) == 4
    see(1, bins=8)
    assert len(measured) == 6
    assert see(1).statistics is not None
    assert len(measured) == 6, "statistics with a histogram are statistics"
    run(held, S)
    see(2)
    assert len(measured) == 8
    with torch.no_grad():
        held.model.weight.add_(1.0)
    assert see(2).statistics != first.statistics
    assert len(measured) == 9, "a write from outside is seen"


def test_in_a_hurry_long_statistics_are_left_for_the_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradstep.views.tensor import measures as room

    monkeypatch.setattr(room, "_QUICK", 7)
    held, look = run(hold(nn.Linear(4, 2)), F, B), TensorViewer()

    def see(path: str, stop: int, hurry: bool = True) -> TensorView:
        return read(look.view(held, stop, Selection(path, path, ()), held.tensor(path), LookTensor(hurry=hurry)))

    first, second = see("weight", 1), see("weight", 1)
    assert (first.due, first.statistics, first.value is None) == (True, None, False)
    assert not second.due
    assert second.statistics is not None
    assert second.grad_statistics is not None
    assert see("weight", 2).due, "at another stop it begins anew"
    assert not see("weight", 2, hurry=False).due
    assert not see("bias", 2).due, "what is short comes at once"


@pytest.mark.parametrize("size", [4, 400])
def test_a_grad_that_the_last_phase_took_away_is_told_from_one_that_was_never_there(size: int) -> None:
    batches = [(torch.ones(3, size), torch.zeros(3, 2))]
    held = run(hold(nn.Sequential(nn.Linear(size, 2)), batches), F)
    assert not window(held, "0.weight").grad_gone
    run(held, B)
    assert not window(held, "0.weight").grad_gone
    run(held, Z)
    assert window(held, "0.weight").grad_gone
    assert window(held, "0.weight").grad is None
    run(held, F)
    assert not window(held, "0.weight").grad_gone
    run(held, B, ZeroGrad(set_to_none=False))
    assert not window(held, "0.weight").grad_gone


def test_why_there_is_no_grad_is_said_as_it_is() -> None:
    model = nn.Linear(4, 2)
    model.unused, model.still = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1), requires_grad=False)
    model.register_buffer("mean", torch.ones(1))
    held = hold(model)

    def said(name: str) -> str:
        return window(held, name).no_grad

    early = "none yet: `forward`, then `backward`"
    assert [said(name) for name in ("weight", "unused", "still", "mean")] == [
        early,
        early,
        "none: requires_grad is False",
        "",
    ]
    run(held, F, B)
    reason = "the last backward did not reach it: `why unused.grad` shows where its path ends"
    assert [said("weight"), said("unused")] == ["", f"none: {reason}"]
    selection = Selection("unused.grad", "unused.grad", ())
    assert read(TensorViewer().view(held, 1, selection, None, LookTensor())).note == f"it is None: {reason}"
    run(held, Z)
    assert [said("weight"), said("unused")] == [early, early]
