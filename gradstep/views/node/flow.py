"""A gradient that flows through a node: its statistics, and a window of its values."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.autograd.nested_shapes import sizes_of
from gradstep.engine.numbers.nonfinite import numbers_of
from gradstep.engine.numbers.norms import norms
from gradstep.engine.numbers.readable import dtype_name, layout_name
from gradstep.engine.reads import Reading, gather
from gradstep.values.views.node import Flow, Rows
from gradstep.views.tensor.statistics import of_tensor

Vectors = Sequence[Tensor | None]
"""A gradient for each output or input; None where there is none."""


def vector_at(vectors: Vectors | None, index: int) -> Tensor | None:
    """Return the gradient of one output or input; None when there is none."""
    return vectors[index] if vectors is not None and index < len(vectors) else None


def flow_of(tensor: Tensor, top: int, left: int, rows: int, columns: int) -> Reading[Flow]:
    """Read the view of a gradient: statistics of the whole, values of a window."""
    shape, dtype = sizes_of(tensor), dtype_name(tensor)
    norm: float | None = None
    if tensor.is_meta:
        return Flow(shape, dtype, note="a meta tensor has a shape and no values")
    note = ""
    if tensor.is_nested:
        note, tensor = "nested: all its rows, concatenated", numbers_of(tensor)
    elif tensor.layout is not torch.strided:
        note = f"{layout_name(tensor)}: elements not stored are 0"
        [norm] = yield from norms([tensor])
        tensor = tensor.to_dense()
    if tensor.is_complex():
        note, tensor = "magnitudes of complex numbers", tensor.abs()
    if not tensor.numel():
        return Flow(shape, dtype, note="empty")
    plain = tensor.detach()
    known, window = yield from gather([of_tensor(plain), window_of(plain, top, left, rows, columns)])
    known = known if norm is None else replace(known, norm=norm)
    return Flow(shape, dtype, known, window, note)


def window_of(tensor: Tensor, top: int, left: int, rows: int, columns: int) -> Reading[Rows]:
    """Read a window onto the last two dimensions of a tensor, at index 0 of the others; a vector is a column."""
    if not tensor.numel() or tensor.is_meta or tensor.layout is not torch.strided:
        return ()
    part = tensor.detach()
    while part.dim() > 2:
        part = part[0]
    square = part.reshape(-1, 1) if part.dim() < 2 else part
    top, left = start(square.shape[0], top, rows), start(square.shape[1], left, columns)
    cells = square[top : top + rows, left : left + columns]
    [real] = yield [cells.abs() if cells.is_complex() else cells]
    return tuple(tuple(row) for row in real.to(torch.float64).tolist())


def start(size: int, first: int, count: int) -> int:
    """Return where a window begins, moved so that it is full if possible."""
    return max(0, min(first, size - count))
