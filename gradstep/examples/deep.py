"""Twenty sigmoid layers: the gradient vanishes before it reaches the first.

The derivative of a sigmoid is at most 1/4, and backward multiplies by it in every layer. The last layer learns; the
first gets a gradient more than ten orders of magnitude smaller and hardly changes. Replace Sigmoid by ReLU and compare.
"""

import torch
from torch import nn
from torch.nn import functional

from gradstep.workload import Workload

LAYERS = 20


def workload() -> Workload:
    """Build 20 layers of 16 units, and 32 points whose target is their distance from the origin."""
    model = nn.Sequential()
    for i in range(LAYERS):
        model.add_module(f"layer{i}", nn.Linear(16, 16))
        model.add_module(f"sigmoid{i}", nn.Sigmoid())
    model.add_module("head", nn.Linear(16, 1))
    x = torch.randn(32, 16)
    return Workload(
        model=model,
        loss=functional.mse_loss,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        batches=[(x, x.norm(dim=1, keepdim=True))],
        show="layer0.weight[0:8, 0:8]",
    )
