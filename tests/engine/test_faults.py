"""When torch refuses a backward, the node that saved, what wrote or freed it, and the lines of both are named."""

from __future__ import annotations

from typing import Any

import torch
from holding import B, F, S, Z, failed, hold, run
from torch import Tensor, nn

from gradstep.engine.diagnose.backward_errors import with_cause
from gradstep.engine.state.digest import digest
from gradstep.values.commands import Backward


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.second = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x).exp()
        hidden += 1
        return self.second(hidden)  # type: ignore[no-any-return]


def test_an_in_place_op_of_the_forward_is_named_with_both_lines_and_versions() -> None:
    held = run(hold(InPlace()), F)
    problem = failed(held, B)
    before = digest(held)
    said = with_cause(held, problem, "").what
    assert "ExpBackward0" in said
    assert "`hidden = self.first(x).exp()` saved the tensor at version 0; it is at version 1 now" in said
    assert "`hidden += 1` modified it in place after that" in said
    assert digest(held) == before


class InPlaceBeforeFastPath(InPlace):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        padded = torch.tensor([[False, False, True]]).expand(len(x), -1)
        with torch.no_grad():
            x = self.encoder(torch.stack([x, x, x], 1), src_key_padding_mask=padded)[:, 0] + x
        return super().forward(x)


def test_a_module_on_its_fast_path_does_not_keep_the_culprit_from_being_named() -> None:
    held = run(hold(InPlaceBeforeFastPath()), F)
    said = with_cause(held, failed(held, B), "").what
    assert "`hidden += 1` modified it in place after that" in said


def test_the_step_that_wrote_the_weights_is_named() -> None:
    torch.manual_seed(0)
    held = run(hold(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))), F)
    run(held, Backward(retain_graph=True), S)
    said = with_cause(held, failed(held, B), "").what
    assert "of 1 Linear" in said
    assert "optimizer.step() modified it in place" in said


def test_the_backward_that_freed_the_graph_is_named() -> None:
    held = run(hold(InPlace()), F)
    held = run(hold(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))), F, B)
    said = with_cause(held, failed(held, B), "command 2, `backward`").what
    assert "are freed" in said
    assert "freed by command 2, `backward`" in said


class Carries(nn.Module):
    """Keeps its hidden state, and does not detach it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(3, 2)
        self.hidden: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        before = torch.zeros(3, 3) if self.hidden is None else self.hidden
        self.hidden = torch.tanh(self.first(x) + before)
        return self.second(self.hidden)  # type: ignore[no-any-return]


def test_a_state_that_is_carried_over_is_named_with_what_uses_it() -> None:
    held = hold(Carries())
    held.recording.lines = True
    run(held, F, B, S, Z, F)
    problem = with_cause(held, failed(held, B), "")
    first, second = problem.what.splitlines()[:2]
    assert "TanhBackward0 is from an earlier forward" in first
    assert "the backward of that forward freed its saved tensors" in first
    assert "AddBackward0" in second
    assert "`self.hidden = torch.tanh(self.first(x) + before)` of this forward uses a tensor kept" in second
    assert "detach" in problem.remedy


class CarriesThroughAWeight(Carries):
    def __init__(self) -> None:
        super().__init__()
        self.turn = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        before = torch.zeros(3, 3) if self.hidden is None else self.hidden
        self.hidden = self.turn(torch.tanh(self.first(x) + before))
        return self.second(self.hidden)  # type: ignore[no-any-return]


def test_a_state_that_is_carried_over_is_named_where_its_graph_was_retained_and_a_step_wrote_the_weights() -> None:
    keep = Backward(retain_graph=True)
    held = hold(CarriesThroughAWeight())
    held.recording.lines = True
    run(held, F, keep, S, Z, F)
    problem = with_cause(held, failed(held, keep), "")
    first, second = problem.what.splitlines()[:2]
    assert "AddmmBackward0" in first
    assert (
        "is from an earlier forward, and its saved tensors were modified in place since, usually by optimizer.step()"
        in first
    )
    assert "`self.hidden = self.turn(torch.tanh(self.first(x) + before))` of this forward uses a tensor" in second
    assert "detach what is carried over" in problem.remedy


def test_what_a_loss_computes_before_it_calls_the_model_is_of_this_forward() -> None:
    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        scale = model.weight.exp()
        kept = scale.exp()
        kept += 1
        return (model(batch[0]) * kept.sum()).sum()

    held = run(hold(nn.Linear(4, 2), compute_loss=loss), F)
    problem = with_cause(held, failed(held, B), "")
    assert "earlier forward" not in problem.what
    assert "`kept += 1` modified it in place after that" in problem.what


def test_a_backward_of_the_forward_is_named() -> None:
    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        output = model(batch[0]).tanh()
        output.sum().backward()
        return nn.functional.mse_loss(output, batch[1])

    held = run(hold(nn.Linear(4, 2), compute_loss=loss), F)
    said = with_cause(held, failed(held, B), "").what
    assert "TanhBackward0" in said
    assert "freed by torch.Tensor.backward at test_faults.py" in said
    assert "`output.sum().backward()`" in said


class Exp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] * ctx.saved_tensors[0]


def test_what_a_custom_function_saved_is_followed() -> None:
    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        output: Tensor = Exp.apply(model(batch[0]))
        output += 1
        return output.sum()

    held = run(hold(nn.Linear(4, 2), compute_loss=loss), F)
    said = with_cause(held, failed(held, B), "").what
    assert "ExpBackward" in said
    assert "`output += 1` modified it in place after that" in said


def test_any_other_problem_is_left_as_it_is() -> None:
    held = hold(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)))
    problem = failed(held, B)
    assert with_cause(held, problem, "") == problem
