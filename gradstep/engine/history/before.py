"""What was kept from before the command that led to a point, as the views read it: from the checkpoint before it."""

from __future__ import annotations

from torch import nn

from gradstep.engine.bits import same_bits
from gradstep.engine.checkpoint import Checkpoint, Key, name_of
from gradstep.engine.expressions.indexing import Item
from gradstep.engine.held import Held
from gradstep.engine.history.points import TimelinePoint
from gradstep.engine.saving import Grad, OptimizerSaved, Saved, TensorsSaved
from gradstep.values.commands import ACT_NAMES

_GRADS = ("backward", "zero_grad")
_STEPS = ("step", "next_batch")


def word_of(kind: type[object]) -> str:
    """Return what a kind of command is called."""
    return ACT_NAMES.get(kind, kind.__name__.lower())


def saved_before(held: Held, point: TimelinePoint) -> Saved:
    """Return what was before the command that led to a point that the workload is at; nothing where it is not kept.

    The contents are those of the images, not copies: they are true until the workload leaves the point.
    """
    if point.parent is None:
        return Saved()
    before = point.parent.checkpoint
    if before is None or point.checkpoint is None:
        return Saved(known=False)
    now = point.checkpoint.images
    written = ACT_NAMES.get(type(point.command), "")
    edited = not written
    found = Saved()
    kinds = {"weight", "buffer"} if edited or written == "step" else {"buffer"}
    if written not in _GRADS:
        found.tensors = _tensors(before, [key for key in before.images if key[0] in kinds])
    if written == "forward":  # just after one, too, only those that it wrote are kept
        wrote = [key for key, image in before.images.items() if key[0] == "weight" and image is not now.get(key)]
        found.weights = _tensors(before, wrote)
    grads_changed = any(before.images.get(key) is not now.get(key) for key in now if key[0] == "grad")
    if written in _GRADS or grads_changed:
        found.grads = [_grad(before, name, parameter) for name, parameter in held.parameters]
    if written in _STEPS or edited:
        kept = before.optimizer
        found.optimizer = OptimizerSaved(
            _tensors(before, [key for key in before.images if key[0] in ("state", "group")]),
            list(kept.state),
            [(group, were, list(parameters)) for group, were, parameters in kept.groups],
        )
    return found


def began_with(held: Held, point: TimelinePoint) -> Saved | None:
    """Return what the forward began with whose loss a point has, all weights included; None where it is not kept.

    As with `saved_before`, it is true until the workload leaves the point.
    """
    made_by = point.made_by
    before = None if made_by is None or made_by.parent is None else made_by.parent.checkpoint
    if before is None:
        return None
    buffers = [before.images.get(("buffer", name)) for name, _, _ in held.buffer_slots]
    return Saved(
        tensors=_tensors(before, [key for key in before.images if key[0] == "buffer"]),
        weights=_tensors(before, [key for key in before.images if key[0] == "weight"]),
        randomness=before.randomness,
        training=list(before.training),
        grad_mode=before.grad_mode,
        requires_grad=list(before.requires_grad),
        slots=[None if image is None else image.tensor for image in buffers],
    )


def part_differs(point: TimelinePoint, key: Key, items: tuple[Item, ...]) -> bool:
    """Tell whether the command that led to a point changed a part of a tensor; True where that is not known."""
    before = point.parent.checkpoint if point.parent is not None else None
    if before is None or point.checkpoint is None:
        return True
    old, new = before.images.get(key), point.checkpoint.images.get(key)
    if old is None or new is None:
        return old is not new
    one, other = old.contents.detach(), new.contents.detach()
    return one.shape != other.shape or not same_bits(one[items], other[items])


def _tensors(before: Checkpoint, keys: list[Key]) -> TensorsSaved:
    there = [(key, image) for key in keys if (image := before.images[key]) is not None]
    return TensorsSaved(
        [name_of(key) for key, _ in there],
        [image.tensor for _, image in there],
        [image.contents for _, image in there],
        [image.version for _, image in there],
    )


def _grad(before: Checkpoint, name: str, parameter: nn.Parameter) -> Grad:
    image = before.images[("grad", name)]
    kept = (None, None) if image is None else (image.tensor, image.contents)
    return (f"{name}.grad", parameter, *kept)
