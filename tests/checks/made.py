"""A multi-layer perceptron, and made data with something to learn in it, for the held-out programs."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


def mlp(*sizes: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return linear layers of these sizes with an activation between them."""
    layers: list[nn.Module] = []
    for size, following in itertools.pairwise(sizes):
        layers += [nn.Linear(size, following), act()]
    return nn.Sequential(*layers[:-1])


def _same() -> torch.Generator:
    """Return the generator of what is to be learnt: every call of a function here draws from the same distribution."""
    return torch.Generator().manual_seed(0)


def blobs(count: int = 128, size: int = 10, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Return (count, size) samples round one centre a class, and the (count,) classes."""
    y = torch.arange(count) % classes
    centres = 2 * torch.randn(classes, size, generator=_same())
    return centres[y] + torch.randn(count, size), y


def pictures(count: int = 64, side: int = 8, classes: int = 4, channels: int = 1) -> tuple[Tensor, Tensor]:
    """Return (count, channels, side, side) pictures in [0, 1], one pattern a class, and their classes."""
    y = torch.arange(count) % classes
    patterns = torch.rand(classes, channels, side, side, generator=_same())
    return (0.7 * patterns[y] + 0.3 * torch.rand(count, channels, side, side)), y


def plane(count: int = 128, size: int = 5) -> tuple[Tensor, Tensor]:
    """Return (count, size) samples and (count, 1) values that are nearly linear in them."""
    x = torch.randn(count, size)
    return x, x @ torch.randn(size, 1, generator=_same()) + 0.1 * torch.randn(count, 1)


def tokens(count: int = 64, length: int = 12, vocabulary: int = 20) -> Tensor:
    """Return (count, length) token sequences in which a token tells the next, nine times in ten."""
    rows = [torch.randint(0, vocabulary, (count,))]
    for _ in range(length - 1):
        surprise = torch.rand(count) < 0.1
        rows.append(torch.where(surprise, torch.randint(0, vocabulary, (count,)), (3 * rows[-1] + 1) % vocabulary))
    return torch.stack(rows, dim=1)


def waves(count: int = 64, length: int = 20) -> Tensor:
    """Return (count, length + 1, 1) sines of different phase and frequency."""
    time = torch.arange(length + 1).float()
    phase, speed = 6.28 * torch.rand(count, 1), 0.2 + 0.3 * torch.rand(count, 1)
    return torch.sin(phase + speed * time).unsqueeze(-1)


def loader(x: Tensor, y: Tensor, batch_size: int = 16, shuffle: bool = True, drop_last: bool = False) -> DataLoader:
    """Return a DataLoader over samples and targets."""
    return DataLoader(TensorDataset(x, y), batch_size=batch_size, shuffle=shuffle, drop_last=drop_last)
