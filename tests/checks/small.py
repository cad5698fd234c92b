"""Small parts that programs of the corpus train: a classifier and its data, and a loop of one line each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Parts(NamedTuple):
    """A model, its optimizer and a batch."""

    net: nn.Module
    opt: torch.optim.Optimizer
    x: Tensor
    y: Tensor

    @property
    def loss(self) -> Tensor:
        """The loss of the batch, computed anew."""
        return F.cross_entropy(self.net(self.x), self.y)


def classifier(lr: float = 0.05, momentum: float = 0.0) -> Parts:
    """Return a small classifier with SGD and 32 samples of 8 numbers in 3 classes."""
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
    opt = torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum)
    return Parts(net, opt, torch.randn(32, 8), torch.randint(0, 3, (32,)))


def regressor() -> Parts:
    """Return a small regressor with Adam; its loss is not that of a classifier: use `F.mse_loss`."""
    net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
    x = torch.randn(32, 4)
    return Parts(net, torch.optim.Adam(net.parameters(), lr=0.01), x, (x.sum(1, keepdim=True)).sin())
