"""Regression with a known answer: the data are y = 2a - 3b + 0.5c + 1, and the weights converge to its coefficients.

The model is three weights and a bias, so the answer can be read off the screen: `weight` converges to [2, -3, 0.5],
`bias` to 1, and the gradient to zero.
"""

import torch
from torch import nn
from torch.nn import functional

from gradstep.workload import Workload

ANSWER = (2.0, -3.0, 0.5)
BIAS = 1.0


def workload() -> Workload:
    """Build 64 points without noise, and a model with random weights."""
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
