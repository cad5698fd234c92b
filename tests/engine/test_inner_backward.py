"""A backward that a forward runs by itself is stepped node by node, and everything comes out as if nobody looked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.utils.checkpoint
from holding import B, F, S, hold, run
from running import runner_of
from torch import Tensor, nn

from gradstep.engine.autograd.jacobian import Refusal, vjp
from gradstep.engine.bits import same_bits
from gradstep.engine.held import Held
from gradstep.engine.state.digest import digest
from gradstep.engine.stepping.breakpoints import Breakpoints
from gradstep.engine.stepping.stepper import Stepping
from gradstep.engine.stepping.stop_places import StopPlace
from gradstep.values.commands import Break

Loss = Callable[[nn.Module, Any], Tensor]


def penalty(model: nn.Module, batch: Any) -> Tensor:
    """WGAN-GP: the gradient of the output by the input is to have norm 1."""
    x = batch[0].clone().requires_grad_()
    out = model(x)
    (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    return out.mean() + (slope.norm(dim=1) - 1).pow(2).mean()


def second(model: nn.Module, batch: Any) -> Tensor:
    """A second derivative, as a physics-informed loss has."""
    x = batch[0].clone().requires_grad_()
    u = model(x)
    u_x = torch.autograd.grad(u, x, torch.ones_like(u), create_graph=True)[0]
    u_xx = torch.autograd.grad(u_x.sum(), x, create_graph=True)[0]
    return (u_xx.sum(1) + u[:, 0]).pow(2).mean()


def several(model: nn.Module, batch: Any) -> Tensor:
    """Two outputs at once, by an input that is no leaf, with one that is not used."""
    x = batch[0].clone().requires_grad_()
    hidden, unused = x * 2, torch.ones(1, requires_grad=True)
    out = model(hidden)
    found = torch.autograd.grad(
        (out[:, 0].sum(), out.square().sum()), (hidden, unused), allow_unused=True, create_graph=True
    )
    return out.mean() + found[0].square().mean()


def whole(model: nn.Module, batch: Any) -> Tensor:
    """A `backward` of an auxiliary loss in the middle of the forward."""
    x = batch[0].clone().requires_grad_()
    model(x).square().mean().backward(inputs=[x])
    return model(x.detach() + 0.1 * x.grad).mean()  # type: ignore[operator]


def transformed(model: nn.Module, batch: Any) -> Tensor:
    """One op: what a transform runs over is not stopped at."""
    slope = torch.func.vmap(torch.func.grad(lambda row: model(row[None]).sum()), randomness="different")(batch[0])
    return slope.square().mean() + model(batch[0]).mean()  # type: ignore[no-any-return]


def batched(model: nn.Module, batch: Any) -> Tensor:
    """Several v at once, for which torch runs its own vmap over the engine; and a Jacobian by torch's own function."""
    x = batch[0].clone().requires_grad_()
    out = model(x)
    (slopes,) = torch.autograd.grad(out, x, torch.eye(8).reshape(8, 4, 2), is_grads_batched=True, create_graph=True)
    whole = torch.autograd.functional.jacobian(lambda x: (x**2).sum(0), x, create_graph=True)
    return slopes.square().mean() + out.mean() + whole.mean()


def recomputed(model: nn.Module, batch: Any) -> Tensor:
    """Through a checkpoint, which runs its part of the forward again inside the inner backward."""
    x = batch[0].clone().requires_grad_()
    out = torch.utils.checkpoint.checkpoint(model, x, use_reentrant=False)
    (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
    return out.mean() + slope.square().mean()


def hooked(model: nn.Module, batch: Any) -> Tensor:
    """With a hook of the user's own that calls the engine once more."""
    x = batch[0].clone().requires_grad_()
    hidden = x * 2

    def more(gradient: Tensor) -> Tensor:
        with torch.enable_grad():
            return gradient + torch.autograd.grad((x**2).sum(), x)[0].detach() * 0.1

    hidden.register_hook(more)
    (slope,) = torch.autograd.grad(model(hidden).sum(), x, create_graph=True)
    return slope.square().mean() + model(x).mean()  # type: ignore[no-any-return]


LOSSES: dict[str, Loss] = {
    each.__name__: each for each in (penalty, second, several, whole, transformed, batched, recomputed, hooked)
}


def held_with(loss: Loss) -> Held:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 2))
    return hold(model, loss=None, compute_loss=loss, batches=[(torch.randn(4, 3),)])


def stepping(held: Held, act: Any = F, points: Breakpoints | None = None) -> Stepping:
    return Stepping(runner_of(held), act, points or Breakpoints(), lambda _: True, str)


def places(held: Held, see: Callable[[Stepping, StopPlace], Any], kind: str = "into") -> list[Any]:
    """Step through a forward; return what is seen at each place."""
    phase, seen = stepping(held), []
    while phase.go(kind):  # type: ignore[arg-type]
        here = phase.stop_place
        assert here is not None
        seen.append(phase.ask(lambda here=here: see(phase, here)))  # type: ignore[misc]
    return seen


@pytest.mark.parametrize("name", LOSSES)
def test_a_stepped_forward_gives_the_same_bits(name: str) -> None:
    plain, stepped = held_with(LOSSES[name]), held_with(LOSSES[name])
    engine = torch.autograd._engine_run_backward  # type: ignore[attr-defined]
    start = plain.keeper.capture()
    for act in (F, B, S, F):
        run(plain, act)
    stepped.keeper.restore(start)
    places(
        stepped,
        lambda phase, here: vjp(here.node, here.inputs) if here.node is not None else None,
    )
    for act in (B, S):
        run(stepped, act)
    places(stepped, lambda phase, here: setattr(phase, "looked", True))
    assert digest(stepped) == digest(plain)
    assert torch.autograd._engine_run_backward is engine  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["penalty", "second", "several", "whole", "hooked"])
