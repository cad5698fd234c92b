"""The network of a backpropagation notebook: 784 inputs, a hidden layer of 256, ten outputs, one random batch.

The data is noise: the point is what the four calls do. forward computes the loss, backward fills `.grad`, step updates
the weights, zero_grad clears `.grad`. The random draws are in the notebook's order, so with the same seed every number
is bit-equal to the notebook's.
"""

import torch
from torch import Tensor, nn

from gradstep.workload import Workload


def squared_error(prediction: Tensor, ideal_output: Tensor) -> Tensor:
    """Return the sum of squared differences: a scalar, as backward() requires."""
    return (ideal_output - prediction).pow(2).sum()


def workload() -> Workload:
    """Build the network, then its input, then its ideal output."""
    model = nn.Sequential(
        nn.Linear(784, 256),
        nn.ReLU(),
        nn.Linear(256, 10),
    )
    x = torch.randn(16, 784)
    ideal_output = torch.randn(16, 10)
    return Workload(
        model=model,
        loss=squared_error,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.001),
        batches=[(x, ideal_output)],
        show="2.weight[0, 0:10]",
    )
