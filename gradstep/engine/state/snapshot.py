"""A checkpoint: everything the next phase can depend on at one point, and putting it back in place."""

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
    """Everything at one point. What did not change since the point before is shared with it."""

    images: dict[Key, Image | None]
    """What each tensor of the state held."""
    kept: dict[str, Any]
    """What was captured of each part, by the part's name."""

    @property
    def point(self) -> Point:
        """Where the loop stood."""
        found: Point = self.kept[Loop.name].point
        return found

    @property
    def grad_mode(self) -> bool:
        """Torch's grad mode."""
        return bool(self.kept[Loop.name].grad_mode)

    def without_graphs(self) -> Checkpoint:
        """Return the same without a graph that is alive: where there was one, its forward has to be run again."""
        return replace(self, kept={part.name: part.without_graphs(self.kept[part.name]) for part in registry.PARTS})


def tensors_of(held: Debuggee) -> Iterator[tuple[Key, Tensor | None]]:
    """Yield every tensor of the state, and None where there is none; a shared one comes once for each of its places."""
    for part in registry.PARTS:
        yield from part.tensors(held, part.present(held))


def take(held: Debuggee, images: Images, before: Checkpoint | None, saved: Saved | None) -> Checkpoint:
    """Return a checkpoint of a held workload as it is now.

    Args:
        held: what to keep.
        images: what its tensors hold.
        before: the checkpoint of the point before, to share with.
        saved: what the act in between may have written; None for anything.
    """
    kept: dict[str, Any] = {}
    seen: dict[Key, Image | None] = {}
    for part in registry.PARTS:
        shared = before is not None and saved is not None and not part.each_time and part.name not in saved.kept
        now = kept[part.name] = before.kept[part.name] if shared and before is not None else part.capture(held)
        for key, tensor in part.tensors(held, now):
            seen[key] = None if tensor is None else images.current(tensor)
    return Checkpoint(seen, kept)


def put_back(held: Debuggee, images: Images, checkpoint: Checkpoint) -> None:
    """Put a held workload back to where it was: the same objects with the old contents.

    The graph of the loss is not part of that: where there was one alive, its forward has to be run again.
    """
    images.load(image for image in checkpoint.images.values() if image is not None)
    restore_parts(held, checkpoint.kept)


def size_of(checkpoint: Checkpoint, before: Checkpoint | None) -> int:
    """Return about how many bytes a checkpoint takes that are in no image, and not shared with the one before."""
    size = _ENTRY * len(checkpoint.images)
    for part in registry.PARTS:
        size += part.size(checkpoint.kept[part.name], None if before is None else before.kept[part.name])
    return size


_ENTRY = 16
"""Bytes of an entry of a dict, about."""
