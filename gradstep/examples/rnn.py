"""A recurrent network follows a wave: at every moment it sees one number and says what the next one will be.

There is one cell and it is used at every moment, so the graph is as long as the wave, and the gradients of all moments
meet in the same few weights: their `.grad` is a sum over time before it is ever a sum over backwards.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradstep.workload import Workload

MOMENTS = 16


class Rnn(nn.Module):
    """One cell, carried along the wave, and a linear layer that reads the next number off its state."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(1, 16)
        self.head = nn.Linear(16, 1)

    def forward(self, waves: Tensor) -> Tensor:
        """Map waves (batch, moments) to what is said to come next (batch, moments)."""
        state = waves.new_zeros(len(waves), 16)
        said = []
        for now in torch.split(waves, 1, dim=1):
            state = self.cell(now, state)
            said.append(self.head(state))
        return torch.cat(said, dim=1)


def waves(count: int) -> tuple[Tensor, Tensor]:
    """Make waves that begin anywhere, and the same waves one moment later: two of (count, moments)."""
    start = 2 * math.pi * torch.rand(count, 1)
    wave = torch.sin(start + 0.5 * torch.arange(MOMENTS + 1))
    return wave[:, :-1], wave[:, 1:]


def workload() -> Workload:
    """Make four batches of eight waves."""
    return Workload(
        model=Rnn(),
        loss=functional.mse_loss,
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
        batches=[waves(8) for _ in range(4)],
        show="cell.weight_hh[0:8, 0:8]",
    )
