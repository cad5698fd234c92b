"""A term of the loss that has no graph changes its value and trains nothing: it is named, with its value and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from holding import B, F, hold, run
from torch import Tensor, nn
from torch.nn import functional

from gradstep.engine.diagnose.loss_terms import LossTerms
from gradstep.engine.reads import read
from gradstep.engine.state.digest import digest
from gradstep.views.training.changes import changed_names, compared
from gradstep.views.why.view import why_view

Loss = Callable[[nn.Module, Any], Tensor]


def said(loss: Loss) -> list[str]:
    torch.manual_seed(0)
    held = run(hold(nn.Linear(4, 2), compute_loss=loss), F)
    before = digest(held)
    lines = LossTerms().lines(held)
    assert digest(held) == before
    assert LossTerms().lines(run(held, B)) == lines, "a backward has freed the graph, and it is the same loss"
    return lines


def physics(create_graph: bool) -> Loss:
    """A loss of two terms, one over a derivative of the model by its input."""

    def loss(model: nn.Module, batch: Any) -> Tensor:
        x = batch[0].clone().requires_grad_(True)
        output = model(x).tanh()
        (slope,) = torch.autograd.grad(output.sum(), x, create_graph=create_graph, retain_graph=True)
        residual = slope.pow(2).mean()
        return functional.mse_loss(output, batch[1]) + residual

    return loss


def test_create_graph_that_was_forgotten_is_named_with_the_term_and_its_value() -> None:
    kept: list[float] = []

    def noted(model: nn.Module, batch: Any) -> Tensor:
        loss = physics(False)(model, batch)
        kept.append(float(loss.detach() - functional.mse_loss(model(batch[0]).tanh(), batch[1])))
        return loss

    term, added, cause = said(noted)
    assert term.startswith("a term of the loss has no graph and trains nothing: ")
    assert float(term.split(": ", 1)[1].split(",")[0]) == pytest.approx(kept[0], rel=1e-3)
    assert added.startswith("it is added by torch.Tensor.add at test_loss_terms.py:")
    assert added.endswith("`return functional.mse_loss(output, batch[1]) + residual`")
    assert "ends at torch.autograd.grad at test_loss_terms.py:" in cause
    assert "create_graph=True" in cause
    assert said(physics(True)) == []


def decay(scale: Callable[[Tensor], Any]) -> Loss:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        return functional.mse_loss(model(batch[0]), batch[1]) - scale(model.weight)

    return loss


def test_a_penalty_on_detached_weights_is_named_with_its_sign() -> None:
    term, _, cause = said(decay(lambda weight: 0.1 * weight.data.square().sum()))
    assert "trains nothing: -" in term.replace("−", "-")
    assert ".data" in cause
    assert "detached from the graph" in cause


def test_a_term_among_stacked_ones_is_found_below_their_mean() -> None:
    def loss(model: nn.Module, batch: Any) -> Tensor:
        output = model(batch[0])
        with torch.no_grad():
            other = output.abs().mean()
        return torch.stack([functional.mse_loss(output, batch[1]), other]).mean() * 2

    _, added, cause = said(loss)
    assert "by torch.stack at" in added
    assert "torch.no_grad()" in cause


@pytest.mark.parametrize(
    "scale",
    [lambda _: 1e-8, lambda _: torch.tensor(0.5), lambda weight: weight.square().sum(), lambda weight: weight.numel()],
)
def test_a_number_that_depends_on_no_parameter_is_not_named(scale: Any) -> None:
    assert said(decay(scale)) == []


def test_a_mean_over_elements_is_no_sum_of_terms() -> None:
    assert said(lambda model, batch: (model(batch[0]) + batch[1]).pow(2).mean()) == []


def test_each_loss_is_walked_once() -> None:
    ran: list[int] = []

    def loss(model: nn.Module, batch: Any) -> Tensor:
        ran.append(1)
        return physics(False)(model, batch)

    held, terms = run(hold(nn.Linear(4, 2), compute_loss=loss), F), LossTerms()
    said = read(why_view(held, 1, changed_names(compared(held)), terms=terms))
    assert said.sentence.startswith("forward computed the loss. A term of the loss has no graph and trains nothing: ")
    assert said.more[0].startswith("it is added by torch.Tensor.add")
    walked = len(ran)
    assert terms.lines(held) == terms.lines(run(held, B))
    assert len(ran) == walked
