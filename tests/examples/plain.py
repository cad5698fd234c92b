"""The training loop in plain torch, to which the session of every example must be bit-equal."""

from __future__ import annotations

import importlib
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy
import torch
from torch import Tensor

from gradstep.workload import Workload


def build(name: str, seed: int) -> Workload:
    """Seed torch, python and numpy and call the example's factory."""
    torch.manual_seed(seed)
    random.seed(seed)
    numpy.random.seed(seed)
    factory: Callable[[], Workload] = importlib.import_module(f"gradstep.examples.{name}").workload
    return factory()


def to_bytes(tensor: Tensor) -> bytes:
    """Return the elements' bits: unlike ==, they tell -0.0 from 0.0 and take a NaN for itself."""
    return tensor.detach().contiguous().numpy().tobytes()


def bits(model: torch.nn.Module) -> dict[str, bytes | None]:
    """Return the bits of every parameter, gradient and buffer by name; None for a gradient that is None."""
    found: dict[str, bytes | None] = {name: to_bytes(tensor) for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        found[f"{name}.grad"] = None if parameter.grad is None else to_bytes(parameter.grad)
    return found


@dataclass
class Run:
    """A plain run: its model, the loss of every forward, and each parameter's first gradient's norm."""

    model: torch.nn.Module
    losses: list[float] = field(default_factory=list)
    lrs: list[float] = field(default_factory=list)
    first_norms: dict[str, float] = field(default_factory=dict)


def batches_of(workload: Workload) -> Iterator[Any]:
    """Return the workload's batches without end."""
    batches: Any = workload.batches
    if callable(batches):
        return iter(batches, None)
    return itertools.cycle(batches)


def train(workload: Workload, iterations: int) -> Run:
    """Train in plain torch: forward, backward, step, and zero_grad before the next forward."""
    model, loss_function, make = workload.model, workload.loss, workload.optimizer
    assert loss_function is not None
    assert make is not None
    optimizer = make if isinstance(make, torch.optim.Optimizer) else make(model.parameters())
    run = Run(model)
    for x, target in itertools.islice(batches_of(workload), iterations):
        optimizer.zero_grad()
        prediction = model(x)
        loss = loss_function(prediction, target)
        loss.backward()
        if not run.losses:
            run.first_norms = {name: float(p.grad.norm()) for name, p in model.named_parameters() if p.grad is not None}
        run.losses.append(loss.item())
        run.lrs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if workload.schedulers:
            workload.schedulers.step()
    return run
