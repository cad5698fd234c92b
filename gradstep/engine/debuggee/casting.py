"""A held workload in another dtype: the same weights and batches, cast before anything runs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gradstep.engine.held import Held


def cast(held: Held, dtype: torch.dtype) -> None:
    """Cast every floating point tensor of a model, of its loss and of every coming batch; integers stay as they are.

    The parameters stay the same objects (`nn.Module.to`), so the optimizer keeps working on them.
    """
    held.model.to(dtype)
    if isinstance(held.workload.loss, nn.Module):
        held.workload.loss.to(dtype)
    held.batches.form = lambda batch: _as(batch, dtype)


def _as(batch: Any, dtype: torch.dtype) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(dtype) if batch.is_floating_point() else batch
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(_as(each, dtype) for each in batch))
    if isinstance(batch, (tuple, list)):
        return type(batch)(_as(each, dtype) for each in batch)
    if isinstance(batch, dict):
        return {key: _as(each, dtype) for key, each in batch.items()}
    return batch
