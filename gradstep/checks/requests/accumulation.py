"""`check accumulation`: is the gradient of several micro-batches that of the one large batch?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from gradstep.checks.check import Seen
from gradstep.checks.requests.request import Answer, Request, Trial
from gradstep.engine.tensor_trees import tensors_in
from gradstep.values.errors import wrong
from gradstep.values.findings import Rule, Where

_PARTS = 4
"""Micro-batches, where the batch has as many samples."""
_CLOSE = 1e-6
"""Relative difference that float64 explains."""


class Accumulation(Request):
    """Splits the batch, adds up the gradients of the parts, and compares them with that of the whole."""

    rule = Rule(
        id="accumulation",
        severity="warning",
        title="accumulated gradients are not those of the large batch",
        why="A loss that is a mean over tokens, or over unmasked elements, gives each micro-batch the same weight, "
        "however many tokens it has: tokens of short samples count for more than in one large batch.",
        detects="In eval mode and float64, the batch is split along its first dimension. The gradients of loss / "
        "number of parts are added up and compared with the gradient of the whole batch.",
        remedy="Divide the sum over tokens by the tokens of all micro-batches: loss = cross_entropy(logits, target, "
        "reduction='sum') / tokens_of_all_micro_batches.",
        source="transformers#34191, unsloth-zoo#1023, ms-swift#10084, fastai#3023",
        threshold=_CLOSE,
        unit="relative difference",
    )

    def run(self, trial: Trial) -> Answer:
        """Compare the gradients.

        Raises:
            GradstepError: the batch can't be split.
        """
        tensors = [tensor for _, tensor in tensors_in(trial.batch, "batch", -1) if tensor.dim()]
        size = tensors[0].shape[0] if tensors else 0
        parts = min(_PARTS, size)
        if parts < 2 or any(each.shape[0] != size for each in tensors):
            raise wrong("this batch can't be split", "its tensors need the same first size, of 2 or more", "")
        trial.model.eval()
        trial.double()
        whole, batch = _gradient(trial), trial.batch
        each = []
        for i in range(parts):
            trial.batch = _part(batch, size, i, parts)
            each.append(_gradient(trial))
        trial.batch = batch
        matrix = torch.stack(each)
        scale = float(whole.norm()) or 1.0
        off = float((matrix.mean(0) - whole).norm()) / scale
        if off <= _CLOSE:
            return Answer(f"The mean gradient of {parts} micro-batches is that of the batch of {size}.")
        if float((matrix.sum(0) - whole).norm()) / scale <= _CLOSE:
            return Answer(
                f"The loss is a sum: the gradients of {parts} micro-batches add up to that of the batch of {size}."
            )
        weights = torch.linalg.lstsq(matrix.T, whole[:, None]).solution.flatten().tolist()
        shares = ", ".join(f"{weight:.3f}" for weight in weights)
        what = (
            f"The mean gradient of {parts} micro-batches differs from that of the batch of {size} by {off:.2g} of its "
        )
        what += f"norm: in the large batch they weigh {shares}, not {1 / parts:g} each."
        evidence: dict[str, float | int | str] = {"parts": parts, "difference": off, "weights": shares}
        return Answer(what, Seen(what, Where(panel="batch"), evidence))


def _gradient(trial: Trial) -> Tensor:
    """Return the gradient of the loss with respect to all parameters, as one vector."""
    parameters = [p for _, p in trial.parameters()]
    grads = torch.autograd.grad(trial.loss(), parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([grad.flatten() for grad in grads])


def _part(batch: Any, size: int, number: int, parts: int) -> Any:
    first, last = size * number // parts, size * (number + 1) // parts
    return tree_map(lambda each: each[first:last] if isinstance(each, Tensor) and each.dim() else each, batch)
