"""Two dimensions of a selection as rows and columns, and the others at one index each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from gradstep.engine.numbers.selection import Cut
from gradstep.values.views.tensor import Axis


@dataclass(frozen=True)
class Plane:
    """A part of a tensor with at most two dimensions, in the order in which they are shown."""

    cut: Cut
    """Every other dimension is at an index."""
    dims: tuple[int, ...]
    """Which dimensions of the tensor are rows and columns."""

    def window(self, top: int, left: int, rows: int, columns: int) -> Plane:
        """Return the part that a window shows, moved so that it is full if possible."""
        parts = list(self.cut.parts)
        for dim, first, count in zip(self.dims, (top, left), (rows, columns), strict=False):
            whole = parts[dim]
            assert isinstance(whole, range)
            first = max(0, min(first, len(whole) - count))
            parts[dim] = whole[first : first + count]
        return Plane(Cut(tuple(parts)), self.dims)

    def range(self, place: int) -> range:
        """Return the indices along the rows (0) or the columns (1)."""
        found = self.cut.parts[self.dims[place]]
        assert isinstance(found, range)
        return found

    def rows_first(self, part: Tensor) -> Tensor:
        """Transpose the cut, whose dimensions are in the tensor's order, so that rows come before columns."""
        return part.T if part.dim() == 2 and self.dims[0] > self.dims[1] else part


def axes_of(chosen: Cut) -> tuple[Axis, ...]:
    """Return the dimensions that a selection keeps."""
    kept = ((dim, part) for dim, part in enumerate(chosen.parts) if isinstance(part, range))
    return tuple(Axis(dim, part.start, part.step, len(part)) for dim, part in kept)


def plane_of(chosen: Cut, dims: Sequence[int], at: Sequence[int]) -> Plane:
    """Return the plane of a selection.

    Args:
        chosen: the selection; no dimension that it keeps is empty.
        dims: the dimensions that are rows and columns; the last two that it keeps if these are not among them.
        at: the position along each kept dimension, for those that are not shown; 0 by default.
    """
    axes = axes_of(chosen)
    kept = [axis.dim for axis in axes]
    shown = tuple(dims) if len(dims) == min(2, len(kept)) == len({*dims} & {*kept}) else tuple(kept[-2:])
    places = at if len(at) == len(kept) else [0] * len(kept)
    parts = list(chosen.parts)
    for axis, place in zip(axes, places, strict=True):
        if axis.dim not in shown:
            parts[axis.dim] = axis.index(max(0, min(place, axis.count - 1)))
    return Plane(Cut(tuple(parts)), shown)
