"""The state before the command that led to a point, as views read it: from the checkpoint before."""

from __future__ import annotations

from collections.abc import Iterable

from gradstep.engine.bits import same_bits
from gradstep.engine.expressions.indexing import Item
from gradstep.engine.history.points import TimelinePoint
from gradstep.engine.state import registry
from gradstep.engine.state.part import Key
from gradstep.engine.state.saved import Copies, Saved
from gradstep.engine.state.snapshot import Checkpoint
from gradstep.values.commands import ACT_NAMES


def command_name(kind: type[object]) -> str:
    """Return the name of a kind of command."""
    return ACT_NAMES.get(kind, kind.__name__.lower())


def saved_before(point: TimelinePoint) -> Saved:
    """Return the state before the command that led to the present point; an unknown one when it was not kept.

    The contents are those of the images, not copies: they are valid until the workload leaves the point.
    """
    if point.parent is None:
        return Saved()
    before = point.parent.checkpoint
    if before is None or point.checkpoint is None:
        return Saved(known=False)
    kinds = {key[0] for key in point.wrote}
    several = [part for part in registry.PARTS if part.name in point.parts or not kinds.isdisjoint(part.kinds)]
    captured = {part.name: before.captured[part.name] for part in several}
    return Saved(_copies(before, point.wrote), captured)


def began_with(point: TimelinePoint) -> Saved | None:
    """Return the state that the forward of a point's loss started from, all weights included; None when not kept.

    As with `saved_before`, it is valid until the workload leaves the point.
    """
    made_by = point.made_by
    before = None if made_by is None or made_by.parent is None else made_by.parent.checkpoint
    if before is None:
        return None
    captured = {part.name: before.captured[part.name] for part in registry.PARTS if part.restored_for_rerun}
    kinds = {kind for part in registry.PARTS if part.restored_for_rerun for kind in part.kinds}
    return Saved(_copies(before, [key for key in before.images if key[0] in kinds]), captured, before.grad_mode)


def part_differs(point: TimelinePoint, key: Key, items: tuple[Item, ...]) -> bool:
    """Return whether the command that led to a point changed a part of a tensor; True when unknown."""
    before = point.parent.checkpoint if point.parent is not None else None
    if before is None or point.checkpoint is None:
        return True
    old, new = before.images.get(key), point.checkpoint.images.get(key)
    if old is None or new is None:
        return old is not new
    one, other = old.contents.detach(), new.contents.detach()
    return one.shape != other.shape or not same_bits(one[items], other[items])


def _copies(before: Checkpoint, keys: Iterable[Key]) -> Copies:
    rows = [(key, image) for key in keys if (image := before.images.get(key)) is not None]
    return Copies(
        [key for key, _ in rows],
        [image.tensor for _, image in rows],
        [image.contents for _, image in rows],
        [image.version for _, image in rows],
    )
