"""The digest: one hash over everything the next phase can depend on; two moments are the same when it is."""

from __future__ import annotations

import platform
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import xxhash
from torch import Tensor

from gradstep.engine.bits import hash_of
from gradstep.engine.checkpoint import Checkpoint, Key, OptimizerKept, tensors_of
from gradstep.engine.debuggee.batches import Cursor, leaves
from gradstep.engine.images import Image
from gradstep.engine.randomness import Randomness, state_bytes
from gradstep.engine.saving import state_tensors

if TYPE_CHECKING:
    from gradstep.engine.held import Held


def digest(held: Held) -> tuple[str, int]:
    """Return the xxh3_128 hash of a held workload's state, as hex, and the number of bytes hashed.

    It covers parameters, buffers, `.grad` (None, zeros and values differ), the state and hyper-parameters of the
    optimizer and schedulers, the generators of torch, python and numpy, the batch cursor, train/eval mode,
    `requires_grad`, and the objects a workload lists.
    """
    optimizer = held.optimizer
    there = OptimizerKept(
        optimizer,
        tuple(held.schedulers),
        tuple([(owner, entries, entries) for owner, entries in optimizer.state.items()]),
        tuple([(group, group, tuple(group["params"])) for group in optimizer.param_groups]),
    )
    subject = _Subject(
        [p.requires_grad for _, p in held.parameters],
        there,
        {name: thing.state_dict() for name, thing in held.stateful().items()},
        held.batches.cursor(),
        [module.training for module in held.modules],
        held.keeper.capture(),
    )
    found = dict(tensors_of(held))
    sum_ = _Sum({})
    sum_.state(held, subject, lambda key: _tensor(sum_, found[key]))
    return sum_.hash.hexdigest(), sum_.size


def digest_at(held: Held, checkpoint: Checkpoint) -> str:
    """Return the digest that a held workload has at a checkpoint; what the same images were hashed for is not again."""
    subject = _Subject(
        checkpoint.requires_grad,
        checkpoint.optimizer,
        checkpoint.objects,
        checkpoint.cursor,
        checkpoint.training,
        checkpoint.randomness,
    )

    def tensor(key: Key) -> None:
        image = checkpoint.images[key]
        if image is None:
            sum_.raw(b"None")
        else:
            sum_.tensor(image.contents, image.hash)

    images = checkpoint.images
    instead = {id(image.tensor): image for key, image in images.items() if key[0] == "batch" and image is not None}
    sum_ = _Sum(instead)
    sum_.state(held, subject, tensor)
    return sum_.hash.hexdigest()


class _Subject(NamedTuple):
    """What a digest covers besides the contents of tensors, at one moment."""

    requires_grad: Sequence[bool]
    optimizer: OptimizerKept
    objects: dict[str, Any]
    cursor: Cursor
    training: Sequence[bool]
    randomness: Randomness


def _tensor(sum_: _Sum, tensor: Tensor | None) -> None:
    if tensor is None:
        sum_.raw(b"None")
    else:
        sum_.tensor(tensor, hash_of(tensor))


def measured_on() -> str:
    """Say what digests depend on besides the state: they compare only where this is the same."""
    return f"torch {torch.__version__}, {platform.machine()}, {torch.get_num_threads()} threads"


def state_size(held: Held) -> int:
    """Return about how many bytes a digest would hash."""
    tensors: list[Tensor] = [p for _, p in held.parameters]
    tensors += [b for _, b in held.buffers()]
    grads = [p.grad for _, p in held.parameters if p.grad is not None]
    states = [tensor for _, tensor in state_tensors(held.optimizer, held.names)]
    return sum(t.numel() * t.element_size() for t in (*tensors, *grads, *states))


