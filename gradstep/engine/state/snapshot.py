"""Checkpoints: take one of everything the next phase can depend on, and restore it in place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.debuggee.loop import Point
from gradstep.engine.state import registry
from gradstep.engine.state.images import Image, Images
from gradstep.engine.state.loop import Loop
from gradstep.engine.state.part import Key
from gradstep.engine.state.saved import Saved, restore_parts


class Checkpoint(Struct, frozen=True):
    """The whole state at one point. It shares what did not change with the checkpoint before."""

    images: dict[Key, Image | None]
    """The contents of each tensor of the state."""
    captured: dict[str, Any]
    """The capture of each part, by the part's name."""

    @property
    def point(self) -> Point:
        """The state of the training loop."""
        found: Point = self.captured[Loop.name].point
        return found

    @property
    def grad_mode(self) -> bool:
        """Torch's grad mode."""
        return bool(self.captured[Loop.name].grad_mode)

    def without_graphs(self) -> Checkpoint:
        """Return this checkpoint without live graphs: to have one back, its forward must be rerun."""
        captured = {part.name: part.without_graphs(self.captured[part.name]) for part in registry.PARTS}
        return replace(self, captured=captured)


def tensors_of(held: Debuggee) -> Iterator[tuple[Key, Tensor | None]]:
    """Yield every tensor of the state by key, None for an empty slot; a shared tensor once for each of its keys."""
    for part in registry.PARTS:
        yield from part.tensors(held, part.present(held))


def take(held: Debuggee, images: Images, before: Checkpoint | None, saved: Saved | None) -> Checkpoint:
    """Return a checkpoint of a held workload as it is now.

    Args:
        held: the workload.
        images: the images of its tensors.
        before: the checkpoint of the point before, to share with.
        saved: what the act in between may have written; None for anything.
    """
    captured: dict[str, Any] = {}
    seen: dict[Key, Image | None] = {}
    for part in registry.PARTS:
        written = part.always_captured or saved is None or part.name in saved.captured
        now = part.capture(held) if before is None or written else before.captured[part.name]
        captured[part.name] = now
        for key, tensor in part.tensors(held, now):
            seen[key] = None if tensor is None else images.current(tensor)
    return Checkpoint(seen, captured)


def restore(held: Debuggee, images: Images, checkpoint: Checkpoint) -> None:
    """Restore a checkpoint: the same objects with the old contents.

    The graph of the loss is not part of it: if it was alive, its forward must be rerun.
    """
    images.load(image for image in checkpoint.images.values() if image is not None)
    restore_parts(held, checkpoint.captured)


def size_of(checkpoint: Checkpoint, before: Checkpoint | None) -> int:
    """Return the approximate bytes of a checkpoint outside of images that it does not share with the one before."""
    shared = {} if before is None else before.images
    new = sum(image is not None and shared.get(key) is not image for key, image in checkpoint.images.items())
    size = _POINT + _ENTRY * len(checkpoint.images) + _IMAGE * new
    for part in registry.PARTS:
        captured, old = checkpoint.captured[part.name], None if before is None else before.captured[part.name]
        size += 0 if captured is old else part.size(captured, old)
    return size


# measured as the growth of the process over a few hundred loops with 4, 40 and 400 small parameters
_POINT = 5_000
"""Approximate bytes of Python objects for one point."""
_ENTRY = 200
"""Approximate bytes of Python objects for each tensor of the state, whether it changed or not."""
_IMAGE = 1_000
"""Approximate bytes of an image and of the tensor that holds its copy, without their contents."""
