"""What is found in a script, and what its panels say of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scripting import phases, stepped
from test_script_loops import (
    X,
    Y,
    accumulation,
    amp,
    functional,
    fused_amp,
    gan,
    grad_of_parameters,
    group_added,
    lbfgs,
    net,
    rebuilt_half_way,
    run,
    scripted,
    sgd,
    without_modules,
    written_through_data,
)
from test_script_loops import scheduler_and_ema as with_scheduler
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from gradstep.engine.script.iterations import Iterations
from gradstep.session.script_session import ScriptSession
from gradstep.values import commands as cmd
from gradstep.values.expressions import Name
from gradstep.values.views import (
    Changes,
    LookChanges,
    LookLoss,
    LookModel,
    LookWhy,
    LossView,
    ModelView,
    NoView,
    WhyView,
)
from gradstep.values.views.inside import LookInside
from gradstep.values.views.training import BatchView, LayersView, LookBatch, LookLayers, LookOptimizer, OptimizerView


def upto(session: ScriptSession, phase: str, times: int = 1) -> str:
    """Step to the end of a phase, some times; return what the last command printed."""
    for _ in range(times):
        while (outcome := session.execute(cmd.Over())).stop.phase != phase:
            assert session.ended is None
    return outcome.text


def parameters(session: ScriptSession) -> dict[str, str]:
    """Return the state of `.grad` of each parameter."""
    (view,) = session.look(LookModel())
    assert isinstance(view, ModelView)
    return {row.path: row.grad for row in view.rows if row.shape}


def optimizer(session: ScriptSession) -> OptimizerView:
    (view,) = session.look(LookOptimizer())
    assert isinstance(view, OptimizerView)
    return view


def why(session: ScriptSession) -> WhyView:
    (view,) = session.look(LookWhy())
    assert isinstance(view, WhyView)
    return view


def changed(session: ScriptSession) -> list[str]:
    (view,) = session.look(LookChanges())
    assert isinstance(view, Changes)
    return [row.name for row in view.rows]


def test_two_models_are_named_by_their_variables_from_the_first_stop_on() -> None:
    with stepped(run(gan, [])) as session:
        assert {name.partition(".")[0] for name in parameters(session)} == {"gen", "dis"}


def test_the_optimizer_that_owns_the_selection_is_shown_and_the_others_are_named() -> None:
    with stepped(run(gan, [])) as session:
        upto(session, "step")
        session.execute(cmd.Show(Name("gen.0.weight")))
        view = optimizer(session)
        assert [other.first for other in view.others] == ["dis.0.weight"]
        assert view.missing == ()
        assert view.path == "gen.0.weight"
        assert view.slots == ()  # the other optimizer has stepped
        session.execute(cmd.Show(Name("dis.0.weight")))
        assert {slot.key for slot in optimizer(session).slots} == {"step", "exp_avg", "exp_avg_sq"}


def test_the_update_of_each_optimizer_of_an_iteration_is_measured() -> None:
    with stepped(run(gan, [])) as session:
        for model in ("dis", "gen"):
            upto(session, "step")
            (view,) = session.look(LookLayers())
            assert isinstance(view, LayersView)
            assert {row.path for row in view.rows if row.update} == {f"{model}.0", f"{model}.2"}


def test_a_model_that_is_rebuilt_takes_the_place_of_the_old_one() -> None:
    with stepped(run(rebuilt_half_way, [])) as session:
        first = parameters(session)
        upto(session, "step", 2)
        assert set(parameters(session)) == set(first)
        upto(session, "forward")
        (view,) = session.look(LookModel())
        assert isinstance(view, ModelView)
        assert {row.path: row.shape for row in view.rows}["0.weight"] == (6, 4)
        assert optimizer(session).others == ()


def test_a_group_that_is_added_is_there_at_the_next_stop() -> None:
    with stepped(run(group_added, [])) as session:
        upto(session, "step")
        assert len(optimizer(session).groups) == 1
        upto(session, "step")
        assert [group.rate for group in optimizer(session).groups] == [0.1, 0.01]


@pytest.mark.parametrize("loop", [amp, fused_amp])
def test_a_step_that_the_scaler_skips_says_why(loop: Callable[[], list[torch.Tensor]]) -> None:
    with stepped(run(loop, [])) as session:
        assert upto(session, "step") == ""
        text = upto(session, "step")
        assert (
            text == "GradScaler skipped this step: inf or NaN in the gradient of 0.weight, 0.bias, 2.weight and 1 more"
        )
        assert why(session).sentence == f"{text}. No weight changed."
        assert changed(session) == []


def test_clipping_between_backward_and_step_is_noticed() -> None:
    with stepped(run(with_scheduler, [])) as session:
        upto(session, "step")
        assert "the script wrote .grad of 4 parameters between backward and step, as clipping does" in why(session).more


def test_a_scheduler_is_found_and_named_with_its_optimizer() -> None:
    with stepped(run(with_scheduler, [])) as session:
        upto(session, "step")
        assert optimizer(session).schedulers == ("OneCycleLR",)


@pytest.mark.parametrize("loop", [written_through_data, without_modules])
def test_weights_that_the_script_writes_itself_are_its_step(loop: Callable[[], list[torch.Tensor]]) -> None:
    with stepped(run(loop, [])) as session:
        upto(session, "step")
        names = list(parameters(session))
        assert why(session).sentence.startswith("The script updated ")
        assert changed(session)[: len(names)] == names
        assert optimizer(session).note == "the script has used no optimizer so far"


def test_leaves_without_a_module_have_the_names_of_their_variables_and_zeros_are_seen() -> None:
    with stepped(run(without_modules, [])) as session:
        upto(session, "step")
        assert list(parameters(session).items()) == [("w", "zero"), ("b", "zero")]


def test_backwards_add_up_in_the_ledger_until_a_step_uses_them() -> None:
    with stepped(run(accumulation, [])) as session:
        upto(session, "backward", 3)
        assert set(parameters(session).values()) == {"x3"}
        upto(session, "step")
        assert set(parameters(session).values()) == {"x3, 3 used"}


def test_a_weight_that_is_clamped_after_the_step_is_told() -> None:
    def clamps() -> list[torch.Tensor]:
        model = net()
        opt = sgd(model)
        for _ in range(2):
            opt.zero_grad()
            F.mse_loss(model(X), Y).backward()
            opt.step()
            with torch.no_grad():
                model[2].bias.clamp_(-0.01, 0.01)
        return [p.detach() for p in model.parameters()]

    with stepped(run(clamps, [])) as session:
        upto(session, "step")
        assert upto(session, "zero_grad") == "written outside of optimizer.step: 2.bias"


def test_a_loss_that_is_a_sum_shows_its_terms_and_which_is_nan() -> None:
    def train() -> list[torch.Tensor]:
        model, criterion = net(), nn.MSELoss()
        opt = sgd(model)
        for low in (-10.0, 10.0):
            out = model(X)
            kl = (out - low).log().mean()
            losses = {"size": out.abs().mean()}
            (criterion(out, Y) + 0.1 * kl - losses["size"] / 2).backward()
            opt.step()
            opt.zero_grad()
        return []

    with stepped(run(train, [])) as session:
        upto(session, "forward")
        names = [line.partition(" = ")[0] for line in why(session).more if line.startswith("its term")]
        assert names == ["its term MSELoss", "its term 0.1 × kl", "its term −losses['size'] / 2"]
        upto(session, "forward")
        assert why(session).sentence.startswith("The loss is NaN, and so is its term 0.1 × kl:")


def test_a_scripted_model_is_looked_at_inside_too() -> None:
    with stepped(run(scripted, [])) as session:
        for _ in range(12):
            session.execute(cmd.Into())
            assert not [view for view in session.look(LookInside(), LookWhy()) if isinstance(view, NoView)]


def test_a_fault_of_gradstep_in_a_phase_does_not_reach_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: Iterations, __: object) -> bool:
        raise ZeroDivisionError("a fault")

    with stepped(run(gan, [])) as session:
        monkeypatch.setattr(Iterations, "begins", fails)
        outcomes = phases(session)
    assert session.ended is not None
    assert session.ended.problem is None
    assert any("gradstep could not follow" in each.text for each in outcomes)


def test_what_a_step_changed_is_known_when_its_closure_was_stepped_through() -> None:
    with stepped(run(lbfgs, [])) as session:
        for command in (cmd.Forward(), cmd.Backward(), cmd.Step()):
            session.execute(command)
        assert "0.weight" in changed(session)


def test_what_the_last_phase_changed_is_known_at_the_next_iteration() -> None:
    with stepped(run(accumulation, [])) as session:
        session.execute(cmd.NextIteration())
        assert changed(session) == ["0.weight.grad", "0.bias.grad", "2.weight.grad", "2.bias.grad"]


def test_the_batch_is_what_the_first_module_was_given_and_the_target_of_the_loss() -> None:
    with stepped(run(lbfgs, [])) as session:
        upto(session, "backward")
        (view,) = session.look(LookBatch())
        assert isinstance(view, BatchView)
        assert [(row.name, row.shape) for row in view.parts] == [
            ("input", (6, 4)),
            ("target", (6, 2)),
            ("prediction", (6, 2)),
        ]


def test_each_loss_of_a_script_has_a_history_of_its_own_under_its_name() -> None:
    def train() -> list[torch.Tensor]:
        one, two = net(), net()
        opt = sgd(one, two)
        for _ in range(3):
            first = F.mse_loss(one(X), Y)
            first.backward()
            second = two(X).square().mean()
            second.backward()
            opt.step()
            opt.zero_grad()
        return []

    with stepped(run(train, [])) as session:
        views = []
        for _ in range(4):
            upto(session, "forward")
            views += session.look(LookLoss())
    shown = [(view.name, [point.forward for point in view.points]) for view in views if isinstance(view, LossView)]
    assert shown == [("", [1]), ("second", [2]), ("first", [1, 3]), ("second", [2, 4])]


@pytest.mark.parametrize(("loop", "how"), [(functional, "torch.func"), (grad_of_parameters, "torch.autograd.grad")])
def test_a_backward_that_returns_gradients_is_said_to_write_none(loop: Callable[[], object], how: str) -> None:
    with stepped(run(loop, [])) as session:  # type: ignore[arg-type]
        upto(session, "backward")
        assert why(session).sentence == f"{how} returned the gradients: it wrote no .grad."


def test_an_optimizer_that_wraps_another_is_not_a_second_one() -> None:
    class Wrapper(torch.optim.SGD):
        """Shares the state of what it wraps, as Lightning's does."""

        def __init__(self, inner: torch.optim.Optimizer) -> None:
            vars(self).update(vars(inner))
            self.inner = inner

        def step(self, closure: object = None) -> None:
            self.inner.step()

    def train() -> list[torch.Tensor]:
        model = net()
        opt = Wrapper(sgd(model))
        for _ in range(2):
            F.mse_loss(model(X), Y).backward()
            opt.step()
            opt.inner.zero_grad()
        return []

    with stepped(run(train, [])) as session:
        upto(session, "step")
        assert optimizer(session).name == "SGD"
        assert optimizer(session).others == ()


def test_a_dispatch_mode_of_the_script_sees_its_own_operations_only() -> None:
    class Log(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    def train() -> None:
        torch.manual_seed(0)
        model = net()
        opt = sgd(model)
        with Log():
            for _ in range(2):
                opt.zero_grad()
                F.mse_loss(model(X), Y).backward()
                opt.step()

    seen: list[str] = []
    train()
    alone = list(seen)
    seen.clear()
    with stepped(train) as session:
        phases(session)
    assert alone == seen


def test_no_code_of_the_objects_among_the_variables_runs() -> None:
    class Touchy:
        """Raises whatever is asked of it."""

        def __getattribute__(self, name: str) -> Any:
            ran.append(name)
            raise RuntimeError(name)

        def train(self) -> None:
            model = net()
            opt = sgd(model)
            for _ in range(2):
                opt.zero_grad()
                F.mse_loss(model(X), Y).backward()
                opt.step()

    ran: list[str] = []
    with stepped(lambda: Touchy.train(Touchy())) as session:
        phases(session)
    assert session.ended is not None
    assert session.ended.problem is None
    assert ran == []
