"""Each formula against torch: what it says a step would give, what it says it gave, and how it is written."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from running import runner_of
from torch import Tensor, nn, optim

from gradstep.engine.held import Held
from gradstep.engine.numbers.selection import cut
from gradstep.engine.reads import read
from gradstep.values.commands import Backward, Forward, Step, ZeroGrad
from gradstep.views.training.changes import changed_names, compared
from gradstep.views.why.formulas.find import FORMULAS, why_none, work_done, work_to_come
from gradstep.views.why.formulas.text import digits_that_tell, signed
from gradstep.views.why.formulas.work import Work
from gradstep.workload import Workload

OPTIONS: list[tuple[type[optim.Optimizer], dict[str, Any]]] = [
    (optim.SGD, {}),
    (optim.SGD, {"momentum": 0.9}),
    (optim.SGD, {"momentum": 0.9, "dampening": 0.3}),
    (optim.SGD, {"momentum": 0.9, "nesterov": True}),
    (optim.SGD, {"weight_decay": 0.1}),
    (optim.SGD, {"maximize": True}),
    (optim.SGD, {"maximize": True, "momentum": 0.5, "dampening": 0.1, "weight_decay": 0.01}),
    (optim.SGD, {"fused": True, "momentum": 0.9}),
    (optim.SGD, {"foreach": True, "momentum": 0.9, "nesterov": True}),
    *[
        (kind, options)
        for kind in (optim.Adam, optim.AdamW)
        for options in (
            {},
            {"weight_decay": 0.1},
            {"amsgrad": True},
            {"maximize": True},
            {"amsgrad": True, "maximize": True, "weight_decay": 0.1, "eps": 1e-3},
            {"betas": (0.5, 0.9)},
            {"fused": True, "weight_decay": 0.1},
            {"foreach": True, "amsgrad": True},
        )
    ],
    (optim.RMSprop, {}),
    (optim.RMSprop, {"centered": True}),
    (optim.RMSprop, {"momentum": 0.9}),
    (optim.RMSprop, {"centered": True, "momentum": 0.9, "weight_decay": 0.1, "maximize": True}),
    (optim.RMSprop, {"alpha": 0.5, "eps": 1e-3, "foreach": True}),
    (optim.Adagrad, {}),
    (optim.Adagrad, {"lr_decay": 0.1}),
    (optim.Adagrad, {"weight_decay": 0.1, "initial_accumulator_value": 0.5}),
    (optim.Adagrad, {"maximize": True, "lr_decay": 0.01, "weight_decay": 0.01, "fused": True}),
]


def held_of(kind: type[optim.Optimizer], options: dict[str, Any], dtype: torch.dtype, seed: int = 0) -> Held:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).to(dtype)
    batches = [(torch.randn(6, 5, dtype=dtype), torch.randn(6, 3, dtype=dtype)) for _ in range(4)]
    lr = {} if "lr" in options else {"lr": 0.05}
    workload = Workload(model, nn.functional.mse_loss, lambda p: kind(p, **lr, **options), batches)
    return Held(workload, torch.device("cpu"))


def whole(tensor: Tensor):
    return cut(tensor.shape, ())


def check_ten_iterations(held: Held) -> None:
    """Predict every step from what is before it, and explain it from what is after; torch has the last word."""
    for _ in range(10):
        runner_of(held).run(Forward())
        runner_of(held).run(Backward())
        to_come = {n: read(work_to_come(held, p, whole(p))) for n, p in held.parameters}
        runner_of(held).run(Step())
        for name, parameter in held.parameters:
            done = read(work_done(held, parameter, whole(parameter)))
            assert done is not None
            assert done.weight_after is not None
            assert torch.equal(done.weight_after, parameter.detach())
            assert done.agrees.all(), (name, [made.name for made in done.lines])
            assert [m.name for m in done.lines] == [m.name for m in to_come[name].lines]
            guess = to_come[name].lines[-1].term
            # a step of ten differs from its prediction by rounding alone, and by rounding that stays small
            assert ((guess.value - parameter.detach().double()).abs() <= guess.bound).all()
            slack = 1e3 * torch.finfo(parameter.dtype).eps
            assert torch.allclose(to_come[name].result, parameter.detach(), rtol=slack, atol=slack)
        runner_of(held).run(ZeroGrad())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=lambda v: v.__name__ if isinstance(v, type) else str(v))
def test_ten_iterations_of_each_option(kind, options, dtype):
    check_ten_iterations(held_of(kind, options, dtype))


RATE = st.floats(1e-4, 0.5)
SHARE = st.floats(0.0, 0.99)
ANY: st.SearchStrategy[tuple[type[optim.Optimizer], dict[str, Any]]] = st.one_of(
    st.tuples(
        st.just(optim.SGD),
        st.fixed_dictionaries(
            {"lr": RATE, "momentum": SHARE, "weight_decay": SHARE, "maximize": st.booleans(), "dampening": SHARE}
        ),
    ),
    st.tuples(
        st.just(optim.SGD),
        st.fixed_dictionaries({"lr": RATE, "momentum": st.floats(0.1, 0.99), "nesterov": st.just(True)}),
    ),
    st.tuples(
        st.sampled_from([optim.Adam, optim.AdamW]),
        st.fixed_dictionaries(
            {
                "lr": RATE,
                "betas": st.tuples(SHARE, SHARE),
                "eps": st.floats(1e-8, 1e-2),
                "weight_decay": SHARE,
                "amsgrad": st.booleans(),
                "maximize": st.booleans(),
            }
        ),
    ),
    st.tuples(
        st.just(optim.RMSprop),
        st.fixed_dictionaries(
            {
                "lr": RATE,
                "alpha": SHARE,
                "eps": st.floats(1e-6, 1e-2),
                "weight_decay": SHARE,
                "momentum": SHARE,
                "maximize": st.booleans(),
                "centered": st.booleans(),
            }
        ),
    ),
    st.tuples(
        st.just(optim.Adagrad),
        st.fixed_dictionaries(
            {
                "lr": RATE,
                "lr_decay": SHARE,
                "weight_decay": SHARE,
                "eps": st.floats(1e-10, 1e-2),
                "maximize": st.booleans(),
            }
        ),
    ),
)


@settings(max_examples=40)
@given(ANY, st.integers(0, 1000))
def test_any_options_together(chosen, seed):
    kind, options = chosen
    # with α near 0, v − ḡ² is rounding and nothing else: torch then takes the root of noise, NaN where it is negative
    assume(not options.get("centered") or options["alpha"] > 1e-3)
    held = held_of(kind, options, torch.float64, seed)
    for _ in range(3):
        for act in (Forward(), Backward(), Step()):
            runner_of(held).run(act)
        for _, parameter in held.parameters:
            done = read(work_done(held, parameter, whole(parameter)))
            assert done is not None
            assert done.agrees.all()


@pytest.mark.parametrize("beta", [0.0, 1e-12, 1e-8, 1e-3, 0.999999])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_an_average_agrees_with_lerp_at_both_ends(beta, dtype):
    check_ten_iterations(held_of(optim.Adam, {"lr": 0.5, "betas": (beta, 0.9)}, dtype))


def lines(kind: type[optim.Optimizer], steps: int, **options: Any) -> list[str]:
    """Return the lines of one element of one weight of 1.0 with a gradient of 0.5 in every step."""
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = kind([weight], **options)
    for _ in range(steps):
        weight.grad = torch.tensor([0.5, 1.0])
        before, state = weight.detach().clone()[0], optimizer.state.get(weight, {})
        kept = {k: (v.clone()[0] if v.dim() else v.clone()) for k, v in state.items() if v is not None}
        optimizer.step()
    after = {k: v[0] if v.dim() else v for k, v in optimizer.state.get(weight, {}).items() if v is not None}
    work = Work(before, weight.grad[0], optimizer.param_groups[0], kept, weight.detach()[0], after)
    work.finish(FORMULAS[kind](work))
    return [f"{f.name} = {f.formula} = {f.numbers} = {f.result}{f.note}" for f in work.formula_lines("w")]


def test_plain_sgd_reads_as_in_the_notebook():
    assert lines(optim.SGD, 1, lr=0.001) == ["w = w − lr · .grad = +1.0000 − 0.001 × +0.5000 = +0.9995"]


def test_sgd_with_everything():
    assert lines(optim.SGD, 2, lr=0.1, momentum=0.9, dampening=0.5, weight_decay=0.01, maximize=True) == [
        "w = w − lr · b = +1.0490 − 0.1 × −0.6858 = +1.1176",
        "g = −.grad + λ · w = −+0.5000 + 0.01 × +1.0490 = −0.4895",
        "b = μ · b + (1 − τ) · g = 0.9 × −0.4900 + (1 − 0.5) × −0.4895 = −0.6858",
    ]


def test_adam_reads_with_its_moments():
    assert lines(optim.Adam, 2, lr=0.1, betas=(0.9, 0.99), eps=1e-8) == [
        "w = w − lr · m̂ / (√v̂ + ε) = +0.9000 − 0.1 × +0.5000 / (√+0.2500 + 1e−08) = +0.8000",
        "m = β₁ · m + (1 − β₁) · .grad = 0.9 × +0.0500 + (1 − 0.9) × +0.5000 = +0.0950",
        "v = β₂ · v + (1 − β₂) · .grad² = 0.99 × +0.0025 + (1 − 0.99) × +0.5000² = +0.0050",
        "m̂ = m / (1 − β₁^t) = +0.0950 / (1 − 0.9^2) = +0.5000",
        "v̂ = v / (1 − β₂^t) = +0.0050 / (1 − 0.99^2) = +0.2500",
    ]


def test_adamw_decays_the_weight_apart():
    written = lines(optim.AdamW, 1, lr=0.1, weight_decay=0.5)
    assert written[1] == "w′ = w · (1 − lr · λ) = +1.0000 × (1 − 0.1 × 0.5) = +0.9500"
    assert written[0].startswith("w = w′ − lr · m̂")


def test_centered_rmsprop_and_adagrad_read_on():
    assert lines(optim.RMSprop, 1, lr=0.1, alpha=0.5, centered=True)[0].startswith(
        "w = w − lr · .grad / (√(v − ḡ²) + ε) ="
    )
    assert (
        lines(optim.Adagrad, 3, lr=0.1, lr_decay=0.5)[1]
        == "lr now = lr / (1 + (t − 1) · η) = 0.1 / (1 + (3 − 1) × 0.5) = +0.0500"
    )


def test_a_negative_number_is_squared_in_brackets():
    weight = torch.tensor(1.0)
    work = Work(weight, torch.tensor(-0.5), {"lr": 1.0, "alpha": 0.5, "eps": 1e-8}, {})
    work.finish(FORMULAS[optim.RMSprop](work))
    assert "(−0.5000)²" in work.formula_lines("w")[1].numbers


def test_what_torch_did_otherwise_is_said_and_not_shown():
    work = Work(torch.tensor(1.0), torch.tensor(0.5), {"lr": 0.1}, {}, torch.tensor(0.9))
    work.finish(FORMULAS[optim.SGD](work))
    (line,) = work.formula_lines("w")
    assert (line.numbers, line.result) == ("", "")
    assert line.note == "not shown: torch computed +0.9000, the formula gives +0.9500"


def test_the_least_change_beyond_rounding_is_noticed():
    """The bound is no wide net: eight last bits of float32 are too many for plain SGD."""
    weight = torch.tensor(0.7)
    for bits, agrees in ((1, True), (8, False)):
        after = weight - 0.01 * 0.3 + bits * torch.finfo(torch.float32).eps * weight
        work = Work(weight, torch.tensor(0.3), {"lr": 0.01}, {}, after)
        work.finish(FORMULAS[optim.SGD](work))
        assert bool(work.agrees) is agrees


def test_a_change_lost_to_rounding_is_named():
    work = Work(torch.tensor(1.0), torch.tensor(1e-9), {"lr": 0.1}, {}, torch.tensor(1.0))
    work.finish(FORMULAS[optim.SGD](work))
    assert work.formula_lines("w")[0].note == "less than the last bit of w in float32: w is unchanged"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_agrees_within_its_own_rounding(dtype):
    held = held_of(optim.AdamW, {"weight_decay": 0.1}, dtype)
    for act in (Forward(), Backward(), Step()):
        runner_of(held).run(act)
    for _, parameter in held.parameters:
        done = read(work_done(held, parameter, whole(parameter)))
        assert done is not None
        assert done.agrees.all()


def test_nan_and_infinity_go_through():
    work = Work(
        torch.tensor([1.0, 1.0]),
        torch.tensor([float("nan"), float("inf")]),
        {"lr": 0.1},
        {},
        torch.tensor([float("nan"), float("-inf")]),
    )
    work.finish(FORMULAS[optim.SGD](work))
    assert work.agrees.all()


def test_a_learning_rate_that_is_a_tensor_is_read_as_it_was_before_the_step():
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    optimizer = optim.SGD(model.parameters(), lr=torch.tensor(0.5))
    scheduler = optim.lr_scheduler.ExponentialLR(optimizer, 0.1)
    batch = (torch.randn(3, 2), torch.randn(3, 1))
    workload = Workload(model, nn.functional.mse_loss, optimizer, [batch], schedulers=[scheduler])
    held = Held(workload, torch.device("cpu"))
    for act in (Forward(), Backward(), Step()):
        runner_of(held).run(act)
    done = read(work_done(held, model.weight, whole(model.weight)))
    assert done is not None
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.05)
    assert done.option("lr") == 0.5
    assert done.agrees.all()


def test_what_has_no_formula_says_why():
    held = held_of(optim.Adamax, {}, torch.float32)
    assert why_none(held, held.parameters[0][1]) == "Adamax has no formula here"
    held = held_of(optim.SGD, {}, torch.float32)
    assert why_none(held, held.parameters[0][1]) == ""
    held.optimizer.param_groups[0]["params"].pop(0)
    assert why_none(held, held.parameters[0][1]) == "in no group of the optimizer: no step updates it"
    held.optimizer.param_groups[0]["params"].append(held.parameters[1][1])
    assert why_none(held, held.parameters[1][1]) == "twice in the optimizer: a step updates it twice"

    class Own(optim.SGD):
        pass

    held = held_of(Own, {}, torch.float32)
    assert why_none(held, held.parameters[0][1]) == "Own has no formula here"


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_numbers_that_differ_are_written_differently_where_nine_decimals_tell(one, other):
    digits = digits_that_tell(one, other)
    if abs(one - other) > 1e-3 * max(abs(one), abs(other), 1e-6):
        assert signed(one, digits) != signed(other, digits)
    assert 4 <= digits <= 9


def test_a_step_that_writes_the_gradient_is_seen_to():
    """Torch's foreach kernel for Nesterov adds the momentum to `.grad` in place."""
    held = held_of(optim.SGD, {"foreach": True, "momentum": 0.9, "nesterov": True}, torch.float32)
    for act in (Forward(), Backward(), Step()):
        runner_of(held).run(act)
    assert "0.weight.grad" in read(changed_names(compared(held)))
    done = read(work_done(held, held.parameters[0][1], whole(held.parameters[0][1])))
    assert done is not None
    assert not torch.equal(done.gradient, held.parameters[0][1].grad)
