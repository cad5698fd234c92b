"""A custom Function's backward, and the backward of that, are compared with finite differences on copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from holding import B, F, S, hold, run
from running import runner_of
from torch import Tensor, nn

from gradstep.engine.autograd.function_check import Verdict, check_function
from gradstep.engine.autograd.saved_values import is_function
from gradstep.engine.held import Held
from gradstep.engine.observe import functions
from gradstep.engine.state.digest import digest
from gradstep.engine.stepping.breakpoints import Breakpoints
from gradstep.engine.stepping.stepper import Stepping


class Cube(torch.autograd.Function):
    """Right, also twice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * g


class Forgetful(Cube):
    """Right once: what it keeps on ctx is no part of the graph of a double backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.slope = 3 * x**2
        return x**3

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return ctx.slope * g  # type: ignore[no-any-return]


class Negated(Cube):
    """Wrong at one element, and in place in what arrives."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        g = g.mul_(3 * x**2)
        g[1, 2] *= -1
        return g


class Once(Cube):
    """With a backward that torch refuses to differentiate."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 3 * x**2 * g  # type: ignore[no-any-return]


class Pair(torch.autograd.Function):
    """Several inputs, of which one is a number, and several outputs, of which one has no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(x, weight)
        ctx.scale = scale
        signs = (x > 0).long()
        ctx.mark_non_differentiable(signs)
        return x * weight * scale, signs, weight + x

    @staticmethod
    def backward(ctx: Any, g: Tensor, _: Tensor, h: Tensor) -> tuple[Tensor, None, Tensor]:
        x, weight = ctx.saved_tensors
        return g * weight * ctx.scale + h, None, (g * x).sum(0) + h.sum(0)  # without the scale


class Bent(torch.autograd.Function):
    """A relu of what is 0 in places, in place."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x > 0)
        ctx.mark_dirty(x)
        return x.relu_()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return g * positive  # type: ignore[no-any-return]


class Kinked(Bent):
    """The same, on a copy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x > 0)
        return x.relu()


class Root(torch.autograd.Function):
    """Infinite where x is 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.abs().sqrt()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return g * x.sign() / (2 * x.abs().sqrt())  # type: ignore[no-any-return]


class Dropped(torch.autograd.Function):
    """Draws a mask as it runs."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mask = torch.rand(x.shape) > 0.5
        return x * ctx.mask

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g * ctx.mask  # type: ignore[no-any-return]


