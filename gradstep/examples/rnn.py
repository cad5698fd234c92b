"""A recurrent network predicts a sine wave: at every time step it gets one number and predicts the next.

One cell is used at every time step, so the graph is as long as the wave, and the gradients of all time steps are summed
in the same weights: their `.grad` is a sum over time before it is a sum over backwards.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradstep.workload import Workload

TIME_STEPS = 16


class Rnn(nn.Module):
    """One cell, unrolled along the wave, and a linear layer from its state to the next number."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(1, 16)
        self.head = nn.Linear(16, 1)

    def forward(self, waves: Tensor) -> Tensor:
        """Map waves (batch, time) to predictions of the next number (batch, time)."""
        state = waves.new_zeros(len(waves), 16)
        predictions = []
        for now in torch.split(waves, 1, dim=1):
            state = self.cell(now, state)
            predictions.append(self.head(state))
        return torch.cat(predictions, dim=1)


def waves(count: int) -> tuple[Tensor, Tensor]:
    """Return waves of random phase, and the same waves one time step later, each (count, time)."""
    start = 2 * math.pi * torch.rand(count, 1)
    wave = torch.sin(start + 0.5 * torch.arange(TIME_STEPS + 1))
    return wave[:, :-1], wave[:, 1:]


def workload() -> Workload:
    """Build the network and four batches of eight waves."""
    return Workload(
        model=Rnn(),
        loss=functional.mse_loss,
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
        batches=[waves(8) for _ in range(4)],
        show="cell.weight_hh[0:8, 0:8]",
    )
