"""A learning rate far too high: each step overshoots the minimum and lands higher on the other side.

It is the regression of `linear`, with two common mistakes: the squared errors are summed, not averaged, which makes
the gradient 64 times as large, and lr is 1.0. The loss overflows to inf, then the weights do; inf minus inf is NaN, and
a weight that is NaN stays NaN.
"""

import torch
from torch import Tensor, nn

from gradstep.workload import Workload


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Return the sum of squared differences over the whole batch, not their mean."""
    return (output - target).pow(2).sum()


def workload() -> Workload:
    """Build 64 points and a model that could learn them with lr=0.001."""
    model = nn.Linear(3, 1)
    x = torch.randn(64, 3)
    y = x @ torch.tensor([[2.0], [-3.0], [0.5]]) + 1.0
    return Workload(
        model=model,
        loss=squared_error,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
        batches=[(x, y)],
        show="weight",
    )
