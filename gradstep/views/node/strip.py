"""One row or one column of a node's Jacobian, computed alone: for a J too large to be computed whole."""

from __future__ import annotations

import math

import torch
from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.autograd.jacobian import Jacobian
from gradstep.engine.numbers.norms import norm_of
from gradstep.engine.numbers.selection import unravel
from gradstep.values.views.node import LookNode, Strip
from gradstep.views.node.flow import start

_GREATEST = 8
"""Maximum number of elements with their index."""
_SPARSE = 4
"""When at most one element in so many is not 0, only those are shown."""


def strip_of(found: Jacobian, request: LookNode, v: Tensor | None, left: Tensor | None) -> Strip:
    """Return the requested row or column.

    Args:
        found: the Jacobian.
        request: which row or column.
        v: the incoming gradient, to choose a row by when none is given.
        left: J^T v, to choose a column by.
    """
    row = request.strip == "row"
    own, across = (found.out_shape, found.in_shape) if row else (found.in_shape, found.out_shape)
    number = _number(request.at, own) if request.at else _farthest(v if row else left)
    if number is None:
        side = "output" if row else "input"
        return Strip(request.strip, -1, request.at, note=f"the {side} has shape {own}: no element {list(request.at)}")
    strip = Strip(request.strip, number, unravel(number, own), math.prod(across), across)
    values, how = _row(found, number) if row else _column(found, number)
    if values is None:
        return replace(strip, note=how)
    wide = values.detach().to(torch.float64).cpu()
    nonzero = wide.nonzero().flatten()
    sparse = 0 < len(nonzero) * _SPARSE <= len(wide)
    first = start(len(wide), int(nonzero[0]) if len(nonzero) else 0, request.span)
    seen = nonzero[: request.span] if sparse else torch.arange(first, min(first + request.span, len(wide)))
    order = torch.argsort(wide.abs(), descending=True, stable=True)[: min(_GREATEST, len(nonzero))].tolist()
    return replace(
        strip,
        window=tuple(wide[seen].tolist()),
        sparse=sparse,
        ends=(unravel(int(seen[0]), across), unravel(int(seen[-1]), across)) if len(seen) else ((), ()),
        nonzero=len(nonzero),
        norm=norm_of(wide),
        greatest=tuple((unravel(place, across), float(wide[place])) for place in order),
        how=how,
    )


def _number(at: tuple[int, ...], shape: tuple[int, ...]) -> int | None:
    """Return the flat index of an element; None when there is no such element."""
    if len(at) == 1 and len(shape) != 1:
        total = math.prod(shape)
        return at[0] % total if -total <= at[0] < total else None
    if len(at) != len(shape) or not all(-size <= place < size for place, size in zip(at, shape, strict=True)):
        return None
    number = 0
    for place, size in zip(at, shape, strict=True):
        number = number * size + place % size
    return number


def _farthest(vector: Tensor | None) -> int:
    """Return the flat index of the element farthest from 0; the first when they are unknown."""
    if vector is None or not vector.numel() or vector.layout is not torch.strided:
        return 0
    return int(vector.detach().abs().nan_to_num(nan=math.inf).argmax())


def _row(found: Jacobian, number: int) -> tuple[Tensor | None, str]:
    return found.rows(number, 1)[0], "Jᵀe by one run of the node, e = 1 at that element"


def _column(found: Jacobian, number: int) -> tuple[Tensor | None, str]:
    column = found.column(number)
    if column is not None:
        return column, "Je by the gradient of Jᵀv with respect to v, e = 1 at that element"
    if found.fits:
        return found.whole()[:, number], f"picked from all {found.shape[0]:,} rows of J"
    return None, "torch has no double backward for this node, and J is too large to be computed for a single column"
