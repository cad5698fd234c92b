"""Indexes tensors and lists as torch does, but raises where torch would return an empty slice."""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType
from typing import TypeAlias

from torch import Tensor

from gradstep.engine.expressions.functions import kind_of
from gradstep.values.errors import wrong

Item: TypeAlias = int | slice | EllipsisType
"""One part of an evaluated index."""


def whole_number(value: object, written: str) -> int:
    """Return a number of an index as an int.

    Raises:
        GradstepError: it is not a whole number.
    """
    if isinstance(value, Tensor) and value.dim() == 0 and not value.is_floating_point():
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong("an index must be a whole number", f"`{written}` is {kind_of(value)}.", subject=written)
    return value


def check_index(shape: Sequence[int], items: Sequence[Item], name: str, written: Sequence[str]) -> None:
    """Check an index against a shape.

    Args:
        shape: the sizes of the dimensions.
        items: the index.
        name: the name of the tensor, for the message.
        written: each part of the index as typed, for the caret.

    Raises:
        GradstepError: there are too many parts, or one is out of range.
    """
    sizes = tuple(shape)
    what = f"`{name}` has shape {sizes}."
    dots = [i for i, item in enumerate(items) if item is ...]
    count = len(items) - len(dots)
    if len(dots) > 1:
        raise wrong("`...` may appear only once in an index", what, subject="...")
    if count > len(sizes):
        remedy = f"Give at most {len(sizes)}." if sizes else "It is a scalar: omit the index."
        raise wrong("1 index is too many" if count == 1 else f"{count} indices are too many", what, remedy, written[-1])
    after = len(items) - dots[0] - 1 if dots else 0
    for i, item in enumerate(items):
        dimension = len(sizes) - (len(items) - i) if dots and i > len(items) - 1 - after else i
        if isinstance(item, int):
            _check_number(item, dimension, sizes[dimension], what, written[i])
        elif isinstance(item, slice):
            _check_slice(item, dimension, sizes[dimension], what, written[i])


def _check_number(number: int, dimension: int, size: int, what: str, written: str) -> None:
    if not -size <= number < size:
        remedy = f"Dimension {dimension} takes 0 to {size - 1}, or -1 to -{size} from the end."
        title = f"index {number} is out of range"
        raise wrong(title, what, remedy if size else f"Dimension {dimension} is empty.", written)


def _check_slice(part: slice, dimension: int, size: int, what: str, written: str) -> None:
    step: int | None = part.step
    start: int | None = part.start
    if step is not None and step < 1:
        raise wrong("a slice must step forward", what, "Give a step of 1 or more.", written)
    if start is not None and (start >= size or start < -size) and (start, size) != (0, 0):
        raise wrong(f"the slice begins at {start}", what, f"Dimension {dimension} ends at {size - 1}.", written)
