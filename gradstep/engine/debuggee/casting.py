"""Cast a held workload to another dtype before anything runs."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gradstep.engine.held import Held
from gradstep.engine.tensor_trees import changed


def cast(held: Held, dtype: torch.dtype) -> None:
    """Cast every floating-point tensor of the model, the loss and all batches; integers stay as they are.

    The parameters stay the same objects (`nn.Module.to`), so the optimizer still works on them.
    """
    held.model.to(dtype)
    if isinstance(held.workload.loss, nn.Module):
        held.workload.loss.to(dtype)
    held.batches.form = lambda batch: changed(batch, lambda each: each.to(dtype) if _is_floating(each) else each)


def _is_floating(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
