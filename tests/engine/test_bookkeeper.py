"""The ledger is written from what is observed: a loop that gradstep does not drive has the same accounts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from holding import B, F, S, Z, hold, run
from torch import Tensor, nn

from gradstep.engine.observe.addends import Addends, AddendsRequest
from gradstep.engine.observe.bookkeeper import Bookkeeper
from gradstep.engine.observe.ledger import Ledger

X = torch.linspace(-1, 1, 12).reshape(3, 4)
SGD = torch.optim.SGD


class Kept:
    """The ledger of some modules, whoever runs them."""

    def __init__(self, *modules: nn.Module) -> None:
        named = [(f"{i}.{name}", p) for i, module in enumerate(modules) for name, p in module.named_parameters()]
        self.names: dict[Tensor, str] = {parameter: name for name, parameter in named}
        self.ledger, self.addends = Ledger(), Addends()
        self.keeper = Bookkeeper(self.ledger, self.names, self.addends, lambda call: (7, call.outputs[0].item()))

    def states(self) -> list[str]:
        return [self.ledger.state(name, parameter) for parameter, name in self.names.items()]

    def during(self, loop: Callable[[Callable[[], None]], object]) -> list[str]:
        """Run a loop, which calls what it is given where the state of the first parameter is to be noted."""
        seen: list[str] = []
        with self.keeper.watch():
            loop(lambda: seen.append(self.states()[0]))
        return seen


def backward(model: nn.Module) -> None:
    model(X).square().mean().backward()


def test_a_plain_loop_has_the_states_of_a_held_workload() -> None:
    model = nn.Linear(4, 2)
    kept, optimizer = Kept(model), SGD(model.parameters(), lr=0.1)

    def loop(note: Callable[[], None]) -> None:
        for to_none in (True, False, True):
            backward(model)
            note()
            optimizer.step()
            note()
            optimizer.zero_grad(set_to_none=to_none)
            note()

    held = hold(nn.Linear(4, 2))
    seen = []
    for act in (F, B, S, Z):
        run(held, act)
        seen.append(held.ledger.state("weight", held.parameter("weight")))
    assert kept.during(loop) == ["fresh", "stale", "none", "fresh", "stale", "zero", "fresh", "stale", "none"]
    assert seen[1:] == ["fresh", "stale", "none"]


def test_accumulation_counts_each_backward_and_what_a_step_used() -> None:
    model = nn.Linear(4, 2)
    kept, optimizer = Kept(model), SGD(model.parameters(), lr=0.1)

    def loop(note: Callable[[], None]) -> None:
        backward(model)
        optimizer.step()
        for _ in range(5):
            backward(model)
        note()
        optimizer.step()
        note()

    assert kept.during(loop) == ["x6, 1 used", "x6, 6 used"]
    assert not kept.keeper.again
    with kept.keeper.watch():
        optimizer.step()
    assert kept.keeper.again
    assert kept.keeper.used == ("0.weight", "0.bias")


def test_a_grad_set_to_none_by_the_loop_starts_a_new_account() -> None:
    model = nn.Linear(4, 2)
    kept = Kept(model)

    def loop(note: Callable[[], None]) -> None:
        backward(model)
        backward(model)
        note()
        model.weight.grad = None
        note()
        backward(model)
        note()

    assert kept.during(loop) == ["x2", "none", "fresh"]
    assert kept.states() == ["fresh", "x3"]


def test_zero_grad_of_a_module_clears_its_own_parameters() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 2)
    kept, both = Kept(first, second), nn.Sequential(first, second)

    def loop(note: Callable[[], None]) -> None:
        backward(both)
        backward(both)
        first.zero_grad(set_to_none=False)
        note()
        backward(both)

    assert kept.during(loop) == ["zero"]
    assert kept.states() == ["fresh", "fresh", "x3", "x3"]


def test_two_optimizers_use_and_clear_their_own() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 2)
    kept, both = Kept(first, second), nn.Sequential(first, second)
    one, other = SGD(first.parameters(), lr=0.1), torch.optim.Adam(second.parameters())
    with kept.keeper.watch():
        backward(both)
        one.step()
        assert kept.keeper.used == ("0.weight", "0.bias")
        assert kept.states() == ["stale", "stale", "fresh", "fresh"]
        backward(both)
        other.step()
        one.zero_grad()
    assert kept.states() == ["none", "none", "x2, 2 used", "x2, 2 used"]


def test_what_a_closure_clears_and_adds_is_counted_as_it_happens() -> None:
    model = nn.Linear(4, 2)
    kept, optimizer = Kept(model), torch.optim.LBFGS(model.parameters(), max_iter=3)

    def loop(note: Callable[[], None]) -> None:
        def closure() -> Tensor:
            optimizer.zero_grad()
            loss: Tensor = model(X).square().mean()
            loss.backward()
            note()
            return loss

        optimizer.step(closure)  # type: ignore[arg-type]

    assert set(kept.during(loop)) == {"fresh"}
    assert kept.states() == ["stale", "stale"]
    assert not kept.keeper.again


class Twice(torch.optim.Optimizer):
    """Steps by the step of another optimizer, as SAM does."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {})
        self.base = SGD(self.param_groups, lr=0.1)

    def step(self, closure: Any = None) -> None:
        self.base.step()


def test_an_optimizer_that_calls_another_ones_step_is_one_step() -> None:
    model = nn.Linear(4, 2)
    kept, optimizer = Kept(model), Twice(model.parameters())
    kept.addends.request = AddendsRequest("0.weight", (0, 0))
    with kept.keeper.watch():
        backward(model)
        optimizer.step()
    assert not kept.keeper.again
    assert kept.keeper.used == ("0.weight", "0.bias")
    assert [line.kind for line in kept.ledger.lines("0.weight")] == ["backward", "step"]
    with kept.keeper.watch():
        optimizer.step()
    assert kept.keeper.again


def test_the_lines_of_a_plain_loop_add_up_to_grad() -> None:
    model = nn.Linear(4, 2)
    kept, optimizer = Kept(model), SGD(model.parameters(), lr=0.1)
    kept.addends.request = AddendsRequest("0.weight", (0, 0))
    with kept.keeper.watch():
        optimizer.zero_grad()
        backward(model)
        optimizer.step()
        backward(model)
    lines = kept.ledger.lines("0.weight")
    assert [line.kind for line in lines] == ["cleared", "backward", "step", "backward"]
    assert lines[1].forward == 7
    total = sum(part.whole for line in lines for part in line.parts if part.whole is not None)
    assert model.weight.grad is not None
    assert torch.equal(total, model.weight.grad)  # type: ignore[arg-type]


def test_a_parameter_that_becomes_known_later_is_counted_from_then_on() -> None:
    model = nn.Linear(4, 2)
    kept = Kept()
    with kept.keeper.watch():
        backward(model)
        assert kept.keeper.written == ()
        kept.names[model.weight] = "weight"
        backward(model)
    assert kept.keeper.written == ("weight",)
    assert kept.states() == ["fresh"]


def test_a_grad_call_adds_nothing_and_a_backward_that_raises_what_it_reached() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 2)
    kept = Kept(first, second)

    def refuses(_: Tensor) -> None:
        raise ValueError("refused")

    with kept.keeper.watch():
        torch.autograd.grad(first(X).sum(), list(first.parameters()))
        assert kept.states() == ["none"] * 4
        between = first(X)
        between.register_hook(refuses)
        with pytest.raises(ValueError, match="refused"):
            second(between).sum().backward()
        assert kept.states() == ["none", "none", "fresh", "fresh"]
        first(X).sum().backward()
    assert kept.states()[:2] == ["fresh", "fresh"]
