"""A small convolutional network classifies images of three kinds: a row, a column or a diagonal of bright pixels.

Two of its layers have state besides weights. Batch norm has buffers (`norm.running_mean`) that change in *forward*,
before any step; dropout draws random numbers, so two forwards on one batch give two losses.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradstep.workload import Workload

SIZE = 8


class Cnn(nn.Module):
    """Convolution, batch norm, pooling, dropout, and one linear layer to three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, kernel_size=3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.dropout = nn.Dropout(0.25)
        self.head = nn.Linear(6 * (SIZE // 2) ** 2, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (batch, 1, 8, 8) to logits (batch, 3)."""
        features = functional.relu(self.norm(self.conv(images)))
        pooled = functional.max_pool2d(features, 2)
        logits: Tensor = self.head(self.dropout(pooled.flatten(1)))
        return logits


def image(kind: int, at: int) -> Tensor:
    """Return one noisy image: kind 0 is a row, 1 a column, 2 a diagonal, shifted by `at` pixels."""
    row = torch.zeros(SIZE, SIZE)
    row[at] = 1.0
    shape = (row, row.T, torch.eye(SIZE).roll(at, dims=1))[kind]
    return (shape + 0.3 * torch.randn(SIZE, SIZE)).unsqueeze(0)


def workload() -> Workload:
    """Build the network and four batches of 24 images, eight of each kind."""
    model = Cnn()
    kinds = torch.arange(24) % 3
    batches = [(torch.stack([image(int(k), i // 3) for i, k in enumerate(kinds)]), kinds) for _ in range(4)]
    return Workload(
        model=model,
        loss=functional.cross_entropy,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
        batches=batches,
        show="conv.weight[0, 0]",
    )
