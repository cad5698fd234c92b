"""The views say what torch itself says: windows, marks, rows, changes, sentences."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
import torch
from counting import calls
from hypothesis import given
from hypothesis import strategies as st
from running import runner_of
from torch import Tensor, nn
from torch.nn import functional

from gradstep.engine.held import Held
from gradstep.engine.numbers.norms import norm_of, norms
from gradstep.engine.reads import read
from gradstep.values.commands import Backward, Forward, NextBatch, Step, ZeroGrad
from gradstep.values.errors import GradstepError
from gradstep.values.views import Change, LookLoss, ModelRow, WhyView
from gradstep.values.views.graph import GraphView, LookGraph
from gradstep.views.graph.view import GraphViewer
from gradstep.views.tensor.before_after import side_of
from gradstep.views.training.changes import changed_names, changes_view, compared
from gradstep.views.training.loss import LossViewer
from gradstep.views.training.model import ModelViewer
from gradstep.views.why.view import why_view
from gradstep.workload import Workload

F, B, S, Z, N = Forward(), Backward(), Step(), ZeroGrad(), NextBatch()
ZEROS = ZeroGrad(set_to_none=False)


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


def why(held: Held) -> WhyView:
    return read(why_view(held, 1, changed_names(compared(held))))


def rows(held: Held, selected: str = "") -> dict[str, ModelRow]:
    return {row.path: row for row in read(ModelViewer(held).view(1, selected, changed_names(compared(held)))).rows}


# -- model rows and numbers --------------------------------------------------------------------------------------------
def test_rows_follow_the_tree_and_name_what_is_shared_and_frozen() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Linear(4, 2))
    model[2].weight = model[0].weight
    model[3].bias.requires_grad_(False)
    held = run(hold(model), F)
    found = read(ModelViewer(held).view(3, "3.weight", changed_names(compared(held))))
    assert [row.path for row in found.rows] == [
        *("", "0", "0.weight", "0.bias"),
        *("1", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"),
        *("2", "2.weight", "2.bias", "3", "3.weight", "3.bias"),
    ]
    assert found.parameters == sum(p.numel() for p in model.parameters())
    by = rows(held, "3.weight")
    assert (by[""].name, by[""].depth, by["2.weight"].shared, by["0.weight"].shared) == (
        "Sequential",
        0,
        "0.weight",
        "",
    )
    assert (by["3.bias"].grad, by["3.weight"].grad, by["3.weight"].selected) == ("frozen", "none", True)
    assert by["1.num_batches_tracked"].norm is None
    assert {path for path, row in by.items() if row.changed} == {
        "1.running_mean",
        "1.running_var",
        "1.num_batches_tracked",
    }
    run(held, B)
    by = rows(held)
    assert {p for p, r in by.items() if r.grad_changed} == {
        p for p, r in by.items() if r.kind == "parameter" and p != "3.bias"
    }
    assert not any(r.changed for r in by.values())
    assert by["0.bias"].grad_norm == pytest.approx(model[0].bias.grad.norm().item())


def test_a_row_of_one_element_has_its_value() -> None:
    model = nn.BatchNorm1d(2)
    model.scale = nn.Parameter(torch.tensor(-0.00113))
    held = hold(model)
    rows = {row.name: row for row in read(ModelViewer(held).view(1, "", changed_names(compared(held)))).rows}
    assert rows["scale"].value == pytest.approx(-0.00113)
    assert rows["num_batches_tracked"].value == 0
    assert rows["weight"].value is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64])
def test_norms_together_are_norms_apart(dtype: torch.dtype) -> None:
    tensors = [torch.randn(5, 3).to(dtype), torch.randn(7).to(dtype), torch.zeros(0, dtype=dtype), torch.arange(3)]
    assert read(norms(tensors)) == [norm_of(t) for t in tensors]
    wide = torch.complex128 if dtype.is_complex else torch.float64
    assert read(norms(tensors))[0] == pytest.approx(float(torch.linalg.vector_norm(tensors[0].to(wide))), rel=1e-5)
    assert read(norms(tensors))[2:] == [None, None]


def test_a_norm_outside_of_the_dtypes_range_is_a_number_still() -> None:
    assert read(norms([torch.full((4,), 1e30)])) == [pytest.approx(2e30)]
    assert read(norms([torch.full((4,), 60000.0, dtype=torch.float16)])) == [pytest.approx(119936, rel=1e-2)]
    assert read(norms([torch.ones(4).to(torch.float8_e4m3fn)])) == [2.0]
    assert read(norms([torch.tensor([math.inf, 1.0])])) == [math.inf]
    assert math.isnan(read(norms([torch.tensor([math.nan])]))[0] or 0.0)


# -- changes -----------------------------------------------------------------------------------------------------------
def test_changes_name_what_each_phase_wrote_and_how_far() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    torch.manual_seed(0)
    batches = [(torch.randn(3, 4), torch.randn(3, 2))]
    held = hold(model, batches, optimizer=lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9))
    parameters = [name for name, _ in model.named_parameters()]

    def names(act: Any) -> list[str]:
        return [row.name for row in changes_view(run(held, act), 1).rows]

    assert names(F) == ["1.running_mean", "1.running_var", "1.num_batches_tracked"]
    assert names(B) == [f"{name}.grad" for name in parameters]
    before = model[2].weight.detach().clone()
    run(held, S)
    by = {row.name: row for row in changes_view(held, 1).rows}
    states = [f"{name}.state.momentum_buffer" for name in parameters]
    assert {name for name in by if name.endswith("momentum_buffer")} == set(states)
    assert {"2.weight", "2.bias"} < set(by) <= {*parameters, *states}
    moved = model[2].weight.detach() - before
    assert by["2.weight"].norm_of_change == pytest.approx(moved.norm().item())
    assert by["2.weight.state.momentum_buffer"].before == "none"
    assert names(ZEROS) == [f"{name}.grad" for name in parameters]
    assert {row.after for row in changes_view(held, 1).rows} == {"zero"}
    assert {row.after for row in changes_view(run(held, Z), 1).rows} == {"none"}
    assert names(Z) == []
    assert names(N) == []


def test_buffers_of_any_dtype_and_buffers_put_in_anew_are_among_the_changes() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)
            self.register_buffer("mask", torch.zeros(3, dtype=torch.bool))
            self.register_buffer("count", torch.zeros((), dtype=torch.int64))
            self.register_buffer("mean", torch.zeros(2))

        def forward(self, x: Tensor) -> Tensor:
            self.mask[1] = True
            self.count += 1
            self.mean = self.mean + 3
            return self.layer(x)

    held = run(hold(Odd()), F)
    assert changes_view(held, 1).rows == (
        Change("mask", "(3,)", "(3,)", None, None, None),
        Change("count", "0", "1", None, None, None),
        Change("mean", "zero", "norm 4.243", 0.0, pytest.approx(18**0.5), pytest.approx(18**0.5)),
    )


# -- graph -------------------------------------------------------------------------------------------------------------
def test_the_graph_is_alive_then_freed_and_each_row_has_its_operation() -> None:
    held = hold(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)))
    look = GraphViewer(held)

    def view() -> GraphView:
        return look.view(1, LookGraph(count=100))

    assert view().state == "none"
    run(held, F)
    first = view()
    assert (first.state, first.total, first.rows[0].name, first.rows[0].module) == (
        "alive",
        10,
        "MseLossBackward0",
        "loss",
    )
    assert not any(row.done for row in first.rows)
    by = {(row.operation, row.module): row for row in first.rows}
    assert by["relu", "1 ReLU"].shape == (3, 4)
    assert by["b + x Wᵀ", "2 Linear"].shape == (3, 2)
    assert by["2.weight.grad", "2 Linear"].parameter == "2.weight"
    run(held, B)
    assert view().state == "freed"
    assert all(row.done for row in view().rows)
    run(held, F, N)
    assert view().state == "alive"
    assert not any(row.done for row in view().rows), "the backward was of the graph before"
    run(held, Backward(retain_graph=True), S)
    assert view().state == "alive"
    assert all(row.done for row in view().rows)


def test_the_graph_draws_parameters_of_no_module_and_powers_of_tensors() -> None:
    scale, power = nn.Parameter(torch.ones(())), nn.Parameter(torch.tensor(2.0))
    x = torch.ones(3, 4, requires_grad=True)
    held = hold(
        nn.Linear(4, 2),
        optimizer=lambda p: torch.optim.SGD([*p, scale], lr=0.1),
        loss=None,
        compute_loss=lambda model, batch: ((model(x) * scale).abs() ** power).sum() ** 3,
    )
    look = GraphViewer(held)
    for act in (F, B):
        run(held, act)
        by = {row.operation: row for row in look.view(1, LookGraph(count=100)).rows}
        assert by["group0.2.grad"].module == "loss"
        assert by["a leaf.grad"].module == "loss"
        assert "x ** n" in by
        assert "x ** 3" in by


# -- loss --------------------------------------------------------------------------------------------------------------
@given(st.integers(0, 60), st.integers(0, 20))
def test_thinning_keeps_the_first_and_the_last_and_no_more_than_asked(total: int, points: int) -> None:
    held = hold(nn.Linear(4, 2))
    held.losses = [(i, float(i)) for i in range(total)]
    view = LossViewer().view(held, 1, LookLoss(points))
    found = [point.forward for point in view.points]
    assert view.forwards == total
    assert len(found) == min(total, max(points, 1))
    assert found == sorted(set(found))
    assert not total or found[-1] == total
    if total and points > 1:
        assert found[0] == 1
    assert all(point.loss == point.forward - 1 == point.iteration for point in view.points)


def history(*losses: float, iterations: Any = None) -> Held:
    held = hold(nn.Linear(4, 2))
    held.losses = [(i if iterations is None else iterations[i], loss) for i, loss in enumerate(losses)]
    held.loss_rates = [(0.1 * i,) for i in range(len(losses))]
    return held


@given(st.integers(10, 300), st.integers(6, 40), st.sets(st.integers(0, 299), max_size=2))
def test_what_is_not_finite_is_never_thinned_out(total: int, points: int, odd: set[int]) -> None:
    losses = [math.nan if i in odd else float(i) for i in range(total)]
    view = LossViewer().view(history(*losses), 1, LookLoss(points))
    assert len(view.points) <= points
    shown = [point.forward - 1 for point in view.points if math.isnan(point.loss)]
    there = sorted(i for i in odd if i < total)
    if len(there) == 2 and there[1] - there[0] < 2 * total / (points - 3) + 2:
        assert shown  # two so close that they may share a place
    else:
        assert shown == there
    assert view.points[0].forward == 1
    assert view.points[-1].forward == total


def test_the_first_nan_and_the_first_inf_are_named() -> None:
    view = LossViewer().view(history(1.0, math.inf, 2.0, math.nan, math.nan), 1, LookLoss())
    assert (view.first_inf and view.first_inf.forward, view.first_nan and view.first_nan.forward) == (2, 4)
    assert LossViewer().view(history(1.0), 1, LookLoss()).first_nan is None


def test_the_moving_average_passes_over_what_is_not_finite() -> None:
    view = LossViewer().view(history(1.0, math.nan, 2.0, 4.0), 1, LookLoss(smoothing=0.5))
    assert [point.smooth for point in view.points] == [1.0, 1.0, 1.5, 2.75]
    assert [point.rate for point in view.points] == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_by_iteration_a_point_is_the_mean_of_its_forwards() -> None:
    held, look = history(1.0, 2.0, 6.0, 5.0, iterations=[0, 0, 0, 1]), LossViewer()
    view = look.view(held, 1, LookLoss(by="iteration", smoothing=0.5))
    assert [(p.iteration, p.loss, p.forward) for p in view.points] == [(0, 3.0, 3), (1, 5.0, 4)]
    assert [p.smooth for p in view.points] == [3.0, 4.0]
    held.losses.append((1, 7.0))
    held.loss_rates.append((0.1,))
    view = look.view(held, 2, LookLoss(by="iteration", smoothing=0.5))
    assert [(p.loss, p.smooth) for p in view.points] == [(3.0, 3.0), (6.0, 4.5)]


def test_a_history_that_was_cut_and_went_on_differently_is_read_again() -> None:
    held, look = history(1.0, math.nan, 3.0), LossViewer()
    assert look.view(held, 1, LookLoss()).first_nan is not None
    held.losses[1:] = [(1, 7.0), (2, 8.0)]
    view = look.view(held, 2, LookLoss())
    assert [point.loss for point in view.points] == [1.0, 7.0, 8.0]
    assert view.first_nan is None


@given(
    st.lists(st.tuples(st.integers(0, 8), st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6)), max_size=5))),
    st.sampled_from(("forward", "iteration")),
    st.sampled_from((0.0, 0.5)),
)
def test_a_history_seen_before_at_another_point_is_the_same_as_one_read_afresh(
    moves: list[tuple[int, list[tuple[int, int]]]], by: Any, smoothing: float
) -> None:
    held, look, request = history(), LossViewer(), LookLoss(by=by, smoothing=smoothing)
    for back, more in moves:
        del held.losses[max(0, len(held.losses) - back) :], held.loss_rates[max(0, len(held.loss_rates) - back) :]
        for later, value in more:
            iteration = held.losses[-1][0] + later if held.losses else 0
            held.losses.append((iteration, (math.nan, math.inf, 1.0, 2.0, 4.0, 8.0, 16.0)[value]))
            held.loss_rates.append((float(value),))
        seen, fresh = look.view(held, 1, request), LossViewer().view(held, 1, request)
        assert str(msgspec.to_builtins(seen)) == str(msgspec.to_builtins(fresh)), "as text: NaN is not equal to itself"


def test_a_loss_far_back_is_read_once_and_then_what_is_between() -> None:
    held, look = history(*map(float, range(4000))), LossViewer()
    look.view(held, 1, LookLoss(10))
    del held.losses[3000:], held.loss_rates[3000:]
    assert calls(lambda: look.view(held, 1, LookLoss(10))) < 200


# -- why ---------------------------------------------------------------------------------------------------------------
def test_the_sentences_on_the_way_round_the_loop() -> None:
    torch.manual_seed(0)
    held = hold(nn.Linear(4, 2), [(torch.randn(3, 4), torch.randn(3, 2))])
    assert why(held).sentence == "Ready. Run `forward`: forward runs prediction = model(x) and computes the loss."
    assert why(held).more == ("10 parameters in 2 tensors; every .grad is None until the first backward",)
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(3)))
    model[1].weight.requires_grad_(False)
    assert why(hold(model)).more[1] == "1 of the 6 tensors is frozen (requires_grad=False): 1.weight"
    model.requires_grad_(False)
    frozen = "0.weight, 0.bias, 1.weight and 3 more"
    assert why(hold(model)).more[1] == f"6 of the 6 tensors are frozen (requires_grad=False): {frozen}"
    said = []
    for act in (N, F, B, S, S, Z, Z, S, F, B, F, B, S, ZEROS, ZEROS, S):
        run(held, act)
        said.append(why(held).sentence)
    left = (
        "step() updated the weights and left .grad unchanged. Run `zero_grad` before the next backward, or it adds to"
    )
    assert said == [
        "Batch 1 is ready. Run `forward` on it.",
        "forward computed the loss and built its graph. No weight and no .grad changed.",
        "backward() wrote .grad and nothing else. Weights change when you run `step` (optimizer.step()).",
        f"{left} it.",
        "step() updated the weights again, with a gradient that a step had already used. Run `zero_grad`.",
        "zero_grad() set .grad to None: the next backward starts from scratch. No weight changed.",
        "zero_grad() found nothing to clear: every .grad was None already.",
        "step() changed nothing: every .grad is None, and an optimizer skips parameters without a gradient.",
        "forward computed the loss and built its graph. No weight and no .grad changed.",
        "backward() wrote .grad and nothing else. Weights change when you run `step` (optimizer.step()).",
        "forward computed the loss and built its graph. No weight and no .grad changed.",
        "backward() added to .grad: it is now the sum of 2 backwards. Clear it with `zero_grad`.",
        f"{left} these 2.",
        "zero_grad() filled .grad with zeros: a step now uses gradients of 0, and does not skip them.",
        "zero_grad() found nothing to clear: every .grad was zeros or None already.",
        "step() changed nothing: the update of every weight was zero, or less than its last bit.",
    ]


class Twice(torch.optim.SGD):
    """Calls its closure, moves, and calls it again where it has come to, as SAM does."""

    def step(self, closure: Any) -> Any:  # type: ignore[override]
        closure()
        super().step()
        return closure()


@pytest.mark.parametrize("optimizer", [lambda p: torch.optim.LBFGS(p, lr=0.5, max_iter=9), lambda p: Twice(p, lr=0.1)])
def test_a_step_that_calls_a_closure_says_how_often_and_with_which_losses(optimizer: Any) -> None:
    torch.manual_seed(0)
    losses: list[float] = []

    def compute_loss(model: nn.Module, batch: Any) -> Tensor:
        loss = functional.mse_loss(model(batch[0]), batch[1])
        losses.append(loss.item())
        return loss

    held = run(hold(nn.Linear(4, 2), loss=None, compute_loss=compute_loss, optimizer=optimizer), S)
    called = list(losses)
    assert len(called) > 1
    assert (held.point.calls, held.point.torch) == (tuple(called), "optimizer.step(closure)")
    view = LossViewer().view(held, 1, LookLoss())
    assert [(point.forward, point.iteration, point.loss) for point in view.points] == [
        (i + 1, 0, loss) for i, loss in enumerate(called)
    ]
    said = why(held)
    assert said.sentence.startswith(
        f"step() called the closure {len(called)} times: each call ran zero_grad, forward and backward."
    )
    assert f"the losses of the closure's calls: {called[0]:.4f}, {called[1]:.4f}" in said.more[0]
    run(held, F, B)
    assert "closure" not in " ".join((why(held).sentence, *why(held).more))


def test_a_step_among_nans_says_that_they_were_there_already() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    held = run(hold(model), F, B)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.grad.fill_(math.nan)
    made = why(run(held, S))
    assert made.sentence == "step() made every weight NaN: the only way out is to go back."
    again = why(run(held, F, B, S))
    assert again.sentence == "step() changed nothing: every weight was NaN already, and NaN − lr · NaN is NaN."
    back = "`back until all(isfinite(0.weight))` returns to the last stop before that"
    assert back in again.more[-1]


def test_a_step_says_which_weights_hold_nothing_but_nan() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    held = run(hold(model), F, B)
    with torch.no_grad():
        model[1].bias.grad.fill_(math.nan)
        model[0].weight.grad[0, 0] = math.nan
    found = why(run(held, S))
    assert found.sentence.startswith("step() updated the weights and left .grad unchanged.")
    assert found.more[-1].startswith("every element of 1.bias is NaN: `back until all(isfinite(1.bias))`")


@pytest.mark.parametrize("act", [F, B, S, Z])
def test_what_was_not_kept_is_not_said_to_be_as_it_was(act: Any) -> None:
    held = run(hold(nn.Linear(4, 2)), F, B, S, Z, F, *(() if act is B else (B,)))
    runner_of(held).observed = False
    run(held, act)
    found = read(why_view(held, 7, changed_names(compared(held))))
    assert "is unknown here: the stop before it was not kept." in found.sentence
    assert "nothing" not in found.sentence
    assert found.more[-1].startswith("`goto 7`, `undo`, `redo` runs it again and keeps it")
    weight = side_of(held, "weight", held.model.weight)
    assert weight.past == "unknown"


def test_a_sum_with_used_parts_says_how_many() -> None:
    held = run(hold(nn.Linear(4, 2)), F, B, S, F, B)
    assert "the sum of 2 backwards, 1 of them already used by a step" in why(held).sentence


def test_a_refused_act_says_that_it_was_undone() -> None:
    held = hold(nn.Linear(4, 2))
    with pytest.raises(GradstepError):
        runner_of(held).run(B)
    assert why(held).sentence == "backward raised and was rolled back: everything is as it was before."
    run(held, F)
    assert why(held).about == "forward"


@pytest.mark.parametrize(("value", "word"), [(math.nan, "NaN"), (math.inf, "inf"), (-math.inf, "−inf")])
def test_a_loss_that_is_no_number_is_said(value: float, word: str) -> None:
    held = run(hold(nn.Linear(4, 2), loss=None, compute_loss=lambda m, b: m(b[0]).sum() * value), F)
    assert why(held).sentence.startswith(f"The loss is {word}: ") or math.isinf(value)
    assert "NaN or inf" in why(held).sentence


def test_a_loss_that_is_not_one_number_or_has_no_graph_is_said() -> None:
    held = run(hold(nn.Linear(4, 2), loss=lambda out, target: out - target), F)
    assert why(held).sentence == "forward gave a loss of shape (3, 2): backward needs a scalar."
    assert "end it with .sum() or .mean()" in LossViewer().view(held, 1, LookLoss(9)).note
    held = run(hold(nn.Linear(4, 2).requires_grad_(False)), F)
    assert why(held).sentence == "forward computed a loss that has no graph: nothing that it depends on requires grad."
    assert GraphViewer(held).view(1, LookGraph(count=9)).note.startswith("the loss has no grad_fn")


def test_where_no_gradient_arrives_is_said() -> None:
    model = nn.Linear(4, 2)
    model.unused = nn.Parameter(torch.ones(1))
    held = run(hold(model), F, B)
    assert why(held).more[0] == "no gradient reached unused: `why unused.grad` shows where its path ends"
    x = torch.ones((), requires_grad=True)
    held = run(hold(nn.Linear(4, 2), loss=None, compute_loss=lambda m, b: x * 2), F, B)
    assert why(held).sentence == "backward() reached no parameter: the loss depends on none that requires grad."


def test_a_grad_that_the_optimizer_does_not_hold_moves_nothing() -> None:
    model = nn.Linear(4, 2)
    model.weight.requires_grad_(False)
    held = run(hold(model, optimizer=torch.optim.SGD([model.weight], lr=0.1)), F, B, S)
    assert why(held).sentence.startswith("step() changed nothing: every .grad is None")


def test_buffers_and_renormalised_weights_that_a_forward_wrote_are_said() -> None:
    held = run(hold(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))), F)
    assert why(held).more[-1] == "it updated 3 buffers, such as 1.num_batches_tracked"
    model = nn.Sequential(nn.Embedding(5, 2, max_norm=0.1), nn.Flatten(0))
    held = run(hold(model, [(torch.tensor([1, 1]), torch.zeros(4))]), F)
    assert "It also wrote 0.weight" in why(held).sentence


def test_the_schedulers_move_is_said() -> None:
    more: Any = {"schedulers": lambda o: torch.optim.lr_scheduler.StepLR(o, 1, 0.5)}
    held = run(hold(nn.Linear(4, 2), **more), F, B, S)
    assert why(held).more[-1] == "the scheduler set lr 0.1 → 0.05"
    held = run(hold(nn.Linear(4, 2), schedule="epoch", **more), F, N)
    assert why(held).more == ("an epoch ended; the scheduler set lr 0.1 → 0.05",)
    assert why(held).sentence == "There is only one batch: it is ready again. Run `forward`."


def test_weights_that_a_hook_moved_in_backward_are_said() -> None:
    held = hold(nn.Linear(4, 2))

    def hook(parameter: Tensor) -> None:
        parameter.data.add_(1)

    held.model.weight.register_post_accumulate_grad_hook(hook)
    run(held, F, B)
    assert why(held).sentence == "backward() wrote .grad, and a hook of the workload changed weights meanwhile."
    assert "weight" in read(changed_names(compared(held)))
