"""Regression with a known answer: the data are made by y = 2a - 3b + 0.5c + 1, and the weights must find that out.

The whole model is one row of three weights and a bias, so the answer is read off the screen: `weight` goes to
[2, -3, 0.5] and `bias` to 1, and as they get there the gradient goes to zero.
"""

import torch
from torch import nn
from torch.nn import functional

from gradstep.workload import Workload

ANSWER = (2.0, -3.0, 0.5)
BIAS = 1.0


def workload() -> Workload:
    """Make 64 points of the line, without noise, and a model that starts somewhere else."""
    model = nn.Linear(3, 1)
    x = torch.randn(64, 3)
    y = x @ torch.tensor(ANSWER).unsqueeze(1) + BIAS
    return Workload(
        model=model,
        loss=functional.mse_loss,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        batches=[(x, y)],
        show="weight",
    )
