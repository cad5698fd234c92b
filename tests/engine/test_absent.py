"""Why a `.grad` is None: each way in which a path to the loss can end is told from the others, with its line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from holding import ZEROS, B, F, S, Z, hold, run
from running import runner_of
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gradstep.engine.diagnose.missing_grad import LossDependencies, why_none
from gradstep.engine.held import Held
from gradstep.engine.state.digest import digest


class Two(nn.Module):
    """A model with a second layer, whose fate each test decides."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.second = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))  # type: ignore[no-any-return]


class Detached(Two):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        hidden = hidden.detach()
        return self.second(hidden)  # type: ignore[no-any-return]


class Data(Two):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).data)  # type: ignore[no-any-return]


class Ungraded(Two):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = self.first(x).relu()
        return self.second(hidden)  # type: ignore[no-any-return]


class Chosen(Two):
    def forward(self, x: Tensor) -> Tensor:
        chosen = self.first(x).argmax(1)
        return self.second.weight[:, chosen].t()


class Number(Two):
    def forward(self, x: Tensor) -> Tensor:
        scale = self.first(x).sum().item()
        return self.second(x[:, :3] * scale)  # type: ignore[no-any-return]


class Unused(Two):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(x[:, :3])  # type: ignore[no-any-return]


class Aside(Two):
    def forward(self, x: Tensor) -> Tensor:
        self.aside = self.first(x).relu()
        return self.second(x[:, :3])  # type: ignore[no-any-return]


class FastPath(nn.Module):
    """A first layer that learns nothing, for the encoder behind it runs without grad, on its fast path in eval."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.aside, self.second = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2).eval()

    def forward(self, x: Tensor) -> Tensor:
        padded = torch.zeros(len(x), 3, dtype=torch.bool)
        padded[:, 2] = True
        with torch.no_grad():
            hidden = self.encoder(self.first(x).unsqueeze(1).expand(-1, 3, -1), src_key_padding_mask=padded)
        return self.second(hidden[:, 0])  # type: ignore[no-any-return]


def test_a_module_on_its_fast_path_is_walked_through_as_one_operation() -> None:
    # padded input: looked at op by op the encoder would give another loss, and the forward would not repeat
    said = why(FastPath, "first.weight")
    assert "ends at F.linear" in said
    assert "grad mode is off here" in said
    assert "TransformerEncoder at test_absent.py" in why(FastPath, "encoder.layers.1.linear1.weight")
    assert "does not use aside.weight" in why(FastPath, "aside.weight")


def why(model: Callable[[], nn.Module], name: str = "first.weight", *acts: object) -> str:
    torch.manual_seed(0)
    held = run(hold(model()), *(acts or (F, B)))
    before = digest(held)
    tensor = held.tensor(name)
    assert tensor is not None
    said = "\n".join(why_none(held, name, tensor))
    assert digest(held) == before
    return said


class Stops(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        return None


class Stopped(Two):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(Stops.apply(self.first(x)))  # type: ignore[no-any-return]


def test_a_function_whose_backward_gives_none_is_named() -> None:
    said = why(Stopped)
    assert "backward passed no gradient to it" in said
    assert "StopsBackward" in said
    assert "returned None" in said
    assert "AddmmBackward0" not in said
    assert "zero_grad" in why(Stopped, "second.weight", F, B, Z)


class Dead(Two):
    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.first(x) - 100.0)
        return self.second(hidden)  # type: ignore[no-any-return]


def test_a_gradient_of_zeros_is_followed_to_the_node_that_made_it_so() -> None:
    said = why(Dead).splitlines()
    assert said[0] == "first.weight.grad is not None, but all zeros: backward reached it with a gradient of 0"
    assert "ReluBackward0" in said[1]
    assert said[1].endswith("passed on only zeros")
    assert len(said) == 2
    assert why(Dead, "second.bias") == "second.bias.grad is not None"
    assert "filled it with zeros" in why(Two, "first.weight", F, B, ZEROS)


def test_the_place_where_the_path_ends_is_named() -> None:
    said = why(Detached)
    assert "torch.Tensor.detach at test_absent.py:" in said
    assert "`hidden = hidden.detach()`" in said
    assert "detached from the graph" in said


def test_data_no_grad_whole_numbers_and_item_are_told_apart() -> None:
    assert "`.data` returns a tensor that is detached" in why(Data)
    ungraded = why(Ungraded)
    assert "grad mode is off here" in ungraded
    assert "`hidden = self.first(x).relu()`" in ungraded
    assert "whole numbers (int64)" in why(Chosen)
    assert "`item` takes the number out of torch" in why(Number)


def test_what_is_not_used_is_told_from_what_is_used_and_left() -> None:
    assert "does not use first.weight" in why(Unused)
    aside = why(Aside)
    assert "the loss does not depend on the result" in aside
    assert "`self.aside = self.first(x).relu()`" in aside


class Sides(Two):
    """A path that ends at a detach, beside what is only logged or looked at."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        match self.how:
            case "item":
                self.seen = hidden.mean().item()
            case "float":
                self.seen = float(hidden.std()) * 2
            case "mask":
                self.seen = (hidden > 0).float().mean()
            case "ones":
                self.seen = torch.ones_like(hidden) / hidden.detach()
            case "branch":
                if hidden.mean() > 1e9:
                    x = x * 2
            case "multiplied by ones":
                return self.second(hidden.detach() * torch.ones_like(hidden))  # type: ignore[no-any-return]
        return self.second(hidden.detach())  # type: ignore[no-any-return]


