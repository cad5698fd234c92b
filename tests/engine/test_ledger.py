"""The ledger says how every `.grad` became what it is."""

from __future__ import annotations

import torch
from holding import ZEROS, B, F, S, Z, hold, run
from torch import nn

from gradstep.engine.held import Held
from gradstep.values.commands import Backward


def states(held: Held) -> dict[str, str]:
    return {name: held.ledger.state(name, p) for name, p in held.parameters}


def net() -> Held:
    return hold(nn.Linear(4, 2))


def weight(held: Held) -> str:
    return states(held)["weight"]


def test_the_states_on_the_way_round_the_loop() -> None:
    held = net()
    seen = []
    for act in (F, B, S, Z, F, B, S, ZEROS, F, B, S):
        run(held, act)
        seen.append(weight(held))
    assert seen == ["none", "fresh", "stale", "none", "none", "fresh", "stale", "zero", "zero", "fresh", "stale"]


def test_a_frozen_parameter_says_so_and_what_it_still_holds() -> None:
    held = run(net(), F, B, S)
    held.model.weight.requires_grad_(False)
    assert states(held) == {"weight": "frozen, stale", "bias": "stale"}
    run(held, Z)
    assert states(held) == {"weight": "frozen", "bias": "none"}


def test_the_notebooks_five_more() -> None:
    held = run(net(), F, B, S, *[F, B] * 5)
    assert weight(held) == "x6, 1 used"
    run(held, S)
    assert weight(held) == "x6, 6 used"


def test_three_backwards_and_two_steps_on_one_gradient() -> None:
    held = run(net(), F, B, F, B, F, B)
    assert weight(held) == "x3"
    run(held, S, S)
    assert weight(held) == "x3, 3 used"
    assert held.point.again


def test_a_retained_graph_counts_each_backward() -> None:
    assert weight(run(net(), F, Backward(retain_graph=True), B)) == "x2"


def test_a_step_on_zeros_uses_nothing() -> None:
    held = run(net(), F, B, ZEROS, S)
    assert weight(held) == "zero"
    assert not held.point.again


def test_frozen_given_and_cleared_behind_its_back() -> None:
    model = nn.Linear(4, 2)
    model.bias.requires_grad_(False)
    model.weight.grad = torch.ones(2, 4)
    held = hold(model)
    assert states(held) == {"weight": "given", "bias": "frozen"}
    run(held, F, B)
    assert states(held)["weight"] == "fresh"
    model.weight.grad = None
    assert states(held)["weight"] == "none"
    run(held, F, B)
    assert states(held)["weight"] == "fresh"


def test_what_the_optimizer_does_not_hold_is_neither_used_nor_cleared() -> None:
    model = nn.Linear(4, 2)
    held = hold(model, optimizer=torch.optim.SGD([model.weight], lr=0.1))
    run(held, F, B, S)
    assert states(held) == {"weight": "stale", "bias": "fresh"}
    run(held, Z, F, B)
    assert states(held) == {"weight": "fresh", "bias": "x2"}


def test_a_parameter_that_only_the_optimizer_holds() -> None:
    scale = nn.Parameter(torch.ones(()))
    held = hold(
        nn.Linear(4, 2),
        optimizer=lambda p: torch.optim.SGD([*p, scale], lr=0.1),
        compute_loss=lambda model, batch: (model(batch[0]) * scale).sum(),
    )
    run(held, F, B, S)
    assert states(held)["group0.2"] == "stale"


def test_a_shared_parameter_has_one_account() -> None:
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 2))
    model[1].weight = model[0].weight
    held = run(hold(model), F, B)
    assert states(held) == {"0.weight": "fresh", "2.weight": "fresh", "2.bias": "fresh"}
    assert held.tensor("1.weight") is model[0].weight


def test_lbfgs_steps_without_a_forward_and_its_closure_counts_as_one_backward() -> None:
    torch.manual_seed(0)
    held = hold(nn.Linear(4, 2), optimizer=lambda p: torch.optim.LBFGS(p, lr=0.5, max_iter=3))
    run(held, S)
    assert weight(held) == "stale"
    run(held, F, B, S, F)
    first, last = held.losses[0][1], held.losses[-1][1]
    assert last < first
    assert weight(held) == "stale"


def test_inside_a_backward_what_has_arrived_counts_until_the_phase_is_undone() -> None:
    held = run(net(), F, B, F)
    accounts = held.ledger.copy()
    held.ledger.arrived("weight")
    assert states(held) == {"weight": "x2", "bias": "fresh"}
    inside = held.ledger.copy()
    held.ledger.restore(accounts)
    assert states(held) == {"weight": "fresh", "bias": "fresh"}
    held.ledger.restore(inside)
    assert states(held) == {"weight": "x2", "bias": "fresh"}
    held.ledger.restore(accounts)
    assert states(held) == {"weight": "fresh", "bias": "fresh"}
    held.ledger.arrived("weight")
    run(held, B)
    assert states(held) == {"weight": "x2", "bias": "x2"}
