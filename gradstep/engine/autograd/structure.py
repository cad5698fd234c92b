"""The structure of a Jacobian, found from J^T v for a few v, so that the size of J does not matter.

Each test is an identity that holds for every v if and only if J has the structure. It is tried on random v: a J
without the structure passes with probability zero, up to rounding (as in Freivalds' algorithm).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gradstep.engine.autograd.derivatives import elementwise, shapes
from gradstep.engine.autograd.graph import node_name
from gradstep.engine.autograd.jacobian import Jacobian
from gradstep.engine.autograd.saved_values import settings
from gradstep.values.numbers import short

Name = Literal[
    "zero",
    "identity",
    "scaled identity",
    "diagonal",
    "permutation",
    "selection",
    "sums",
    "copies",
    "constant",
    "block diagonal",
    "interleaved blocks",
    "triangular",
    "no structure",
    "not known",
]

COST = 1 << 20
"""Elements up to which a run of the node is tried unasked; a search takes about ten runs."""

_PERMUTED = "a permutation: the same elements in another order"


@dataclass(frozen=True)
class Structure:
    """The structure of a Jacobian."""

    name: Name
    words: str
    """E.g. `diagonal`, `16 blocks of 10×256 on the diagonal, all the same`."""
    diagonal: Tensor | None = None
    """The diagonal of a diagonal J, flat."""


def structure_of(jacobian: Jacobian, insist: bool = False) -> Structure:
    """Return the structure of J; `insist` searches whatever one run of the node costs."""
    if not all(jacobian.shape):
        return Structure("zero", "empty")
    known = _by_operation(jacobian)
    if known is not None:
        return known
    if jacobian.row_cost > COST and not insist:
        return Structure("not known", f"not searched for: one run computes {jacobian.row_cost:,} numbers")
    probe = _Probe(jacobian)
    found = probe.zero() or probe.diagonal() or probe.rearrangement() or probe.blocks()
    return found or _from_elements(jacobian)


def _by_operation(jacobian: Jacobian) -> Structure | None:
    """Return the structure that follows from the operation alone, with at most one run of the node."""
    name = node_name(jacobian.node)
    outs, ins = jacobian.out_shape, jacobian.in_shape
    if name in shapes.SAME_ORDER and outs and ins:
        return Structure("identity", "identity", torch.ones((), device=jacobian.device).expand(jacobian.shape[0]))
    order = shapes.order_of(name, settings(jacobian.node), len(outs))
    if order is not None:
        long = [dim for dim in order if ins[dim] > 1]
        if long == sorted(long):
            return Structure("identity", "identity", torch.ones((), device=jacobian.device).expand(jacobian.shape[0]))
        return Structure("permutation", _PERMUTED)
    if name in elementwise.TABLE and outs == ins:
        return _diagonal(jacobian.times(torch.ones(outs, dtype=jacobian.dtype, device=jacobian.device)).flatten())
    if name in ("MmBackward0", "AddmmBackward0") and min(outs) > 1 and min(ins) > 1:
        (rows, columns), place = outs, jacobian.edge - (name == "AddmmBackward0")
        if place == 0:
            words = f"block diagonal: {rows:,} blocks of {columns:,}×{ins[1]:,}, all the same"
            return Structure("block diagonal", words)
        if place == 1:
            return Structure("interleaved blocks", f"{columns:,} blocks of {rows:,}×{ins[0]:,}, interleaved")
    return None


def _diagonal(diagonal: Tensor) -> Structure:
    least, most = diagonal.aminmax()
    if not bool(least == most):
        return Structure("diagonal", "diagonal", diagonal)
    factor = float(least)
    if factor in (0, 1):
        return Structure("identity", "identity", diagonal) if factor else Structure("zero", "all zero")
    return Structure("scaled identity", f"identity × {short(factor, 4)}", diagonal)


class _Probe:
    """The tests with chosen v."""

    def __init__(self, jacobian: Jacobian) -> None:
        self._j = jacobian
        self._generator = torch.Generator().manual_seed(0)
        self._random = [self._normal(jacobian.out_shape, jacobian.dtype) for _ in range(2)]
        self._made = [jacobian.times(v) for v in self._random]

    def zero(self) -> Structure | None:
        return None if any(bool(made.any()) for made in self._made) else Structure("zero", "all zero")

    def diagonal(self) -> Structure | None:
        rows, columns = self._j.shape
        if rows != columns:
            return None
        diagonal = self._j.times(torch.ones_like(self._random[0])).flatten()
        for v, made in zip(self._random, self._made, strict=True):
            if not _close(made.flatten(), diagonal * v.flatten().to(diagonal.dtype)):
                return None
        return _diagonal(diagonal)

    def rearrangement(self) -> Structure | None:
        """Test whether J only moves elements: each of J^T v is one of v or zero, or each of J u is one of u or zero."""
        rows, columns = self._j.shape
        picked = self._source(self._j.times, self._random, self._made)
        if picked is not None:
            uses = torch.bincount(picked, minlength=rows + 1)
            if int(uses[1:].max()) > 1:
                return Structure("sums", f"ones and zeros: each output is a sum of {_range(uses[1:])} inputs")
            if rows == columns and not uses[0]:
                return Structure("permutation", _PERMUTED)
            used = rows - int((uses[1:] == 0).sum())
            return Structure("selection", f"ones and zeros: {used:,} of {columns:,} inputs picked")
        given = [self._normal(self._j.in_shape, self._j.in_dtype) for _ in range(2)]
        made = [made for made in map(self._j.along, given) if made is not None]
        read = self._source(self._j.along, given, made) if len(made) == len(given) else None
        if read is None:
            return None
        uses = torch.bincount(read, minlength=columns + 1)[1:]
        return Structure("copies", f"ones and zeros: each input is read {_range(uses)} times")

    def _source(
        self, linear: Callable[[Tensor], Tensor | None], given: Sequence[Tensor], made: Sequence[Tensor]
    ) -> Tensor | None:
        """Return for each result the input that it equals, counted from 1, or 0 for zero; None if it is not a copy."""
        first = given[0]
        exact = 2 / max(torch.finfo(first.dtype).eps, torch.finfo(made[0].dtype).eps)
        if first.numel() >= exact:
            return None  # this dtype can't represent all indices
        places = torch.arange(1, first.numel() + 1, device=first.device)
        moved = linear(places.to(first.dtype).reshape(first.shape))
        assert moved is not None
        seen = moved.flatten()
        if not bool(((seen >= 0) & (seen <= first.numel()) & (seen == seen.round())).all()):
            return None
        source = seen.long()
        for value, result in zip(given, made, strict=True):
            padded = torch.cat([torch.zeros_like(first.flatten()[:1]), value.flatten()]).to(result.dtype)
            if not torch.equal(padded[source], result.flatten()):
                return None
        return source

    def blocks(self) -> Structure | None:
        """Find a dimension that output and input share, along which elements do not mix."""
        outs, ins = self._j.out_shape, self._j.in_shape
        shared = 0
        while shared < min(len(outs), len(ins)) and outs[shared] == ins[shared] and self._keeps(shared, shared):
            shared += 1
        count = math.prod(outs[:shared])
        if count > 1:
            same = ", all the same" if self._alike(shared) else ""
            size = f"{self._j.shape[0] // count:,}×{self._j.shape[1] // count:,}"
            return Structure("block diagonal", f"block diagonal: {count:,} blocks of {size}{same}")
        for place in range(1, min(len(outs), len(ins)) + 1):
            if outs[-place] == ins[-place] > 1 and self._keeps(len(outs) - place, len(ins) - place):
                count = outs[-place]
                size = f"{self._j.shape[0] // count:,}×{self._j.shape[1] // count:,}"
                return Structure("interleaved blocks", f"{count:,} blocks of {size}, interleaved")
        return None

    def _keeps(self, out: int, into: int) -> bool:
        """Return whether scaling slices of v along a dimension scales those of J^T v: exactly, by powers of two."""
        for v, made in zip(self._random, self._made, strict=True):
            size = self._j.out_shape[out]
            powers = 2.0 ** ((torch.arange(size) + torch.randint(9, (1,), generator=self._generator)) % 9 - 4)
            powers = powers.to(self._j.device)
            scaled = self._j.times(v * powers.to(v.dtype).reshape([-1] + [1] * (v.dim() - out - 1)))
            wanted = made * powers.to(made.dtype).reshape([-1] + [1] * (made.dim() - into - 1))
            if not torch.equal(scaled, wanted):
                return False
        return True

    def _alike(self, shared: int) -> bool:
        """Return whether all blocks are the same: equal slices of v give equal slices of J^T v."""
        one = self._random[0][(slice(0, 1),) * shared]
        made = self._j.times(one.expand(self._j.out_shape).contiguous())
        return bool((made == made[(slice(0, 1),) * shared]).all())

    def _normal(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.randn(shape, generator=self._generator, dtype=torch.float32).to(self._j.device, dtype)


def _from_elements(jacobian: Jacobian) -> Structure:
    """Return the structure from the elements of J, if it is small."""
    if not jacobian.fits:
        return Structure("no structure", "no simple structure")
    whole = jacobian.whole()
    least, most = whole.aminmax()
    if bool(least == most):
        return Structure("constant", f"every element {short(float(least), 4)}")
    if whole.shape[0] == whole.shape[1] and whole.shape[0] > 1:
        for side, part in (("lower", whole.tril()), ("upper", whole.triu())):
            if torch.equal(part, whole):
                return Structure("triangular", f"{side} triangular")
    zeros = int((whole == 0).sum())
    return Structure("no structure", f"{zeros / whole.numel():.0%} zeros" if zeros else "no zeros")


def _close(made: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(made, wanted, rtol=8 * torch.finfo(made.dtype).eps, atol=0)


def _range(counts: Tensor) -> str:
    least, most = (int(end) for end in counts.aminmax())
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"
