"""The loss of each sample, from calling the loss on one sample at a time; checked against the loss of the batch."""

from __future__ import annotations

import copy
import inspect
import io
import math
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from gradstep.engine.held import Held
from gradstep.engine.reads import Reading, scalars
from gradstep.values.numbers import short

MOST = 512
"""Maximum number of samples whose loss is computed: more would slow down every forward."""
_LARGEST = 1 << 20
"""Maximum number of elements of a loss module, which is copied so that calling it changes nothing of the user's."""
_ROUNDING = 8.0
"""How many times the precision of its dtype the loss may differ from its parts: it is summed in another order."""


class SampleLosses(NamedTuple):
    """The loss of each sample, and how the loss is reduced from them; or why that is unknown."""

    values: tuple[float, ...] = ()
    reduction: Literal["", "sum", "mean"] = ""
    why: str = ""


def sample_losses(held: Held) -> Reading[SampleLosses]:
    """Read the loss of each sample of the batch that the last loss was computed on.

    The model does not run again: the loss function is called on slices of its prediction. Random generators are
    restored, and a loss that is an object is copied first.
    """
    why = _obstacle(held)
    if why:
        return SampleLosses(why=why)
    output, target = held.point.watched.output, held.point.batch[1]
    before = held.keeper.capture()
    try:
        with torch.no_grad(), redirect_stdout(io.StringIO()):
            loss: Any = copy.deepcopy(held.workload.loss)
            parts = [loss(output[i : i + 1].detach().clone(), target[i : i + 1].clone()) for i in range(len(output))]
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        return SampleLosses(why=f"the loss does not take one sample: {type(error).__name__}: {first}")
    finally:
        held.keeper.restore(before)
    if not all(isinstance(part, Tensor) and part.numel() == 1 and not part.is_complex() for part in parts):
        return SampleLosses(why="the loss of one sample is not a scalar")
    return check((yield from scalars(parts)), float(held.point.value or 0.0), _precision(parts))


def check(parts: Sequence[float], loss: float, precision: float) -> SampleLosses:
    """Return the parts if their mean or sum is the loss to rounding, `precision` being that of its dtype."""
    values = tuple(parts)
    odd = not all(map(math.isfinite, values))
    if not math.isfinite(loss) and odd:
        return SampleLosses(values)  # nothing to compare with, and the case in which the samples show the culprit
    total, size = sum(values), math.fsum(map(abs, values)) if not odd else math.nan
    slack = _ROUNDING * precision
    if abs(total / len(values) - loss) <= slack * max(size / len(values), abs(loss)):
        return SampleLosses(values, "mean")
    if abs(total - loss) <= slack * max(size, abs(loss)):
        return SampleLosses(values, "sum")
    text = f"the samples' losses have the mean {short(total / len(values))} and the sum {short(total)}"
    return SampleLosses(why=f"{text}; the loss is {short(loss)}, which is neither")


def _obstacle(held: Held) -> str:
    """Return why the loss can't be computed sample by sample; empty when it may be tried."""
    point, loss = held.point, held.workload.loss
    if point.loss is None:
        return "no loss yet: run `forward`"
    if held.script:
        return "the script computes the loss of the whole batch, so the losses of samples are unknown"
    if loss is None:
        return "compute_loss takes the whole batch, so the losses of samples are unknown"
    if point.value is None:
        return "the loss is not a scalar"
    output, target = point.watched.output, point.batch[1]
    for name, tensor in (("prediction", output), ("target", target)):
        if not isinstance(tensor, Tensor):
            return f"the {name} is a {type(tensor).__name__}, which can't be split into samples"
        if not tensor.dim() or tensor.layout is not torch.strided or tensor.is_meta:
            return f"the {name} can't be split into samples"
    if len(output) != len(target):
        return f"the prediction has {len(output):,} rows and the target {len(target):,}"
    if not len(output):
        return "the batch is empty"
    if len(output) > MOST:
        return f"{len(output):,} samples: losses are computed one by one for at most {MOST}"
    if inspect.ismethod(loss):
        return "the loss is a method, and might change its object if called for each sample"
    if isinstance(loss, nn.Module) and sum(t.numel() for t in (*loss.parameters(), *loss.buffers())) > _LARGEST:
        return "the loss is a large module: it is not called again for each sample"
    return ""


def _precision(parts: Sequence[Tensor]) -> float:
    dtype = parts[0].dtype
    return torch.finfo(dtype).eps if dtype.is_floating_point else 0.0
