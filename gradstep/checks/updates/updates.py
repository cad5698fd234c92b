"""How far a step moves some elements of some weights, taken once for all checks."""

from __future__ import annotations

import math
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from gradstep.checks.check import Check, Moment, at
from gradstep.checks.numbers.gradients import STEPS, rate_of
from gradstep.engine.reads import fetched

_WEIGHTS = 8
"""Weights that are looked at, from the first to the last."""
_ELEMENTS = 256
"""Elements of each."""


class Update(NamedTuple):
    """What a step has done to some elements of one weight."""

    name: str
    parameter: Tensor
    rate: float
    size: float
    """Root mean square of the weight before."""
    change: float
    """Root mean square of the change."""
    same: bool
    """True when every element that has a gradient has the same bits as before."""
    gradient: Tensor
    """The gradient at these elements, on the host."""

    @property
    def ratio(self) -> float:
        """The change in proportion to the weight; inf where that was zero."""
        return self.change / self.size if self.size else math.inf


class _Before(NamedTuple):
    name: str
    parameter: Tensor
    rate: float
    weight: Tensor
    gradient: Tensor


class UpdateCheck(Check):
    """A check that looks at updates: has them taken."""

    @at("step", first=STEPS)
    def begins(self, moment: Moment) -> tuple[()]:
        """Copy some elements before a step."""
        moment.once("before", lambda: moment.memory.__setitem__("before", _before(moment)))
        return ()


def updates(moment: Moment) -> tuple[Update, ...]:
    """Return what the step that has ended did to weights of two or more dimensions; empty where it is not looked at."""
    return moment.once("updates", lambda: _updates(moment)) if moment.phase == "step" else ()


def _before(moment: Moment) -> list[_Before]:
    weights = [
        (name, p)
        for name, p in moment.optimized()
        if p.dim() > 1 and p.grad is not None and p.layout is torch.strided is p.grad.layout and not p.is_meta
    ]
    step = max(1, math.ceil(len(weights) / _WEIGHTS))
    return [
        _Before(name, p, rate_of(moment, p), _some(p).clone(), _some(p.grad).clone())
        for name, p in weights[::step]
        if p.grad is not None and p.numel()
    ]


def _updates(moment: Moment) -> tuple[Update, ...]:
    before: list[_Before] = moment.memory.pop("before", None) or []
    needed: list[Tensor] = []
    for each in before:
        after = _some(each.parameter)
        moved = (after != each.weight) & (each.gradient != 0)
        known = (each.weight, after - each.weight)
        needed += [*(part.float().norm() for part in known), moved.any(), each.gradient.float()]
    arrived, found = iter(fetched(needed)), []
    for each in before:
        size, change, moves, gradient = islice(arrived, 4)
        root = math.sqrt(len(gradient))
        sizes = float(size) / root, float(change) / root
        found.append(Update(each.name, each.parameter, each.rate, *sizes, not moves, gradient))
    return tuple(found)


def _some(tensor: Tensor) -> Tensor:
    flat = tensor.detach().reshape(-1) if tensor.is_contiguous() else tensor.detach().flatten()
    return flat[:: max(1, flat.numel() // _ELEMENTS)]
