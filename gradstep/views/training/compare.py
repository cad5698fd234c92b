"""The Compare view: how two points of the timeline differ, tensor by tensor."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from gradstep.engine.bits import beside, different
from gradstep.engine.history.points import TimelinePoint, fork_of
from gradstep.engine.history.timeline import Timeline
from gradstep.engine.history.travel import keep_both
from gradstep.engine.numbers.norms import norm_of, wide
from gradstep.engine.numbers.selection import unravel
from gradstep.engine.state import registry
from gradstep.engine.state.part import Key
from gradstep.engine.state.snapshot import Checkpoint
from gradstep.values import numbers
from gradstep.values.views.timeline import CompareLoss, CompareRow, CompareView, LookCompare
from gradstep.views.training.changes import same_contents


def compare_view(timeline: Timeline, stop: int, look: LookCompare) -> CompareView:
    """Return the differences between two points. Points that were not kept are run again.

    Raises:
        GradstepError: there is no such point, or it can't be reached.
    """
    first, second = timeline.named(look.first), timeline.named(look.second)
    one, other = keep_both(timeline, first, second)
    keys = list(dict.fromkeys((*one.images, *other.images)))
    pairs = [(key, _contents(one, key), _contents(other, key)) for key in keys]
    rows = tuple(_row(key, a, b) for key, a, b in pairs if not same_contents(a, b))
    return CompareView(
        stop,
        first.number,
        second.number,
        fork_of(first, second).number,
        rows,
        tuple(_others(one, other)),
        len(pairs) - len(rows),
        first.loss,
        second.loss,
        _losses(first, look.points),
        _losses(second, look.points),
        (look.first, look.second),
    )


def compare_words(view: CompareView) -> str:
    """Return the differences between two points as text: a line for each tensor."""
    head = f"stop {view.first} and stop {view.second}"
    if not view.rows and not view.others:
        return f"{head} are identical, bit for bit"
    lines = [f"{head} differ in {len(view.rows)} of {len(view.rows) + view.same} tensors"]
    if view.loss_first != view.loss_second:
        first, second = (numbers.loss(loss) or "none" for loss in (view.loss_first, view.loss_second))
        lines.append(f"  loss: {first} and {second}")
    lines += [f"  {line}" for line in view.others]
    width = max((len(row.name) for row in view.rows), default=0)
    for row in view.rows:
        how = "" if row.norm is None else f"; norm of the difference {numbers.norm(row.norm)}"
        where = "" if row.largest is None else f", largest {numbers.single(row.largest)} at {list(row.at)}"
        lines.append(f"  {row.name:<{width}}  {row.first} and {row.second}{how}{where}")
    return "\n".join(lines)


def _contents(checkpoint: Checkpoint, key: Key) -> Tensor | None:
    image = checkpoint.images.get(key)
    return None if image is None else image.contents


def _row(key: Key, one: Tensor | None, other: Tensor | None) -> CompareRow:
    part = registry.part_of(key)
    row = CompareRow(part.title(key), part.kinds[key[0]], _word(one), _word(other))
    if one is None or other is None or one.shape != other.shape or one.dtype != other.dtype:
        return row
    if one.layout is not torch.strided or one.is_meta:
        return row
    one = beside(one, other)
    moved = wide(other.detach()) - wide(one.detach())
    size = moved.abs().flatten()
    place = int(size.isnan().int().argmax() if bool(size.isnan().any()) else size.argmax()) if size.numel() else 0
    largest = moved.flatten()[place] if size.numel() else None
    at = unravel(place, moved.shape) if size.numel() else ()
    plain = largest is not None and not largest.is_complex()
    return CompareRow(
        row.name,
        row.kind,
        row.first,
        row.second,
        norm_of(moved),
        float(largest) if plain and largest is not None else None,
        at,
        int(different(one, other).sum()),
        one.numel(),
    )


def _word(tensor: Tensor | None) -> str:
    if tensor is None:
        return "none"
    norm = norm_of(tensor.detach())
    if tensor.numel() == 1 and not tensor.is_meta:
        return numbers.single(float(tensor)) if not tensor.is_complex() else str(tensor.item())
    if norm is None:
        return str(tuple(tensor.shape))
    return "zero" if norm == 0 else f"norm {numbers.norm(norm)}"


def _others(one: Checkpoint, other: Checkpoint) -> Iterator[str]:
    """Yield the differences other than tensors, as text."""
    for part in registry.PARTS:
        if part.name in one.captured and part.name in other.captured:
            yield from part.differ(one.captured[part.name], other.captured[part.name])


def _losses(point: TimelinePoint, most: int) -> tuple[CompareLoss, ...]:
    found = [CompareLoss(*each, number) for number, each in enumerate(Timeline.losses(point)[0], 1)]
    every = max(1, math.ceil(len(found) / max(1, most)))
    return tuple(found[len(found) - 1 :: -every][::-1]) if found else ()
