"""The check of a node's J against finite differences of its operation, rerun from what the node saved."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import Node

from gradstep.engine.autograd.derivatives.rerun import Rerun
from gradstep.engine.autograd.derivatives.rerun_table import rerun
from gradstep.engine.autograd.graph import node_name
from gradstep.engine.autograd.jacobian import Jacobian, Refusal, jacobian
from gradstep.engine.numbers.selection import index_text, unravel

STEP = 1e-6
"""The step of central differences, for inputs up to 1: about the cube root of float64's epsilon, where truncation and
rounding errors are equal."""
KINK = 1e-3
"""Maximum difference of the one-sided slopes at a point, relative to the largest slope: of a smooth operation it is
about `STEP`, and 1 at the kink of a ReLU."""
_EVERY = 512
"""Inputs up to which all of J is compared; beyond that, J u for a few random u."""
_DIRECTIONS = 3


@dataclass(frozen=True)
class Verdict:
    """The result of a check against finite differences."""

    agrees: bool | None
    """None when nothing can be compared."""
    words: str


@dataclass(frozen=True)
class FiniteDifference:
    """The difference of J from finite differences."""

    error: float
    """The largest difference, relative to the largest element compared."""
    tolerance: float
    """The largest error that rounding in the node's dtype explains: the square root of its epsilon."""
    how: str
    """E.g. `all 4,096 elements of J`, `J u for 3 random u`."""

    @property
    def agrees(self) -> bool:
        """True when rounding explains the difference."""
        return self.error <= self.tolerance


def compare(node: Node, edge: int, output: int = 0) -> Verdict:
    """Return the result of `check` as text."""
    made = check(node, edge, output)
    if isinstance(made, Refusal):
        words = "is not finite" if made.kind == "infinite" else "is not compared with finite differences"
        return Verdict(None, f"J {words}: {made.why}")
    verb = "agrees" if made.agrees else "DISAGREES"
    off = f"relative error {made.error:.1e}; rounding explains {made.tolerance:.1e}"
    return Verdict(made.agrees, f"J {verb} with finite differences: {made.how}, {off}")


def check(node: Node, edge: int, output: int = 0) -> FiniteDifference | Refusal:
    """Compare J with central differences of the operation, in double precision.

    Args:
        node: the node; its saved tensors must be alive.
        edge: the input that is perturbed.
        output: the output that is compared.
    """
    found = jacobian(node, edge, output)
    if isinstance(found, Refusal):
        return found
    again = rerun(node, edge, output)
    if again is None:
        return Refusal("nothing", f"{node_name(node)} did not save what its operation needs to be rerun")
    tolerance = math.sqrt(max(torch.finfo(found.dtype).eps, torch.finfo(found.in_dtype).eps))
    differences = _Differences(again)
    with torch.no_grad():
        if found.shape[1] <= _EVERY and found.fits:
            columns = [differences.difference(_unit(again.point, i)).flatten() for i in range(found.shape[1])]
            made, wanted = found.whole().double(), torch.stack(columns, 1)
            if not made.isfinite().all():
                return _infinite(found, made, wanted)
            error = _relative_error(made, wanted)
            how = f"all {found.elements:,} elements of J"
        else:
            error, how = _in_directions(found, again, differences)
            if not math.isfinite(error):
                return Refusal("infinite", f"{how.partition(' for ')[0]} is not, for a random u")
    if differences.kinks and differences.kinks == differences.seen:
        return Refusal("nothing", "the operation has a kink, such as a tie, everywhere it would be compared")
    left = f", {differences.kinks:,} of {differences.seen:,} differences skipped at a kink, such as a tie"
    return FiniteDifference(error, tolerance, how + left * bool(differences.kinks))


def _infinite(found: Jacobian, made: Tensor, wanted: Tensor) -> Refusal:
    """Return the first element of J that is not finite, and its finite difference."""
    row, column = (int(place) for place in (~made.isfinite()).nonzero()[0])
    output, given = unravel(row, found.out_shape), unravel(column, found.in_shape)
    where = f"∂ output{index_text(output)} / ∂ input{index_text(given)}"
    return Refusal("infinite", f"{where} is {made[row, column]:g}, finite differences give {wanted[row, column]:g}")


def _in_directions(found: Jacobian, again: Rerun, differences: _Differences) -> tuple[float, str]:
    """Compare J u for random u; where torch can't compute J u, compare v · J u with u · J^T v for random v."""
    generator = torch.Generator().manual_seed(0)
    worst, how = 0.0, f"J u for {_DIRECTIONS} random u"
    for _ in range(_DIRECTIONS):
        # rounded to the node's dtype
        u = torch.randn(again.point.shape, generator=generator).to(again.point.device, found.in_dtype)
        wanted = differences.difference(u.double())
        made = found.along(u)
        if made is not None and not made.isfinite().all():
            return math.nan, how
        if made is not None:
            worst = _worse(worst, _relative_error(made.double(), wanted))
            continue
        how = f"v · J u for {_DIRECTIONS} random u and v"
        v = torch.randn(found.out_shape, generator=generator).to(found.device, found.dtype)
        v, wanted = v * wanted.isfinite(), wanted.nan_to_num(0.0)
        scale = float(v.double().norm() * wanted.norm())
        apart = float((v.double() * wanted).sum() - (u.double() * found.times(v).double()).sum())
        worst = _worse(worst, abs(apart) / scale if scale else abs(apart))
    return worst, how


def _worse(one: float, other: float) -> float:
    """Return the larger of two errors; NaN is larger than any."""
    return other if math.isnan(other) or other > one else one


class _Differences:
    """Central differences of an operation at the point of its forward.

    Where the one-sided slopes differ, the operation has a kink and no derivative to compare with: a ReLU at 0, a
    maximum with a tie. `kinks` counts those among the `seen` differences.
    """

    def __init__(self, again: Rerun) -> None:
        finite = again.point[again.point.isfinite()]
        self._step = STEP * max(1.0, float(finite.abs().max()) if finite.numel() else 1.0)
        self._again, self._here = again, again.function(again.point)
        self.kinks = self.seen = 0

    def difference(self, u: Tensor) -> Tensor:
        """Return (f(x + h u) − f(x − h u)) ÷ 2h, NaN at a kink."""
        point, run = self._again.point, self._again.function
        ahead, behind = run(point + self._step * u), run(point - self._step * u)
        central = (ahead - behind) / (2 * self._step)
        apart = (ahead - 2 * self._here + behind).abs() / self._step
        kinks = apart > KINK * central.abs().max() if central.numel() else apart > 0
        self.kinks, self.seen = self.kinks + int(kinks.sum()), self.seen + kinks.numel()
        return torch.where(kinks, torch.nan, central)


def _relative_error(made: Tensor, wanted: Tensor) -> float:
    """Return the largest difference relative to the largest element; NaN in `wanted` is skipped."""
    smooth = wanted.isfinite()
    wanted, made = wanted[smooth], made.reshape(wanted.shape)[smooth]
    scale = max(float(wanted.abs().max()), float(made.abs().max())) if wanted.numel() else 0.0
    return float((made - wanted).abs().max()) / scale if scale else 0.0


def _unit(like: Tensor, place: int) -> Tensor:
    unit = torch.zeros_like(like).flatten()
    unit[place] = 1
    return unit.reshape(like.shape)
