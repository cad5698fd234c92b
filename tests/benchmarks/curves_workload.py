"""Workloads of a given size for the benchmark `curves`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from graph_workload import Recurrent
from torch import nn

from gradstep.workload import Workload


def _workload(model: nn.Module, width: int, batch: int) -> Workload:
    return Workload(
        model=model,
        loss=nn.functional.mse_loss,
        optimizer=lambda p: torch.optim.SGD(p, lr=0.001),
        batches=[(torch.randn(batch, width), torch.randn(batch, width))],
    )


def _layers(width: int) -> nn.Module:
    return nn.Sequential(*[layer for _ in range(4) for layer in (nn.Linear(width, width, bias=False), nn.Tanh())])


def parameters(count: int) -> Workload:
    """Four square layers with about so many parameters."""
    width = round((count / 4) ** 0.5)
    return _workload(_layers(width), width, 4)


def nodes(count: int) -> Workload:
    """A recurrent network with a graph of about so many nodes."""
    return _workload(Recurrent(count // 9), 8, 4)


def iterations(_: int) -> Workload:
    """A network that is small whatever the number of iterations."""
    return _workload(_layers(16), 16, 4)


def batch(size: int) -> Workload:
    """A network of 64 units with a batch of this size."""
    return _workload(_layers(64), 64, size)


MAKERS: dict[str, Callable[[int], Workload]] = {each.__name__: each for each in (parameters, nodes, iterations, batch)}