class Half(Cube):
    """For single precision alone, as a kernel of one's own may be."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        if x.dtype is not torch.float32:
            raise TypeError("float32 alone")
        return Cube.forward(ctx, x)


class Using(nn.Module):
    """A layer, and then a custom Function."""

    def __init__(self, use: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.layer, self.weight, self.use = nn.Linear(4, 3), nn.Parameter(torch.randn(3)), use

    def forward(self, x: Tensor) -> Tensor:
        made = self.use(self.layer(x), self.weight)
        return made if isinstance(made, Tensor) else made[0] + made[2]


def using(use: Callable[[Tensor, Tensor], Any], rows: int = 5) -> Held:
    torch.manual_seed(0)
    return run(hold(Using(use), batches=[(torch.randn(rows, 4), torch.randn(rows, 3))]), F)


def verdicts(held: Held) -> tuple[Verdict, ...]:
    graph = held.graph()
    assert graph is not None
    (node,) = (node for node in graph.nodes if is_function(node))
    return check_function(node, graph.made.applied)


RIGHT: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "Cube": lambda x, _: Cube.apply(x),
    "Dropped": lambda x, _: Dropped.apply(x),
    "Kinked": lambda x, _: Kinked.apply(x),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_backward_that_is_right_agrees_and_so_does_its_own(name: str) -> None:
    first, second = verdicts(using(RIGHT[name]))
    assert (first.agrees, second.agrees) == (True, True)
    assert first.words.startswith(f"backward of {name} agrees with finite differences: all 225 elements of J, ")
    assert second.words.startswith(f"double backward of {name} agrees with finite differences: all 450 elements of J, ")


def test_the_element_that_is_wrong_is_named_with_both_numbers() -> None:
    first, _ = verdicts(using(lambda x, _: Negated.apply(x)))
    assert first.agrees is False
    assert first.words.startswith(
        "backward of Negated DISAGREES with finite differences: at ∂ output[1, 2] / ∂ x[1, 2] by "
    )
    assert first.words.endswith("; 1 of all 225 elements of J differs")


def test_a_double_backward_that_forgets_what_ctx_keeps_is_wrong_alone() -> None:
    first, second = verdicts(using(lambda x, _: Forgetful.apply(x)))
    assert (first.agrees, second.agrees) == (True, False)
    assert "∂ Jᵀv for x" in second.words
    assert "autograd gives 0, differences give" in second.words


def test_a_double_backward_that_torch_refuses_is_told_in_its_words() -> None:
    first, second = verdicts(using(lambda x, _: Once.apply(x)))
    assert (first.agrees, second.agrees) == (True, None)
    assert "once_differentiable" in second.words


def test_several_inputs_and_outputs_are_told_apart_by_name() -> None:
    first, _ = verdicts(using(lambda x, weight: Pair.apply(x, 3.0, weight)))
    assert first.agrees is False
    assert "/ ∂ weight[" in first.words
    assert "of all 540 elements of J differ" in first.words


def test_a_kink_is_left_out() -> None:
    first, _ = verdicts(using(lambda x, _: Kinked.apply(x * torch.tensor([0.0, 1.0, 1.0]))))
    assert first.agrees is True
    assert "5 skipped at a kink" in first.words


def test_what_a_function_has_written_itself_is_drawn_at_random() -> None:
    first, second = verdicts(using(lambda x, _: Bent.apply(x.clone())))
    assert (first.agrees, second.agrees) == (True, True)
    assert first.words.endswith("; x at random: modified in place since")


def test_what_is_not_finite_is_said_and_is_no_disagreement() -> None:
    (first,) = verdicts(using(lambda x, _: Root.apply(x * torch.tensor([1.0, 0.0, 1.0]))))
    assert first.agrees is None
    assert first.words.startswith(
        "backward of Root is not finite: ∂ output[0, 0] / ∂ x[0, 1] is nan, differences give "
    )


def test_a_function_that_can_not_run_in_double_precision_says_so() -> None:
    (first,) = verdicts(using(lambda x, _: Half.apply(x)))
    assert (first.agrees, first.words) == (None, "backward of Half can't be checked: TypeError: float32 alone")


def test_of_a_large_one_some_rows_and_columns_are_compared() -> None:
    first, _ = verdicts(using(lambda x, _: Cube.apply(x), rows=600))
    assert first.agrees
    assert "4,096 elements of J (of 3,240,000)" in first.words


def test_a_check_changes_nothing_wherever_it_is_made() -> None:
    torch.manual_seed(0)
    plain, checked = using(lambda x, _: Dropped.apply(x)), using(lambda x, _: Dropped.apply(x))
    start = plain.keeper.capture()
    for act in (B, S, F, B):
        run(plain, act)
    checked.keeper.restore(start)
    phase = Stepping(runner_of(checked), B, Breakpoints(), lambda _: True, str)
    while phase.go("into"):
        assert phase.ask(lambda: verdicts(checked))[0].agrees
    run(checked, S)
    phase = Stepping(runner_of(checked), F, Breakpoints(), lambda _: True, str)
    while phase.go("into"):
        phase.ask(lambda: verdicts(checked))
    run(checked, B)
    assert digest(checked) == digest(plain)


def test_after_a_whole_backward_and_a_step_it_can_still_be_checked() -> None:
    held = run(using(lambda x, weight: Pair.apply(x, 3.0, weight)), B)
    assert verdicts(held)[0].agrees is False
    run(held, S)
    assert verdicts(held)[0].agrees is False


def test_no_more_is_kept_of_what_functions_were_given_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "KEPT", 32)
    (refused,) = verdicts(using(lambda x, _: Cube.apply(x)))
    assert "its inputs were not kept" in refused.words


def test_a_checkpoint_is_not_taken_for_an_operation() -> None:
    from torch.utils.checkpoint import checkpoint

    (refused,) = verdicts(using(lambda x, _: checkpoint(torch.tanh, x, use_reentrant=True)))
    assert refused.words == (
        "backward of CheckpointFunction can't be checked: CheckpointFunction runs a part of the model, not an operation"
    )
