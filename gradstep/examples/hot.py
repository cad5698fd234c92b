"""A learning rate far too high: each step jumps over the valley and lands higher on the other side.

It is the regression of `linear`, with two ordinary slips: the squared errors are summed, not averaged, which makes the
gradient 64 times as long, and lr is 1.0. The loss grows to inf, then the weights do, and inf minus inf is NaN, which
nothing ever leaves again.
"""

import torch
from torch import Tensor, nn

from gradstep.workload import Workload


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Return the sum of squared differences over the whole batch, not their mean."""
    return (output - target).pow(2).sum()


def workload() -> Workload:
    """Make 64 points of a line and a model that could learn them with lr=0.001."""
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
