"""Graphs that break simple debuggers: each is stepped node by node, and gives the bits of a run that nobody watches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from holding import B, F, S, failed, hold, run
from running import runner_of
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from gradstep.engine.held import Held
from gradstep.engine.state.digest import digest
from gradstep.engine.stepping.breakpoints import Breakpoints
from gradstep.engine.stepping.rerun import backward_again
from gradstep.engine.stepping.stepper import Stepping
from gradstep.values.commands import Backward, Forward


class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * 2

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return grads[0] * 2


class Body(nn.Module):
    """Two layers, and what each test does between them."""

    def __init__(self, between: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.tied = nn.Linear(4, 4), nn.Linear(4, 2), nn.Linear(4, 4)
        self.tied.weight = self.first.weight
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.between(self, self.first(x)))  # type: ignore[no-any-return]


def in_place(model: Any, x: Tensor) -> Tensor:
    y = x * 2
    y[0] = y[1] * 3
    y[:, 1:].mul_(0.5)
    return y.relu_()


def dynamic(model: Any, x: Tensor) -> Tensor:
    for _ in range(int(x.detach().abs().sum()) % 3 + 2):
        x = torch.tanh(model.tied(x))
    return x


def frozen(model: Any, x: Tensor) -> Tensor:
    model.tied.bias.requires_grad_(False)
    return functional.relu(model.tied(x))


def penalty(model: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    """A gradient penalty: double backward, `autograd.grad`, and a backward inside a forward."""
    x = batch[0].clone().requires_grad_(True)
    loss = functional.mse_loss(model(x), batch[1])
    (grad,) = torch.autograd.grad(loss, x, create_graph=True)
    with torch.enable_grad():
        aside = (torch.ones(2, requires_grad=True) * 3).sum()
        aside.backward()
    return loss + grad.pow(2).sum()


def several(model: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    output = model(batch[0])
    return (
        functional.mse_loss(output, batch[1]) + 0.1 * functional.l1_loss(output, batch[1]) + output.logsumexp(1).sum()
    )


def inner(model: Any, batch: tuple[Tensor, Tensor], keep: bool = True) -> Tensor:
    """A backward inside the forward, which adds to `.grad`."""
    output = model(batch[0])
    output.pow(2).mean().backward(retain_graph=keep)
    return functional.mse_loss(output, batch[1])


def held_with(between: Callable[[Any, Tensor], Tensor], **more: Any) -> Held:
    torch.manual_seed(0)
    return hold(Body(between), [(torch.randn(5, 4), torch.randn(5, 2))], **more)


def plain(model: Any, x: Tensor) -> Tensor:
    return functional.relu(x)


def sparse() -> Held:
    torch.manual_seed(0)
    return hold(nn.EmbeddingBag(10, 2, sparse=True), [(torch.tensor([[1, 2], [2, 4]]), torch.ones(2, 2))])


def scripted() -> Held:
    torch.manual_seed(0)
    inner = torch.jit.script(nn.BatchNorm1d(3))
    return hold(nn.Sequential(nn.Linear(4, 3), inner, nn.Linear(3, 2)))


HARD: dict[str, Callable[[], Held]] = {
    "shared": lambda: held_with(lambda m, x: m.tied(x).tanh()),
    "custom function": lambda: held_with(lambda m, x: Twice.apply(x)),
    "in place and views": lambda: held_with(in_place),
    "dynamic": lambda: held_with(dynamic),
    "frozen": lambda: held_with(frozen),
    "checkpoint": lambda: held_with(lambda m, x: checkpoint(m.tied, x, use_reentrant=False)),
    "reentrant checkpoint": lambda: held_with(lambda m, x: checkpoint(m.tied, x, use_reentrant=True)),
    "double backward": lambda: held_with(plain, compute_loss=penalty),
    "backward inside": lambda: held_with(plain, compute_loss=inner),
    "several losses": lambda: held_with(plain, compute_loss=several),
    "dropout in a checkpoint": lambda: held_with(
        lambda m, x: checkpoint(lambda y: functional.dropout(m.tied(y), 0.5), x, use_reentrant=False)
    ),
    "sparse": sparse,
    "scripted": scripted,
}


def walk(held: Held, act: Forward | Backward) -> list[int]:
    phase, seen = Stepping(runner_of(held), act, Breakpoints(), lambda _: True, str), []
    while phase.go("into"):
        here = phase.stop_place
        assert here is not None
        if here.edge == "before":
            seen.append(here.number)
    return seen


@pytest.mark.parametrize("name", HARD)
def test_stepped_and_unstepped_give_the_same_bits(name: str) -> None:
    still, stepped = HARD[name](), HARD[name]()
    start = still.keeper.capture()
    run(still, F, B, F, B, S)
    expected = digest(still)
    stepped.keeper.restore(start)
    for _ in range(2):
        walk(stepped, F)
        graph = stepped.graph()
        assert graph is not None
        nodes = walk(stepped, B)
        if name == "reentrant checkpoint":  # its inner backward adds to a leaf that the outer one adds to later, too
            leaf = next(number for number in nodes if nodes.count(number) == 2)
            nodes.remove(leaf)
        assert nodes == list(range(len(graph.nodes)))
    run(stepped, S)
    assert digest(stepped) == expected


@pytest.mark.parametrize("name", HARD)
def test_each_can_be_left_half_way(name: str) -> None:
    held = run(HARD[name](), F)
    before = digest(held)
    phase = Stepping(runner_of(held), B, Breakpoints(), lambda _: True, str)
    for _ in range(5):
        assert phase.go("into")
    phase.abandon()
    assert digest(held) == before
    run(held, B)


def test_looking_back_adds_nothing_that_a_backward_inside_the_forward_adds() -> None:
    held = run(HARD["backward inside"](), F, B)
    before = digest(held)
    assert len(backward_again(held, lambda _: None).nodes) == len(held.graph().nodes)  # type: ignore[union-attr]
    assert digest(held) == before


def test_a_backward_that_is_refused_adds_nothing_either() -> None:
    held = run(held_with(lambda m, x: m.tied(x).tanh(), compute_loss=lambda m, b: inner(m, b, keep=False)), F)
    before = digest(held)
    assert "second time" in failed(held, B).what
    assert digest(held) == before


def test_names_are_looked_up_without_running_a_parametrization() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), nn.Linear(4, 2))
    held = run(hold(model), F, B)
    before = digest(held)
    assert held.tensor("0.weight.grad") is None
    assert held.tensor("0.parametrizations.weight.original") is not None
    assert digest(held) == before


def test_a_kept_graph_is_stepped_again_and_again() -> None:
    held = run(held_with(plain), F)
    keep = Backward(retain_graph=True)
    total = len(walk(held, keep))
    assert len(walk(held, keep)) == total
    still = run(held_with(plain), F, keep, keep)
    assert digest(still) == digest(held)


def test_a_graph_of_100_000_nodes_is_stepped_at_both_ends_and_left() -> None:
    torch.manual_seed(0)
    cell = nn.RNNCell(2, 3)

    def unrolled(model: Any, batch: Tensor) -> Tensor:
        state = torch.zeros(1, 3)
        for _ in range(17_000):
            state = model(batch, state)
        return state.sum()

    held = run(hold(cell, [torch.randn(1, 2)], compute_loss=unrolled), F)
    graph = held.graph()
    assert graph is not None
    assert len(graph.nodes) > 100_000
    phase = Stepping(runner_of(held), B, Breakpoints(), lambda _: True, str)
    assert phase.go("over")
    assert phase.go("over")
    assert phase.go("place", place=2 * len(graph.nodes))
    assert phase.position is not None
    assert phase.position.number == len(graph.nodes) - 1
    assert not phase.go("over")
    torch.manual_seed(0)
    again = nn.RNNCell(2, 3)
    still = run(hold(again, [torch.randn(1, 2)], compute_loss=unrolled), F, B)
    assert [p.grad.tolist() for p in still.model.parameters() if p.grad is not None] == [
        p.grad.tolist() for p in held.model.parameters() if p.grad is not None
    ]
