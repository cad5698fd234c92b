"""How large the gradients are that a step uses, taken once for all checks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from gradstep.checks.check import Moment
from gradstep.engine.numbers.nonfinite import numbers_of
from gradstep.engine.reads import read, scalars

_ADAPTIVE = ("exp_avg_sq", "square_avg", "exp_inf", "sum", "row_var")
"""What optimizers that divide by the size of past gradients keep in their state."""
_SETTINGS = ("betas", "centered", "rho", "etas", "lr_decay", "beta2_decay")
"""What the constructors of such optimizers of torch take, and that of SGD does not."""

_LARGE = 1 << 14
"""Elements of a gradient that are read at most."""
_BLOCKS = 16
STEPS = 20
"""Steps of which gradients and updates are all looked at; later ones are sampled."""


class Gradient(NamedTuple):
    """The gradient of one parameter."""

    name: str
    parameter: Tensor
    most: float
    """The largest magnitude of the elements that are looked at, NaN where one is; 0 only where all are."""


def gradients(moment: Moment) -> tuple[Gradient, ...]:
    """Return the gradients of the parameters that a step is about to write; of large ones, some blocks are read."""
    return moment.once("gradients", lambda: _gradients(moment))


def is_adaptive(moment: Moment) -> bool:
    """Return whether the optimizer divides by the size of past gradients, so that their scale does not matter."""
    optimizer = moment.optimizer
    first: object = next(iter(optimizer.state.values()), None)
    if not first:  # before its first step
        return any(name in optimizer.defaults for name in _SETTINGS)
    return isinstance(first, dict) and any(name in first for name in _ADAPTIVE)


def rate_of(moment: Moment, parameter: Tensor) -> float:
    """Return the learning rate of a parameter."""
    return moment.once("rates", lambda: _rates(moment.optimizer)).get(id(parameter), 0.0)


def _rates(optimizer: Optimizer) -> dict[int, float]:
    groups = [(float(group.get("lr", 0.0)), group["params"]) for group in optimizer.param_groups]
    return {id(parameter): rate for rate, parameters in reversed(groups) for parameter in parameters}


def largest(tensors: Sequence[Tensor]) -> list[float]:
    """Return the largest magnitude of each tensor, with one synchronisation for each device."""
    found = [0.0] * len(tensors)
    here = [place for place, each in enumerate(tensors) if each.numel()]
    several = [tensors[place] for place in here]
    if all(each.numel() <= _LARGE for each in several):  # many times faster, and takes a copy
        norms = torch._foreach_max(torch._foreach_abs(several)) if here else ()
    else:
        norms = torch._foreach_norm(several, math.inf)
    for place, value in zip(here, read(scalars(norms)), strict=True):
        found[place] = value
    return found


def _gradients(moment: Moment) -> tuple[Gradient, ...]:
    with_grad = [(name, p) for name, p in moment.optimized() if p.grad is not None and not p.grad.is_meta]
    values = [numbers_of(p.grad) for _, p in with_grad if p.grad is not None]
    sizes = largest([blocks(each) for each in values])
    zero = [place for place, size in enumerate(sizes) if size == 0]
    for place, size in zip(zero, largest([values[place] for place in zero]), strict=True):
        sizes[place] = size  # rows that the batch has not used, or all of them
    return tuple(Gradient(name, p, most) for (name, p), most in zip(with_grad, sizes, strict=True))


def blocks(tensor: Tensor) -> Tensor:
    """Return a view of sixteen blocks of a large tensor; a small one as it is."""
    if tensor.numel() <= _LARGE or not tensor.is_contiguous():
        return tensor
    flat = tensor.view(-1)
    return flat[: flat.numel() // _BLOCKS * _BLOCKS].view(_BLOCKS, -1)[:, : _LARGE // _BLOCKS]
