"""A session is bit-equal to the same loop in plain torch."""

from __future__ import annotations

import math
import struct
from itertools import islice

import pytest
import torch
from plain import batches_of, bits, build
from torch import nn

from gradstep.examples import EXAMPLES
from gradstep.session.local import Session
from gradstep.values.commands import Load
from gradstep.values.outcomes import Outcome

ITERATIONS = 50


def loss_bits(outcome: Outcome) -> bytes:
    """Return the bits of the outcome's loss as float32, after checking that there is one."""
    assert outcome.problem is None
    assert outcome.stop.loss is not None
    return struct.pack("f", outcome.stop.loss)


def carry_out(*outcomes: Outcome) -> None:
    """Check that every command did what it says."""
    assert [outcome.problem for outcome in outcomes] == [None] * len(outcomes)


def in_plain_torch(name: str) -> tuple[list[bytes], dict[str, bytes | None], list[float]]:
    """Train 50 iterations as anyone would write them; return losses, the state after the last step, and every lr."""
    workload = build(name, 0)
    model, criterion, make = workload.model, workload.loss, workload.optimizer
    assert criterion is not None
    assert make is not None
    optimizer = make if isinstance(make, torch.optim.Optimizer) else make(model.parameters())
    losses, lrs = [], []
    for x, target in islice(batches_of(workload), ITERATIONS):
        optimizer.zero_grad()
        loss = criterion(model(x), target)
        loss.backward()
        optimizer.step()
        if workload.schedulers:
            workload.schedulers.step()
        losses.append(struct.pack("f", loss.item()))
        lrs.append(optimizer.param_groups[0]["lr"])
    return losses, bits(model), lrs


@pytest.mark.parametrize("name", EXAMPLES)
def test_fifty_iterations_equal_plain_torch(name: str) -> None:
    losses, state, lrs = in_plain_torch(name)
    workload = build(name, 0)
    session = Session(workload)
    for iteration in range(ITERATIONS):
        carry_out(session.zero_grad(), session.next_batch())
        assert loss_bits(session.forward()) == losses[iteration]
        carry_out(session.backward())
        stepped = session.step()
        carry_out(stepped)
        assert stepped.stop.lr == (lrs[iteration],)
        assert stepped.stop.iteration == iteration + 1
    held = bits(workload.model)
    session.close()
    assert {key for key in state if held[key] != state[key]} == set()
    assert any(value is not None for key, value in held.items() if key.endswith(".grad"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_loaded_example_has_the_losses_of_plain_torch(name: str) -> None:
    losses, _, _ = in_plain_torch(name)
    session = Session()
    carry_out(session.execute(Load(name, seed=0, device="cpu")))
    for expected in losses[:5]:
        carry_out(session.next_batch())
        assert loss_bits(session.forward()) == expected
        carry_out(session.backward(), session.step(), session.zero_grad())
    session.close()


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("to_none", [True, False])
def test_mlp_equals_the_notebook_through_all_four_phases(seed: int, to_none: bool) -> None:
    # the notebook, to the letter
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    x = torch.randn(16, 784)
    ideal_output = torch.randn(16, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    notebook: list[tuple[bytes, dict[str, bytes | None]]] = []
    loss = torch.tensor(math.nan)

    def note() -> None:
        notebook.append((struct.pack("f", loss.item()), bits(model)))

    for _ in range(6):
        prediction = model(x)
        loss = (ideal_output - prediction).pow(2).sum()
        note()
        loss.backward()
        note()
        if len(notebook) == 2:
            optimizer.step()
            note()
    optimizer.step()
    note()
    optimizer.zero_grad(set_to_none=to_none)
    note()
    optimizer.step()  # with None nothing moves, with zeros nothing moves either
    note()
    loss = (ideal_output - model(x)).pow(2).sum()
    loss.backward()
    note()

    # the same by commands
    workload = build("mlp", seed)
    session = Session(workload)
    held: list[tuple[bytes, dict[str, bytes | None]]] = []

    def keep(outcome: Outcome) -> None:
        held.append((loss_bits(outcome), bits(workload.model)))

    for turn in range(6):
        keep(session.forward())
        keep(session.backward())
        if turn == 0:
            keep(session.step())
    keep(session.step())
    keep(session.zero_grad(set_to_none=to_none))
    keep(session.step())
    session.forward()
    keep(session.backward())
    session.close()

    assert len(held) == len(notebook) == 17
    for number, (ours, theirs) in enumerate(zip(held, notebook, strict=True)):
        assert ours == theirs, f"act {number} differs"
    assert (held[-3][1]["0.weight.grad"] is None) == to_none
    assert held[12][1] != held[11][1], "five more gradients have added up"
