"""The digest: one hash over everything the next phase can depend on."""

from __future__ import annotations

import platform

import torch
from torch import Tensor

from gradstep.engine.bits import hash_of
from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.state import registry
from gradstep.engine.state.hashing import Hasher
from gradstep.engine.state.part import Key
from gradstep.engine.state.snapshot import Checkpoint


def digest(held: Debuggee) -> tuple[str, int]:
    """Return the xxh3_128 hash of a held workload's state, as hex, and the number of bytes hashed.

    It covers parameters, buffers, `.grad` (None and zeros hash differently), the state and hyper-parameters of the
    optimizer and schedulers, the random generators of torch, python and numpy, the batch cursor, train/eval mode,
    `requires_grad`, the objects in `state=`, plain attributes of modules that changed since the workload was built,
    and the `.grad` of leaves that nothing trains.
    """
    present = [(part, part.present(held)) for part in registry.PARTS]
    found = {key: tensor for part, captured in present for key, tensor in part.tensors(held, captured)}

    def read(key: Key) -> tuple[Tensor, bytes] | None:
        tensor = found[key]
        return None if tensor is None else (tensor, hash_of(tensor))

    hasher = Hasher(read)
    for part, captured in present:
        part.hash(held, captured, hasher)
    return hasher.hex, hasher.size


def digest_at(held: Debuggee, checkpoint: Checkpoint) -> str:
    """Return the digest of a held workload at a checkpoint; each image is hashed once."""
    images = {id(image.tensor): image for image in checkpoint.images.values() if image is not None}

    def read(key: Key) -> tuple[Tensor, bytes] | None:
        image = checkpoint.images[key]
        return None if image is None else (image.contents, image.hash)

    def contents(tensor: Tensor) -> tuple[Tensor, bytes]:
        image = images.get(id(tensor))
        return (tensor, hash_of(tensor)) if image is None else (image.contents, image.hash)

    hasher = Hasher(read, contents)
    for part in registry.PARTS:
        part.hash(held, checkpoint.captured[part.name], hasher)
    return hasher.hex


def measured_on() -> str:
    """Return what digests depend on besides the state: they are comparable only where this is equal."""
    return f"torch {torch.__version__}, {platform.machine()}, {torch.get_num_threads()} threads"


def state_size(held: Debuggee) -> int:
    """Return the approximate number of bytes that a digest hashes."""
    pairs = [pair for part in registry.PARTS for pair in part.tensors(held, part.present(held))]
    return sum(tensor.numel() * tensor.element_size() for _, tensor in pairs if tensor is not None)
