"""The digest: one hash over everything the next phase can depend on; two moments are the same when it is."""

from __future__ import annotations

import platform
import re
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xxhash
from torch import Tensor

from gradstep.engine.bits import tensor_bytes
from gradstep.engine.held import Held
from gradstep.engine.randomness import state_bytes
from gradstep.engine.saving import state_tensors


def digest(held: Held) -> tuple[str, int]:
    """Return the xxh3_128 hash of a held workload's state, as hex, and the number of bytes hashed.

    It covers parameters, buffers, `.grad` (None, zeros and values differ), the state and hyper-parameters of the
    optimizer and schedulers, the generators of torch, python and numpy, the batch cursor, train/eval mode,
    `requires_grad`, and the objects a workload lists.
    """
    sum_ = _Sum()
    for name, parameter in held.parameters:
        sum_.add(name, parameter.detach())
        sum_.add("requires_grad", parameter.requires_grad)
        sum_.add("grad", parameter.grad)
    for path, buffer in held.buffers():
        sum_.add(path, buffer)
    for group in held.optimizer.param_groups:
        sum_.add("group", {k: v for k, v in group.items() if k != "params"})
        sum_.add("params", [held.names.get(p, "") for p in group["params"]])
    for owner, entries in held.optimizer.state.items():
        sum_.add(held.names.get(owner, "") if isinstance(owner, Tensor) else repr(owner), entries)
    for name, thing in held.stateful().items():
        sum_.add(name, thing.state_dict())
    sum_.add("batches", [held.batches.taken, held.batches.within])
    sum_.add("training", [module.training for module in held.modules])
    for part in state_bytes(held.keeper.capture()):
        sum_.bytes(part)
    return sum_.hash.hexdigest(), sum_.size


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

    def __init__(self) -> None:
        self.hash = xxhash.xxh3_128()
        self.size = 0
        self._inside: list[int] = []  # what is being hashed, by id: an object may hold itself

    def bytes(self, part: bytes) -> None:
        self.hash.update(len(part).to_bytes(8, "little"))
        self.hash.update(part)
        self.size += len(part)

    def add(self, name: str, value: Any) -> None:
        self.bytes(name.encode())
        if isinstance(value, Tensor):
            self.bytes(f"{value.dtype}{tuple(value.shape)}{value.layout}".encode())
            self.bytes(tensor_bytes(value))
        elif isinstance(value, np.ndarray) and not value.dtype.hasobject:
            self.bytes(f"{value.dtype}{value.shape}".encode())
            self.bytes(value.tobytes())
        elif isinstance(value, np.generic):
            self.add(name, np.asarray(value))
        elif isinstance(value, float):
            self.bytes(value.hex().encode())
        elif value is None or isinstance(value, (bool, int, str, complex, bytes)):
            self.bytes(repr(value).encode())
        elif isinstance(value, torch.Generator):
            self.bytes(value.get_state().numpy().tobytes())
        elif id(value) in self._inside:
            self.bytes(f"again {len(self._inside) - self._inside.index(id(value))}".encode())
        else:
            self._inside.append(id(value))
            self._add_parts(value)
            self._inside.pop()

    def _add_parts(self, value: Any) -> None:
        """Add what holds other values: their kind, how many, and each."""
        if isinstance(value, Mapping):
            self.bytes(f"dict {len(value)}".encode())
            for key, inner in value.items():
                self.add(_words(key), inner)
        elif isinstance(value, (set, frozenset)):
            self.bytes(f"set {len(value)}".encode())
            for word in sorted(map(_words, value)):
                self.bytes(word.encode())
        elif isinstance(value, (list, tuple, deque, np.ndarray)):
            self.bytes(f"list {len(value)}".encode())
            for inner in value:
                self.add("", inner)
        else:
            self.bytes(type(value).__qualname__.encode())
            inner = getattr(value, "__dict__", None)
            if isinstance(inner, dict):
                self.add("", {k: v for k, v in inner.items() if not callable(v)})
            else:
                self.bytes(_words(value).encode())


def _words(value: object) -> str:
    """Return an object's own words without its address, which differs from process to process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
