"""Workloads for the benchmark `scroll`: an embedding as large as GPT-2's, and one of 10 x 10."""

from __future__ import annotations

import torch
from torch import nn

from gradstep.workload import Workload


def large() -> Workload:
    """Return a workload whose weight is 50,257 x 768."""
    return embedding(50_257, 768)


def small() -> Workload:
    """Return the same with a weight of 10 x 10."""
    return embedding(10, 10)


def embedding(rows: int, columns: int) -> Workload:
    """Look eight rows of a table up and draw them to zero."""
    model = nn.Sequential(nn.Embedding(rows, columns))
    return Workload(
        model=model,
        loss=nn.functional.mse_loss,
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        batches=[(torch.arange(8), torch.zeros(8, columns))],
        show="0.weight",
    )