class _Sum:
    """A running hash over named values; every value is preceded by its type and size, so that none can pose as two."""

    def __init__(self, instead: Mapping[int, Image]) -> None:
        """Hash values; in place of a tensor that `instead` has by its id, what the image holds."""
        self._instead = instead
        self.hash = xxhash.xxh3_128()
        self.size = 0
        self._inside: list[int] = []  # what is being hashed, by id: an object may hold itself

    def state(self, held: Held, subject: _Subject, tensor: Callable[[Key], None]) -> None:
        """Add everything; `tensor` adds the contents of one tensor of the state."""
        for (name, _), requires_grad in zip(held.parameters, subject.requires_grad, strict=True):
            self.add(name, requires_grad)
            tensor(("weight", name))
            tensor(("grad", name))
        for name, _, _ in held.buffer_slots:
            self.add("buffer", name)
            tensor(("buffer", name))
        self.add("optimizer", type(subject.optimizer.optimizer).__qualname__)
        for place, (_, were, parameters) in enumerate(subject.optimizer.groups):
            self.add("params", [held.names.get(p, "") for p in parameters])
            for key, value in were.items():
                if isinstance(value, Tensor):
                    self.add(key, "tensor")
                    tensor(("group", str(place), key))
                elif key != "params":
                    self.add(key, value)
        for owner, _, were in subject.optimizer.state:
            name = held.names.get(owner, "") if isinstance(owner, Tensor) else repr(owner)
            self.add(name, len(were) if isinstance(were, dict) else were)
            for key, value in were.items() if isinstance(were, dict) else ():
                if isinstance(value, Tensor):
                    self.add(_words(key), "tensor")
                    tensor(("state", name, str(key)))
                else:
                    self.add(_words(key), value)
        for name, state in subject.objects.items():
            self.add(name, state)
        self.add("batches", [subject.cursor.taken, subject.cursor.within])
        self.add("batch", subject.cursor.batch)
        # of a list, a batch that was written comes round again; other sources make their batches anew
        here = {id(tensor) for _, tensor in leaves(subject.cursor.batch)}
        for written, before in held.batches.written if held.batches.sequence is not None else ():
            image = self._instead.get(id(written))
            now = hash_of(written) if image is None else image.hash
            if now != before and id(written) not in here:
                self.raw(before + now)
        self.add("training", list(subject.training))
        for part in state_bytes(subject.randomness):
            self.raw(part)

    def raw(self, part: bytes) -> None:
        self.hash.update(len(part).to_bytes(8, "little"))
        self.hash.update(part)
        self.size += len(part)

    def tensor(self, tensor: Tensor, hashed: bytes) -> None:
        self.raw(f"{tensor.dtype}{tuple(tensor.shape)}{tensor.layout}".encode())
        self.raw(hashed)
        self.size += tensor.nbytes if tensor.layout is torch.strided else 0

    def add(self, name: str, value: Any) -> None:
        self.raw(name.encode())
        if isinstance(value, Tensor):
            image = self._instead.get(id(value))
            self.tensor(value, hash_of(value) if image is None else image.hash)
        elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
            self.raw(f"{value.dtype}{value.shape}".encode())
            self.raw(value.tobytes())
        elif isinstance(value, np.generic):
            self.add(name, np.asarray(value))
        elif isinstance(value, float):
            self.raw(value.hex().encode())
        elif value is None or isinstance(value, (bool, int, str, complex, bytes)):
            self.raw(repr(value).encode())
        elif isinstance(value, torch.Generator):
            self.raw(value.get_state().numpy().tobytes())
        elif id(value) in self._inside:
            self.raw(f"again {len(self._inside) - self._inside.index(id(value))}".encode())
        else:
            self._inside.append(id(value))
            self._add_parts(value)
            self._inside.pop()

    def _add_parts(self, value: Any) -> None:
        """Add what holds other values: their kind, how many, and each."""
        if isinstance(value, Mapping):
            self.raw(f"dict {len(value)}".encode())
            for key, inner in value.items():
                self.add(_words(key), inner)
        elif isinstance(value, (set, frozenset)):
            self.raw(f"set {len(value)}".encode())
            for word in sorted(map(_words, value)):
                self.raw(word.encode())
        elif isinstance(value, (list, tuple, deque, np.ndarray)):
            self.raw(f"list {len(value)}".encode())
            for inner in value:
                self.add("", inner)
        else:
            self.raw(type(value).__qualname__.encode())
            inner = getattr(value, "__dict__", None)
            if isinstance(inner, dict):
                self.add("", {k: v for k, v in inner.items() if not callable(v)})
            else:
                self.raw(_words(value).encode())


def _words(value: object) -> str:
    """Return an object's own words without its address, which differs from process to process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
