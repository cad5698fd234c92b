"""The selected part of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

Part = int | range
"""The selection along one dimension: one index, or a range."""


@dataclass(frozen=True)
class Cut:
    """A selected part of a tensor; a dimension with a single index is dropped, as in torch."""

    parts: tuple[Part, ...]

    @property
    def kept(self) -> tuple[range, ...]:
        """The dimensions that remain."""
        return tuple(part for part in self.parts if isinstance(part, range))

    def of(self, tensor: Tensor) -> Tensor:
        """Return this part of a tensor as a view."""
        return tensor[tuple(_slice(part) if isinstance(part, range) else part for part in self.parts)]


def cut(shape: Sequence[int], items: Sequence[object]) -> Cut:
    """Return the part that an index selects: ints, slices with a positive step, and at most one Ellipsis.

    The index must be valid for the shape.
    """
    given = list(items)
    if Ellipsis in given:
        place = given.index(Ellipsis)
        given[place : place + 1] = [slice(None)] * (len(shape) - len(given) + 1)
    given += [slice(None)] * (len(shape) - len(given))
    parts: list[Part] = []
    for size, item in zip(shape, given, strict=True):
        if isinstance(item, slice):
            parts.append(range(*item.indices(size)))
        else:
            assert isinstance(item, int)
            parts.append(item % size)
    return Cut(tuple(parts))


def unravel(flat: int, shape: Sequence[int]) -> tuple[int, ...]:
    """Return the index of an element from its flat index, as `torch.unravel_index` does."""
    index = []
    for size in reversed(shape):
        flat, place = divmod(flat, size)
        index.append(place)
    return tuple(reversed(index))


def index_text(index: Sequence[int]) -> str:
    """Write an index as torch does; empty for a scalar."""
    return f"[{', '.join(map(str, index))}]" if index else ""


def _slice(part: range) -> slice:
    return slice(part.start, part.stop, part.step)
