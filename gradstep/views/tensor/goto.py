"""Elements of a tensor to go to: its extremes over the selected slice, as indices."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.held import Held
from gradstep.engine.numbers.readable import part, real, why_not
from gradstep.engine.numbers.selection import Cut, cut
from gradstep.values.views.tensor import Extreme, LookPlace, PlaceView
from gradstep.views.tensor.before_after import changes, side_of
from gradstep.views.tensor.plane import axes_of
from gradstep.views.tensor.view import Selection

_ROWS = 1 << 18
"""Elements that are compared at a time, to keep intermediate tensors small."""
_DENSE = 1 << 24
"""Elements up to which a sparse tensor is searched."""

SCORES: dict[Extreme, Callable[[Tensor], Tensor]] = {
    "max": lambda values: values,
    "min": lambda values: -values,
    "abs": lambda values: values.abs(),
    "change": lambda values: values.abs(),
    "nan": lambda values: torch.where(values.isnan(), 1.0, torch.nan),
    "inf": lambda values: torch.where(values.isinf(), 1.0, torch.nan),
}
"""The score of each element: the greatest wins, NaN never does."""
_NONE: dict[Extreme, str] = {"nan": "no NaN in it", "inf": "no inf in it", "change": "nothing changed in it"}


def place_view(held: Held, stop: int, selection: Selection | None, tensor: Tensor | None, look: LookPlace) -> PlaceView:
    """Return the index of an extreme of the selected slice: the first of several.

    Args:
        held: the held workload.
        stop: the number of the stop.
        selection: what is selected; None for nothing.
        tensor: the selected tensor as it is now; None when there is none at this stop.
        look: which extreme, and whether of `.grad`.
    """
    name = "" if selection is None else selection.line + (".grad" if look.grad else "")
    nothing = PlaceView(stop, name, look.extreme)
    if selection is None or tensor is None:
        return _why(nothing, "there is nothing to search")
    searched = (tensor.grad if tensor.is_leaf else None) if look.grad else tensor
    if searched is None:
        return _why(nothing, "there is no .grad")
    reason = why_not(searched)
    if reason or (searched.layout is not torch.strided and searched.numel() > _DENSE):
        return _why(nothing, reason or "it is sparse, and too large to be searched")
    chosen = cut(searched.shape, selection.items)
    parts = [part(searched, chosen)]
    read: Callable[[Sequence[Tensor]], Tensor] = _read
    if look.extreme == "change":
        side = side_of(held, selection.path + (".grad" if look.grad else ""), searched)
        if side.past == "unknown":
            return _why(nothing, "its values before were not kept")
        if side.before is not None:
            parts.append(part(side.before, chosen))
            read = changes
    return _placed(nothing, chosen, _first_greatest(parts, read, SCORES[look.extreme]))


def place_between(nothing: PlaceView, second: Tensor, first: Tensor | None) -> PlaceView:
    """Return the index of an extreme of second minus first; without a first, of the second."""
    chosen = cut(second.shape, ())
    parts = [part(tensor, chosen) for tensor in (second, first) if tensor is not None]
    read = _read if first is None else changes
    return _placed(nothing, chosen, _first_greatest(parts, read, SCORES[nothing.extreme]))


def _placed(nothing: PlaceView, chosen: Cut, found: tuple[int, float] | None) -> PlaceView:
    """Return the flat index of the element found in a slice; or why there is none."""
    if found is None or (nothing.extreme == "change" and found[1] == 0):
        return _why(nothing, _NONE.get(nothing.extreme, "there is no number in it"))
    flat, value = found
    index = [entry if isinstance(entry, int) else 0 for entry in chosen.parts]
    for axis in reversed(axes_of(chosen)):
        flat, place = divmod(flat, axis.count)
        index[axis.dim] = axis.index(place)
    return replace(nothing, index=tuple(index), value=value)


def _why(nothing: PlaceView, why: str) -> PlaceView:
    return replace(nothing, why=why)


def _read(parts: Sequence[Tensor]) -> Tensor:
    return real(parts[0])


def _first_greatest(
    parts: Sequence[Tensor], read: Callable[[Sequence[Tensor]], Tensor], score: Callable[[Tensor], Tensor]
) -> tuple[int, float] | None:
    """Return the flat index and the value of the element with the greatest score; None when all are NaN."""
    whole = parts[0]
    row = math.prod(whole.shape[1:])
    lines = [part.reshape(1) for part in parts] if whole.dim() == 0 else list(parts)
    best, found = -math.inf, None
    step = max(1, _ROWS // max(1, row))
    for start in range(0, lines[0].shape[0], step):
        numbers = read([part[start : start + step].reshape(-1) for part in lines])
        scores = score(numbers)
        if scores.isnan().any():
            valid = ~scores.isnan()
            if not valid.any():
                continue
            scores = torch.where(valid, scores, -math.inf)
            place = int(scores.argmax()) if float(scores.max()) > -math.inf else int(valid.to(torch.uint8).argmax())
        else:
            place = int(scores.argmax())
        here = float(scores[place])
        if found is None or here > best:
            best, found = here, (start * row + place, float(numbers[place]))
    return found
