"""The check of a node's J against finite differences of its operation, run again from what the node kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import Node

from gradstep.engine.jacobian import Jacobian, Refusal, jacobian
from gradstep.engine.nodes.rerun import Rerun, rerun

STEP = 1e-6
"""How far the input is moved to each side, of inputs up to 1: about the cube root of a double's precision, where the
errors of central differences from truncation and from rounding meet."""
_EVERY = 512
"""Inputs up to which every element of J is compared; beyond, J u for a few random u."""
_DIRECTIONS = 3


@dataclass(frozen=True)
class Check:
    """How far J is from finite differences."""

    error: float
    """The greatest difference, relative to the greatest element compared."""
    tolerance: float
    """What rounding in the node's dtype explains: the square root of its precision."""
    how: str
    """E.g. `all 4,096 elements of J`, `J u for 3 random u`."""

    @property
    def agrees(self) -> bool:
        """True when the difference is no greater than rounding explains."""
        return self.error <= self.tolerance


def check(node: Node, edge: int, output: int = 0) -> Check | Refusal:
    """Compare J with central differences of the operation, in double precision.

    Args:
        node: the node; what it saved must be there still.
        edge: which of its inputs is moved.
        output: which of its outputs is looked at.
    """
    found = jacobian(node, edge, output)
    if isinstance(found, Refusal):
        return found
    again = rerun(node, edge, output)
    if again is None:
        name = node.name().rsplit("::", 1)[-1]
        return Refusal("nothing", f"{name} did not keep what its operation needs to be run again")
    with torch.no_grad():
        if found.shape[1] <= _EVERY and found.fits:
            columns = [_difference(again, _unit(again.point, i)).flatten() for i in range(found.shape[1])]
            error = _apart(found.whole().double(), torch.stack(columns, 1))
            how = f"all {found.elements:,} elements of J"
        else:
            error, how = _in_directions(found, again)
    narrow = max(torch.finfo(found.dtype).eps, torch.finfo(found.in_dtype).eps)
    return Check(error, math.sqrt(narrow), how)


def _in_directions(found: Jacobian, again: Rerun) -> tuple[float, str]:
    """Compare J u for random u; where torch has no way to J u, v · J u with u · J^T v for random v too."""
    generator = torch.Generator().manual_seed(0)
    worst, how = 0.0, f"J u for {_DIRECTIONS} random u"
    for _ in range(_DIRECTIONS):
        # what the node's dtype can hold
        u = torch.randn(again.point.shape, generator=generator).to(again.point.device, found.in_dtype)
        wanted = _difference(again, u.double())
        made = found.along(u)
        if made is not None:
            worst = max(worst, _apart(made.double(), wanted))
            continue
        how = f"v · J u for {_DIRECTIONS} random u and v"
        v = torch.randn(found.out_shape, generator=generator).to(found.device, found.dtype)
        scale = float(v.double().norm() * wanted.norm())
        apart = float((v.double() * wanted).sum() - (u.double() * found.times(v).double()).sum())
        worst = max(worst, abs(apart) / scale if scale else abs(apart))
    return worst, how


def _difference(again: Rerun, u: Tensor) -> Tensor:
    """Return (f(x + h u) − f(x − h u)) ÷ 2h."""
    finite = again.point[again.point.isfinite()]
    step = STEP * max(1.0, float(finite.abs().max()) if finite.numel() else 1.0)
    return (again.function(again.point + step * u) - again.function(again.point - step * u)) / (2 * step)


def _apart(made: Tensor, wanted: Tensor) -> float:
    scale = max(float(wanted.abs().max()), float(made.abs().max())) if wanted.numel() else 0.0
    return float((made.reshape(wanted.shape) - wanted).abs().max()) / scale if scale else 0.0


def _unit(like: Tensor, place: int) -> Tensor:
    unit = torch.zeros_like(like).flatten()
    unit[place] = 1
    return unit.reshape(like.shape)
