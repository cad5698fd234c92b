"""The layers that compute something else in training than in evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd


def layers_with_modes(model: nn.Module, training: bool) -> Iterator[tuple[str, nn.Module]]:
    """Yield dropout that drops and batch norm with running statistics, where they are in that mode, by path."""
    for path, module in model.named_modules():
        acts = isinstance(module, _DropoutNd) and module.p > 0
        acts = acts or (isinstance(module, _BatchNorm) and module.running_mean is not None)
        if acts and module.training is training:
            yield path, module


def counted(layers: list[tuple[str, nn.Module]]) -> str:
    """Return how many layers of each class: `2 Dropout and 1 BatchNorm1d`."""
    kinds = Counter(type(each).__name__ for _, each in layers)
    return " and ".join(f"{number} {kind}" for kind, number in kinds.most_common())