@pytest.mark.parametrize("how", ["item", "float", "mask", "ones", "branch", "multiplied by ones"])
def test_what_the_loss_does_not_depend_on_is_not_named(how: str) -> None:
    place, cause = why(lambda: Sides(how)).splitlines()
    assert "ends at torch.Tensor.detach at test_absent.py:" in place
    assert "`return self.second(hidden.detach()" in place
    assert cause == "`detach` returns a tensor that is detached from the graph: no gradient flows back through it"


class Taken(Two):
    """The loss depends on a number that Python computes with, not on the one that is logged."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        self.seen = hidden.max().item()
        scale = 2.0 + float(hidden.mean())
        return self.second(x[:, :3] * scale)  # type: ignore[no-any-return]


def test_a_number_that_python_computes_with_is_told_from_one_that_is_logged() -> None:
    said = why(Taken)
    assert "ends at torch.Tensor.__float__" in said
    assert "`scale = 2.0 + float(hidden.mean())`" in said
    assert "item" not in said


class Several(Two):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        gate = hidden > 0
        cold = hidden.detach()
        with torch.no_grad():
            warm = hidden.tanh()
        return self.second(torch.where(gate, cold, warm))  # type: ignore[no-any-return]


def test_every_place_at_which_a_path_ends_is_named_a_choice_last() -> None:
    detach, detached, grad_mode, off, choice, whole = why(Several).splitlines()
    assert "`cold = hidden.detach()`" in detach
    assert detached == "`detach` returns a tensor that is detached from the graph: no gradient flows back through it"
    assert "`warm = hidden.tanh()`" in grad_mode
    assert off.startswith("grad mode is off here: torch.no_grad() at test_absent.py:")
    assert off.endswith("`with torch.no_grad():`")
    assert "`gate = hidden > 0`" in choice
    assert whole == "it returns true or false (bool), and only floating point numbers have a gradient"


class Twice(Two):
    @torch.no_grad()
    def look(self, x: Tensor) -> Tensor:
        twice = self.first(x)
        return twice + self.first(-x)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.look(x))  # type: ignore[no-any-return]


def test_a_cause_that_several_places_have_is_named_once_with_where_grad_mode_was_switched_off() -> None:
    first, second, cause = why(Twice).splitlines()
    assert "`twice = self.first(x)`" in first
    assert second.startswith("and at F.linear")
    assert cause.startswith("grad mode is off here: torch.no_grad() at test_absent.py:")
    assert cause.endswith("`return self.second(self.look(x))  # type: ignore[no-any-return]`")


class Escapes(Two):
    """What a reentrant checkpoint computes is used by another way than what it returns, as a router's logits are."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.router = nn.Linear(4, 4), nn.Linear(4, 3)

    def block(self, x: Tensor) -> Tensor:
        self.logits = self.router(x)
        return self.first(x)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        hidden = checkpoint(self.block, self.embedding(x), use_reentrant=True)
        return self.second(hidden * self.logits.softmax(1))  # type: ignore[no-any-return]


def test_what_escapes_from_a_reentrant_checkpoint_has_no_graph() -> None:
    place, cause = why(Escapes, "router.weight").splitlines()
    assert "`return self.second(hidden * self.logits.softmax(1))" in place
    assert cause.startswith("it is given a tensor from inside a reentrant checkpoint")
    assert "no backward has run on this loss yet" in why(Escapes, "first.weight", F)


class Written(Two):
    """The numbers go into a view of a tensor that was there before."""

    def forward(self, x: Tensor) -> Tensor:
        hidden, rows = self.first(x).detach(), torch.zeros(len(x), 3)
        first = rows[:1]
        first.copy_(hidden[:1])
        return self.second(rows)  # type: ignore[no-any-return]


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        halved = x / 2
        return halved * 4

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] * 2


class ThroughFunction(Two):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(Double.apply(self.first(x)).detach())  # type: ignore[no-any-return]


