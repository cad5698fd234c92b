"""The arguments of `element` and `dims`: an element of the selected tensor, and the dimensions to show."""

from __future__ import annotations

import re

from gradstep.values import numbers
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.views.tensor import EXTREMES, LookPlace, PlaceView, TensorView

WORDS = {
    "max": "the largest",
    "min": "the smallest",
    "abs": "the largest magnitude",
    "change": "the one that changed most",
    "nan": "the first NaN",
    "inf": "the first inf",
}
"""The description of each extreme that the cursor can go to."""
USAGE = "element 3, 17  or  element max, min, abs, change, nan or inf; grad after it means .grad"


def read_place(text: str, view: TensorView) -> tuple[int, ...] | LookPlace:
    """Parse an element of the selection: an index into the whole tensor, or an extreme to look up.

    An index has a number for each dimension, or for each that the slice keeps; negative ones count from the end.

    Raises:
        GradstepError: it is neither, or it is outside the slice.
    """
    word, _, rest = text.strip().lower().partition(" ")
    extreme = next((name for name in EXTREMES if name == word), None)
    if extreme is not None and rest.strip() in ("", "grad", ".grad"):
        return LookPlace(extreme, bool(rest.strip()))
    parts = [part for part in re.split(r"[\s,\[\]]+", text) if part]
    if not parts or not all(re.fullmatch(r"[+-]?\d+", part) for part in parts):
        raise wrong(
            f"`{text.strip()}` is not an element", "It is neither an index nor an extreme.", f"Write: {USAGE}", word
        )
    return _inside([int(part) for part in parts], view)


def _inside(given: list[int], view: TensorView) -> tuple[int, ...]:
    axes, rank = view.axes, len(view.whole)
    if len(given) not in (rank, len(axes)):
        kept = f", or {len(axes)} into {view.name}" if len(axes) != rank else ""
        raise wrong(f"it takes {numbers.count(rank, 'number')}{kept}", f"{view.path} has shape {view.whole}.", USAGE)
    if len(given) == rank:
        index = dict(enumerate(given))
    else:
        fixed = {dim: place for dim, place in enumerate(view.place) if place is not None}
        index = {**fixed, **{axis.dim: number for axis, number in zip(axes, given, strict=True)}}
    for dim, size in enumerate(view.whole):
        number = index[dim]
        if not -size <= number < size:
            raise wrong(
                f"index {number} is out of range", f"Dimension {dim} has size {size:,}.", f"Write 0 to {size - 1}."
            )
        index[dim] = number % size
    found = tuple(index[dim] for dim in range(rank))
    if places_of(found, view) is None:
        raise _outside(found, view)
    return found


def places_of(index: tuple[int, ...], view: TensorView) -> list[int] | None:
    """Return the position of an index along each dimension of the slice; None outside the slice."""
    kept = {axis.dim for axis in view.axes}
    if any(at is not None and dim not in kept and at != index[dim] for dim, at in enumerate(view.place)):
        return None
    places = [axis.place(index[axis.dim]) for axis in view.axes]
    found = [place for place in places if place is not None]
    return found if len(found) == len(places) else None


def _outside(index: tuple[int, ...], view: TensorView) -> GradstepError:
    remedy = f"Select the whole tensor first: show {view.path}"
    return wrong(f"{list(index)} is not in the selection", f"{view.name} leaves it out.", remedy)


def place_words(found: PlaceView) -> str:
    """Return the position of an extreme, or why there is none."""
    if found.index is None:
        return f"{found.name}: {found.why}"
    return f"{found.name}: {WORDS[found.extreme]} is {list(found.index)}, {numbers.single(found.value)}"


def read_dims(text: str, view: TensorView) -> tuple[int, int]:
    """Parse the two dimensions to show as rows and columns.

    Raises:
        GradstepError: these are not two of the dimensions of the slice.
    """
    kept = [axis.dim for axis in view.axes]
    parts = [part for part in re.split(r"[\s,]+", text) if part]
    if len(kept) < 2:
        raise wrong("there are no two dimensions", f"{view.name} has shape {view.shape}.", "Show more of it.")
    if len(parts) != 2 or not all(re.fullmatch(r"-?\d+", part) for part in parts):
        raise wrong("dims takes two dimensions", f"{view.name} has {kept}.", "Write, for instance: dims 0 1")
    rows, columns = (int(part) % len(view.whole) for part in parts)
    if rows == columns or rows not in kept or columns not in kept:
        raise wrong(f"dims {rows} {columns} can't be shown", f"{view.name} has {kept}.", "Name two of those.")
    return rows, columns
