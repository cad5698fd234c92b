"""Exclusive or: the smallest problem that no single linear layer can solve.

The output is true when exactly one of the two inputs is. No straight line separates the two classes of inputs; in the
space of eight hidden units a hyperplane does. A few hundred iterations suffice.
"""

import torch
from torch import nn
from torch.nn import functional

from gradstep.workload import Workload


def workload() -> Workload:
    """Build the network; its only batch is the truth table."""
    model = nn.Sequential(
        nn.Linear(2, 8),
        nn.Tanh(),
        nn.Linear(8, 1),
    )
    inputs = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    truth = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    return Workload(
        model=model,
        # the last layer gives a logit: above zero means true
        loss=functional.binary_cross_entropy_with_logits,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.5, momentum=0.9),
        batches=[(inputs, truth)],
        show="0.weight",
    )