def test_what_a_node_makes_of_v_is_what_the_engine_passes_on(name: str) -> None:
    made: list[Any] = []

    def see(phase: Stepping, here: StopPlace) -> bool | None:
        if here.node is None:
            return None
        if here.edge == "before":
            made.append(vjp(here.node, here.inputs))
            return None
        foreseen = made.pop()
        if isinstance(foreseen, Refusal):
            assert foreseen.kind == "leaf"
            return None
        assert here.outputs is not None
        pairs = [(a, b) for a, b in zip(foreseen, here.outputs, strict=True) if a is not None and b is not None]
        assert pairs
        return all(same_bits(a, b) for a, b in pairs)

    seen = [each for each in places(held_with(LOSSES[name]), see) if each is not None]
    assert len(seen) > 3
    assert all(seen)


def names(held: Held, kind: str) -> list[str]:
    return places(held, lambda _, here: f"{here.edge} {here.name}", kind)


def test_into_goes_to_the_nodes_and_over_and_out_do_not() -> None:
    seen = names(held_with(penalty), "into")
    enter, leave = seen.index("enter torch.autograd.grad"), seen.index("exit torch.autograd.grad")
    assert seen[enter + 1 : enter + 4] == ["before SumBackward0", "after SumBackward0", "before AddmmBackward0"]
    assert seen[leave - 1] == "after AddmmBackward0"
    phase = stepping(held_with(penalty))
    while phase.go("into"):
        if phase.stop_place is not None and phase.stop_place.name == "torch.autograd.grad":
            break
    phase.go("over")
    assert phase.position is not None
    assert phase.position.words == "forward: exit torch.autograd.grad"
    phase.abandon()


def at_the_node(held: Held, number: int, kind: str = "into") -> Stepping:
    phase = stepping(held)
    while phase.go("into"):
        position = phase.position
        if position is not None and position.number == number:
            return phase
    raise AssertionError("there is no such node")


def test_over_stays_among_the_nodes_and_out_leaves_them() -> None:
    phase = at_the_node(held_with(penalty), 1)
    assert phase.go("over")
    position = phase.position
    assert position is not None
    assert position.words == "forward > torch.autograd.grad: before #5 MulBackward0 of 2 Dropout"
    assert (position.number, position.total, position.call) == (5, 12, "torch.autograd.grad")
    assert phase.go("out")
    position = phase.position
    assert position is not None
    assert (position.name, position.edge, position.call) == ("torch.autograd.grad", "exit", "")
    phase.abandon()


def test_the_nodes_that_a_grad_leaves_out_are_known() -> None:
    """It is by the input: no parameter's AccumulateGrad runs."""
    phase = at_the_node(held_with(penalty), 1)
    graph = phase.ask(phase._held.graph)
    assert graph is not None
    ran = {graph.nodes[number].name() for number in phase.needed or ()}
    out = {graph.nodes[number].name() for number in set(range(len(graph.nodes))) - (phase.needed or set())}
    assert "AddmmBackward0" in ran
    assert out == {"torch::autograd::AccumulateGrad", "TBackward0"}
    phase.abandon()
    assert phase._held.graph() is None, "the graph of an inner backward is gone with it"


def test_nan_is_found_at_the_node_with_the_line_that_made_it() -> None:
    """The derivative of a norm at 0, as of a self loop in a molecule, or of a critic that is constant."""

    def flat(model: nn.Module, batch: Any) -> Tensor:
        x = batch[0].clone().requires_grad_()
        out = model(x * 0).sum()
        length = (x * 0).square().sum(1).sqrt()  # here
        (slope,) = torch.autograd.grad(out + length.sum(), x, create_graph=True)
        return slope.square().mean()

    held, points, stops = held_with(flat), Breakpoints(), []
    points.add(Break("nan"), held)
    phase = stepping(held, F, points)
    while phase.go("continue"):
        assert phase.position is not None
        stops.append((phase.position.name, phase.position.source.text, phase.reason.partition(": ")[2]))
    assert stops[0][:2] == ("SqrtBackward0", "length = (x * 0).square().sum(1).sqrt()  # here")
    assert stops[0][2].endswith("SqrtBackward0 makes inf of finite numbers")
    assert not [each for each in stops if "torch.autograd.grad" in each[0]], "its nodes were told already"


def test_a_node_breakpoint_stops_in_a_forward_once_it_is_known_to_run_a_backward() -> None:
    held = run(held_with(penalty), F)
    assert held.point.watched.runs_backward
    points = Breakpoints()
    points.add(Break("node", "Tanh*"), held)
    points.add(Break("node", "#2"), held)
    assert points.inside("forward", inner=True)
    assert not points.inside("forward")
    phase = stepping(held, F, points)
    assert phase.go("continue")
    assert phase.position is not None
    assert (phase.position.name, phase.position.call) == ("TanhBackward0", "torch.autograd.grad")
    assert not phase.go("continue"), "a number is that of the graph of the loss"


def test_a_forward_that_is_only_watched_for_a_pause_notes_no_lines() -> None:
    held = held_with(penalty)
    phase = Stepping(runner_of(held), F, Breakpoints(), lambda _: True, str, ops=False)
    assert not phase.go("continue")
    assert held.point.watched.lines is None
    assert held.point.watched.runs_backward


def test_a_forward_that_is_left_in_the_middle_of_one_is_undone() -> None:
    held = run(held_with(whole), F)
    before, engine = digest(held), torch.autograd._engine_run_backward  # type: ignore[attr-defined]
    phase = at_the_node(held, 1)
    phase.abandon()
    assert digest(held) == before
    assert torch.autograd._engine_run_backward is engine  # type: ignore[attr-defined]
    run(held, B)