class ThroughScript(Two):
    def __init__(self) -> None:
        super().__init__()
        self.script = torch.jit.script(nn.Linear(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.script(self.first(x)).detach())  # type: ignore[no-any-return]


@torch.jit.script
def scripted(x: Tensor) -> Tensor:
    return x.tanh() * 2


class AfterScript(Two):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        return self.second(scripted(hidden) * 0.5)  # type: ignore[no-any-return]


def test_what_goes_through_a_scripted_function_is_no_unused_one() -> None:
    held = run(hold(AfterScript()), F)
    first = held.tensor("first.weight")
    assert first is not None
    walk = LossDependencies(held, [first])
    assert [op.name for op in walk.ops] == ["F.linear"]
    assert not walk.cuts


def test_a_path_is_followed_through_views_custom_functions_and_scripted_modules() -> None:
    for model, text in (
        (Written, "self.first(x).detach()"),
        (ThroughFunction, ".detach()"),
        (ThroughScript, ".detach()"),
    ):
        place, cause = why(model).splitlines()
        assert "ends at torch.Tensor.detach at test_absent.py:" in place, model
        assert text in place
        assert "detached from the graph" in cause


class Flat(Two):
    """All weights stand in one memory, as those of an LSTM on a GPU do."""

    def __init__(self) -> None:
        super().__init__()
        flat = torch.randn(18)
        self.first.weight = nn.Parameter(flat[:12].view(3, 4))
        self.second.weight = nn.Parameter(flat[12:].view(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.first.weight.t()).detach() @ self.second.weight.t()


def test_parameters_that_share_their_memory_are_told_apart() -> None:
    place, cause = why(Flat).splitlines()
    assert "ends at torch.Tensor.detach" in place
    assert "`detach` returns" in cause


class AsParameter(Two):
    def forward(self, x: Tensor) -> Tensor:
        hidden = nn.Parameter(self.first(x))
        return self.second(hidden)  # type: ignore[no-any-return]


def test_a_new_parameter_has_the_numbers_without_their_history() -> None:
    said = why(AsParameter)
    assert "ends at F.linear" in said
    assert "`return self.second(hidden)" in said
    assert "nn.Parameter(h)" in said


class Checkpointed(Two):
    def __init__(self, frozen: bool, reentrant: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Linear(4, 4).requires_grad_(not frozen)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        hidden = checkpoint(self.first, self.embedding(x), use_reentrant=self.reentrant)
        return self.second(hidden)  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore:None of the inputs")
def test_a_reentrant_checkpoint_whose_inputs_need_no_grad_is_the_cause() -> None:
    place, cause = why(lambda: Checkpointed(frozen=True)).splitlines()
    assert "ends at checkpoint(use_reentrant=True) at test_absent.py:" in place
    assert "`hidden = checkpoint(self.first, self.embedding(x)" in place
    assert "use_reentrant=False" in cause
    assert "is not None" in why(lambda: Checkpointed(frozen=True, reentrant=False))


def test_a_reentrant_checkpoint_that_works_is_said_to_be_run_again_by_backward() -> None:
    said = why(lambda: Checkpointed(frozen=False), "first.weight", F)
    assert "no backward has run on this loss yet" in said
    assert "`backward` runs its forward again" in said
    assert "is not None" in why(lambda: Checkpointed(frozen=False))


def test_the_plain_cases_need_no_walk() -> None:
    assert "no loss yet" in _of(hold(Two()))
    assert "no backward has run on this loss yet" in why(Two, "first.weight", F)
    assert "zero_grad has set it to None" in why(Two, "first.weight", F, B, Z)
    assert "is not None" in why(Two)


def test_a_frozen_one_is_passed_by() -> None:
    model = Two()
    model.first.requires_grad_(False)
    assert "first.weight is frozen: its requires_grad is False" in _of(run(hold(model), F, B))


def test_after_a_step_the_forward_is_still_walked() -> None:
    assert "detached from the graph" in why(Detached, "first.weight", F, B, S)
    assert "detached from the graph" in why(Detached, "first.weight", F, B, S, S)


class Skips(Detached):
    """Which way it goes is drawn anew in each forward."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + (self.second(self.first(x).tanh()) if torch.rand(()) < self.share else 0)


def test_where_the_state_before_the_forward_is_not_kept_the_walk_has_to_take_the_same_way() -> None:
    torch.manual_seed(0)
    model = Skips()
    model.share = 0.0  # type: ignore[assignment]
    held = hold(model)
    runner_of(held).observed = False
    run(held, F, B)
    assert "detached from the graph" in _of(held)
    model.share = 1.0  # type: ignore[assignment]
    assert "where its path ends is unknown: " in _of(held)


def _of(held: Held) -> str:
    tensor = held.tensor("first.weight")
    assert tensor is not None
    return "\n".join(why_none(held, "first.weight", tensor))
