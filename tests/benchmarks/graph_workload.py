"""Workloads for the benchmark `graph`: the same recurrent network over few and over very many time steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gradstep.workload import Workload

STEPS = {"small": 11, "large": 11_111}


class Recurrent(nn.Module):
    """A tanh cell in plain tensors: nine nodes a step."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.into, self.back = (nn.Parameter(0.3 * torch.randn(8, 8)) for _ in range(2))
        self.bias = nn.Parameter(torch.zeros(8))

    def forward(self, x: Tensor) -> Tensor:
        """Map an input (batch, 8) to the last state (batch, 8)."""
        state = torch.zeros_like(x)
        for _ in range(self.steps):
            state = torch.tanh(x @ self.into.t() + state @ self.back.t() + self.bias) * 1.0 + 0.5
        return state


def _workload(steps: int) -> Workload:
    return Workload(
        model=Recurrent(steps),
        loss=nn.functional.mse_loss,
        optimizer=lambda p: torch.optim.SGD(p, lr=0.01),
        batches=[(torch.randn(4, 8), torch.randn(4, 8))],
    )


def small() -> Workload:
    """About 100 nodes."""
    return _workload(STEPS["small"])


def large() -> Workload:
    """About 100,000 nodes."""
    return _workload(STEPS["large"])
