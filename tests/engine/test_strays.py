"""Leaves that belong to neither model nor optimizer: their `.grad` is state, and nothing trains them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from holding import ZEROS, B, F, S, Z, hold, run
from test_files import restore, write
from torch import Tensor, nn
from torch.nn import functional
from travelling import Traveller

import gradstep
from gradstep.engine.stepping.rerun import backward_again

OUTSIDE = torch.ones(2, requires_grad=True)
HOLDER: dict[str, Any] = {"layers": []}


class Listed(nn.Module):
    """Its second layer is in a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.layers = nn.Linear(4, 4), [nn.Linear(4, 2)]

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers[0](self.first(x).relu())
        return out


class Simple(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.first(x)
        return out


def in_a_list() -> tuple[nn.Module, Any, Tensor]:
    model = Listed()
    return model, functional.mse_loss, model.layers[0].weight


def in_the_closure() -> tuple[nn.Module, Any, Tensor]:
    scale = torch.ones(2, requires_grad=True)

    def loss(out: Tensor, target: Tensor) -> Tensor:
        return ((out * scale - target) ** 2).mean()

    return Simple(), loss, scale


def in_globals() -> tuple[nn.Module, Any, Tensor]:
    HOLDER["layers"] = [nn.Linear(2, 2)]

    def loss(out: Tensor, target: Tensor) -> Tensor:
        return ((HOLDER["layers"][0](out) - target) ** 2).mean()

    return Simple(), loss, HOLDER["layers"][0].weight


MADE = {
    "layers[0].weight": in_a_list,
    "scale": in_the_closure,
    "HOLDER['layers'][0].weight": in_globals,
}


def build(make: Callable[[], tuple[nn.Module, Any, Tensor]]) -> tuple[Traveller, Tensor]:
    torch.manual_seed(0)
    model, loss, leaf = make()
    leaf.grad = None
    return Traveller.of(hold(model, loss=loss), 1 << 30), leaf


def bits(leaf: Tensor) -> list[Any] | None:
    return None if leaf.grad is None else leaf.grad.tolist()


@pytest.mark.parametrize("name", MADE)
def test_its_grad_goes_back_and_forth(name: str) -> None:
    traveller, leaf = build(MADE[name])
    grads = {1: bits(leaf)}
    for line in ("forward", "backward", "step", "zero_grad", "forward", "backward"):
        assert traveller.take("act", line)
        traveller.check()
        grads[traveller.timeline.number] = bits(leaf)
    assert grads[2] is None
    assert grads[3] != grads[7]
    assert [stray.name for stray in traveller.held.strays.values() if stray.leaf is leaf] == [name]
    for number in (3, 7, 1, 6, 2, 7, 4):
        traveller.go(number)
        traveller.check()
        assert bits(leaf) == grads[number]


@pytest.mark.parametrize("name", MADE)
def test_a_look_adds_nothing_to_it(name: str) -> None:
    traveller, leaf = build(MADE[name])
    assert traveller.take("act", "forward")
    backward_again(traveller.held, lambda _: None)
    assert leaf.grad is None
    assert traveller.take("act", "backward")
    before = bits(leaf)
    backward_again(traveller.held, lambda _: None)
    assert bits(leaf) == before


def test_a_grad_that_was_there_before_comes_back() -> None:
    traveller, leaf = build(in_the_closure)
    leaf.grad = torch.full((2,), 7.0)
    traveller.take("act", "forward")
    traveller.take("act", "backward")
    assert bits(leaf) != [7.0, 7.0]
    traveller.go(1)
    assert bits(leaf) == [7.0, 7.0]


def test_a_file_has_it(tmp_path: Path) -> None:
    traveller, leaf = build(in_a_list)
    for line in ("forward", "backward"):
        traveller.take("act", line)
    path, before = write(traveller, tmp_path / "state.safetensors"), bits(leaf)
    other, there = build(in_a_list)
    restore(other, path)
    assert bits(there) == before
    assert other.digest() != other.digests[1]


def test_a_leaf_that_a_forward_makes_for_itself_is_none() -> None:
    class Makes(Simple):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.first(x) * torch.ones(2, requires_grad=True)
            return out

    held = hold(Makes())
    for act in (F, B, S, Z, F, B, ZEROS, F, B):
        run(held, act)
    assert not held.strays


def test_leaves_of_several_elements_that_nobody_names_are_told_apart() -> None:
    held = hold(Simple(), loss=Nameless())
    for act in (F, B, S, Z, F, B):
        run(held, act)
    (stray,) = held.strays.values()
    assert stray.name == "a leaf of shape (2,)"


class Nameless:
    """A loss whose tensors can't be reached through attributes."""

    __slots__ = ("given",)

    def __init__(self) -> None:
        self.given = iter(())

    def __call__(self, out: Tensor, target: Tensor) -> Tensor:
        made = torch.ones(2, requires_grad=True)
        return ((out * next(_kept()) * made - target) ** 2).mean()


def _kept() -> Any:
    yield _HIDDEN[0].scale


class _Holder:
    scale = torch.ones(2, requires_grad=True)


_HIDDEN = (_Holder,)


def notes(model: nn.Module, loss: Any = functional.mse_loss, lines: str = "forward; backward", x: Any = None) -> str:
    session = gradstep.Session(
        gradstep.Workload(
            model=model,
            loss=loss,
            optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
            batches=[(torch.randn(3, 4) if x is None else x, torch.randn(3, 2))],
        )
    )
    return "\n".join(session.run(line).text for line in lines.split("; "))


def test_it_is_said_once_that_it_is_never_trained() -> None:
    text = notes(Listed(), lines="forward; backward; step; zero_grad; forward; backward")
    both = "layers[0].bias (2,) and layers[0].weight (2, 4) get gradients but are never trained"
    assert text.count(f"{both}: no optimizer has it. `layers` is a plain container: use nn.ModuleList") == 1
    model, loss, _ = in_the_closure()
    assert "scale (2,) gets a gradient but is never trained" in notes(model, loss)


def test_of_an_input_that_requires_grad_nothing_is_said() -> None:
    assert "never trained" not in notes(Simple(), x=torch.randn(3, 4, requires_grad=True))


def test_state_in_plain_attributes_is_said_once() -> None:
    class Counts(Simple):
        calls, h = 0, torch.zeros(2)

        def __init__(self) -> None:
            super().__init__()
            self.moving = torch.zeros(2)

        def forward(self, x: Tensor) -> Tensor:
            self.calls, self.h = self.calls + 1, self.h + 1
            self.moving += 1
            return super().forward(x)

    text = notes(Counts(), lines="forward; backward; step; zero_grad; forward")
    assert text.count("this model keeps state in `self.calls`, `self.h`, `self.moving`, outside of") == 1
    assert "keeps state" not in notes(Simple())


class Clock:
    """State that can't be captured."""

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now = 0

    def tick(self) -> int:
        self.now += 1
        return self.now


class Timed(Simple):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.clock.tick()


def session_of(model: nn.Module) -> Any:
    return gradstep.Session(
        gradstep.Workload(
            model=model,
            loss=functional.mse_loss,
            optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
            batches=[(torch.randn(3, 4), torch.randn(3, 2))],
        )
    )


def test_a_look_that_came_out_otherwise_is_told_by_name_and_not_run_again() -> None:
    model = Timed()
    session = session_of(model)
    session.run("forward; backward")
    assert "`self.clock` (a Clock) keeps state that can't be captured" in str(session.contributions("first.weight"))
    ticks = model.clock.now
    assert "the forward is not run again" in str(session.contributions("first.bias"))
    assert model.clock.now == ticks
    text = "\n".join(session.run(line).text for line in ("step", "zero_grad", "forward"))
    assert text.count("From now on no view runs a phase again") == 1


def test_a_forward_from_the_same_stop_that_comes_out_otherwise_is_told() -> None:
    session = session_of(Timed())
    session.run("forward; goto 1")
    text = session.run("forward").text
    assert "gave another loss than that of stop 2, from the same stop 1: `self.clock` (a Clock) keeps state" in text
    session = session_of(Simple())
    session.run("forward; goto 1")
    assert "another loss" not in session.run("forward").text


def test_what_a_file_lacks_is_told(tmp_path: Path) -> None:
    class Makes(Simple):
        def forward(self, x: Tensor) -> Tensor:
            self.clock = Clock()
            self.carried = self.first.weight.sum()
            return super().forward(x)

    session = session_of(Makes())
    session.run("forward; backward")
    text = session.run(f"checkpoint {tmp_path / 'state.safetensors'}").text
    assert "it does not contain clock (a Clock), the graph of carried: detach it before the next forward" in text
