"""The arithmetic that Why shows: of backward, of step, and where it has to say that it can't."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.values.views import LookTensor, LookWhy, TensorView, WhyView
from gradstep.values.views.ledger import FormulaLine
from gradstep.workload import Workload


def run(session: Session, *lines: str) -> None:
    for line in lines:
        for statement in parse_line(line):
            outcome = session.execute(statement.command)
            assert outcome.ok, outcome.problem


def why(session: Session, *element: int) -> WhyView:
    (view,) = session.look(LookWhy(tuple(element) or None))
    assert isinstance(view, WhyView), view
    return view


def lines(session: Session, *element: int) -> dict[str, FormulaLine]:
    return {line.name: line for line in why(session, *element).lines}


def small(model: nn.Module | None = None, optimizer: Any = None, **more: Any) -> Session:
    """Step one weight matrix; every gradient is 0.5 for column 0 and 1.0 for column 1."""
    model = model or nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0]]))
    workload = Workload(
        model,
        compute_loss=lambda m, x: m(x).sum(),
        optimizer=optimizer or (lambda p: torch.optim.SGD(p, lr=0.1)),
        batches=[torch.tensor([[0.5, 1.0]])],
        **more,
    )
    session = Session(workload)
    run(session, "show weight")
    why(session)
    return session


@pytest.fixture
def mlp() -> Session:
    session = Session()
    run(session, "load mlp seed=0", "show 2.weight[0, 0:10]")
    why(session)
    return session


def test_before_any_backward_there_is_nothing_to_calculate(mlp):
    run(mlp, "forward")
    view = why(mlp, 0, 3)
    assert (view.element, view.lines) == ("2.weight[0, 3]", ())


def test_backward_adds_up_and_says_what_step_would_give(mlp):
    run(mlp, "forward", "backward")
    view = why(mlp, 0, 3)
    assert view.element == "2.weight.grad[0, 3]"
    grad, would = view.lines
    assert (grad.formula, grad.numbers, grad.result) == ("before + this backward", "none + +4.3140", "+4.3140")
    assert (would.name, would.formula) == ("step would give", "w − lr · .grad")
    run(mlp, "step")
    (moved,) = why(mlp, 0, 3).lines
    assert (moved.name, moved.formula, moved.numbers, moved.result) == ("w", would.formula, would.numbers, would.result)


def test_a_second_backward_adds_to_the_first():
    session = small()
    run(session, "forward", "backward", "forward", "backward")
    assert lines(session)[".grad"].numbers == "+0.5000 + +0.5000"
    assert lines(session, 0, 1)[".grad"].result == "+2.0000"


def test_what_was_not_recorded_is_not_made_up():
    session = Session(
        Workload(
            nn.Linear(2, 1),
            nn.functional.mse_loss,
            lambda p: torch.optim.SGD(p, lr=0.1),
            [(torch.ones(1, 2), torch.ones(1, 1))],
        )
    )
    run(session, "show weight", *["forward", "backward"] * 2)
    grad = lines(session)[".grad"]
    assert (grad.numbers, grad.result) == ("", "")
    assert grad.note.startswith("its contribution was not recorded: .grad was")


def test_zero_grad_says_what_was_and_is():
    session = small()
    run(session, "forward", "backward", "zero_grad set_to_none=false")
    assert lines(session)[".grad"].formula == "was +0.5000, is 0"
    run(session, "forward", "backward", "zero_grad")
    assert lines(session)[".grad"].formula == "was +0.5000, is none"
    run(session, "step")
    assert "skipped" in lines(session)["w"].note


def test_an_optimizer_without_a_formula_shows_before_after_and_its_state():
    session = small(optimizer=lambda p: torch.optim.Adadelta(p, lr=0.5))
    run(session, "forward", "backward")
    assert lines(session)["step would give"].note == "Adadelta has no formula here"
    run(session, "step")
    seen = lines(session)
    assert seen["w"].note == "Adadelta has no formula here"
    assert seen["w"].formula == "before + change"
    assert {"w", "square_avg", "acc_delta"} == set(seen)


def test_clipping_by_norm_is_named():
    model = nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def clip(*_: Any) -> None:
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)

    optimizer.register_step_pre_hook(clip)
    session = small(model, optimizer)
    run(session, "forward", "backward", "step")
    seen = lines(session)
    assert seen["w"].numbers == "+1.0000 − 0.1 × +0.0447"
    assert seen[".grad"].formula == ".grad · factor"
    assert "clipping by norm" in seen[".grad"].note


def test_clipping_by_value_is_named():
    model = nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def clip(*_: Any) -> None:
        nn.utils.clip_grad_value_(model.parameters(), 0.6)

    optimizer.register_step_pre_hook(clip)
    session = small(model, optimizer)
    run(session, "forward", "backward", "step")
    assert "from +1.0000 to +0.6000" in lines(session, 0, 1)[".grad"].note


def test_a_scheduler_is_named_and_the_rate_is_the_one_that_was_used():
    model = nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    session = small(model, optimizer, schedulers=[torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)])
    run(session, "forward", "backward", "step")
    view = why(session)
    assert view.lines[0].numbers == "+1.0000 − 0.1 × +0.5000"
    assert any("the scheduler set lr 0.1 → 0.05" in fact for fact in view.more)


def test_a_hook_on_the_parameter_is_named():
    session = small()
    assert session._inspector is not None
    session._inspector.held.model.weight.register_hook(lambda grad: grad * 3)
    run(session, "forward", "backward")
    grad = lines(session)[".grad"]
    assert grad.numbers == "none + +1.5000"
    assert "a hook on the parameter" in grad.note


def test_a_hook_that_writes_the_gradient_afterwards_is_not_explained_away():
    session = small()
    assert session._inspector is not None
    weight = session._inspector.held.model.weight

    def double(parameter: torch.Tensor) -> None:
        assert parameter.grad is not None
        parameter.grad.mul_(2)

    weight.register_post_accumulate_grad_hook(double)
    run(session, "forward", "backward")
    assert "a hook of the workload changed .grad" in lines(session)[".grad"].note


def test_a_frozen_parameter_and_one_without_an_optimizer_say_so():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1, 2))
            self.loose = nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight.T * self.loose

    model = Two()
    session = small(model, torch.optim.SGD([model.weight], lr=0.1))
    run(session, "show loose", "forward", "backward")
    assert lines(session)["step would give"].note == "in no group of the optimizer: no step updates it"


def test_the_tensor_view_says_what_a_step_would_give_to_a_vector(mlp):
    run(mlp, "forward", "backward")
    (view,) = mlp.look(LookTensor())
    assert isinstance(view, TensorView)
    assert view.would is not None
    guess = view.would
    run(mlp, "step")
    (after,) = mlp.look(LookTensor())
    assert isinstance(after, TensorView)
    assert after.would is None
    assert after.value is not None
    assert [row[0] for row in after.value.values] == pytest.approx(list(guess), abs=1e-8)


def test_a_matrix_a_buffer_and_no_gradient_have_no_such_column(mlp):
    (view,) = mlp.look(LookTensor())
    assert isinstance(view, TensorView)
    assert view.would is None
    run(mlp, "show 2.weight", "forward", "backward")
    (view,) = mlp.look(LookTensor())
    assert isinstance(view, TensorView)
    assert view.would is None


@pytest.mark.parametrize("name", ["linear", "xor", "cnn", "rnn", "gpt", "deep", "hot"])
def test_every_step_of_every_example_is_explained(name):
    session = Session()
    run(session, f"load {name} seed=0")
    assert session._inspector is not None
    names = [parameter for parameter, _ in session._inspector.held.parameters][:6]
    for _ in range(3):
        for act in ("forward", "backward", "step", "zero_grad"):
            run(session, act)
            if act == "step":
                for parameter in names:
                    run(session, f"show {parameter}")
                    view = why(session)
                    assert view.lines[0].numbers, view.lines
                    assert all("not shown" not in line.note for line in view.lines)


def test_why_is_about_what_the_tensor_panel_opens_on_while_nothing_is_selected():
    session = Session()
    run(session, "load mlp seed=0")
    assert why(session).element == ""
    (statement,) = parse_line("show 2.weight[0, 3:5]")
    tensor, view = session.look(LookTensor(opening=statement.command.what), LookWhy())
    assert isinstance(view, WhyView)
    assert isinstance(tensor, TensorView)
    assert (view.element, tensor.place) == ("2.weight[0, 3]", (0, None))
