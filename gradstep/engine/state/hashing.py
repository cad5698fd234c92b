"""A hash over named values; each is preceded by its type and size, so that no two sequences hash the same bytes."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import xxhash
from torch import Tensor

from gradstep.engine.bits import hash_of


class Hasher:
    """A running hash (xxh3_128).

    Args:
        read: returns the contents of a key at the point being hashed, and their hash; None for an empty slot.
        contents: returns the contents of a tensor at that point, and their hash.
    """

    def __init__(
        self,
        read: Callable[[tuple[str, ...]], tuple[Tensor, bytes] | None] = lambda _: None,
        contents: Callable[[Tensor], tuple[Tensor, bytes]] = lambda tensor: (tensor, hash_of(tensor)),
    ) -> None:
        self._read, self._contents = read, contents
        self._hash = xxhash.xxh3_128()
        self.size = 0
        """Bytes hashed so far, those of tensors included."""
        self._inside: list[int] = []  # ids of the containers being hashed: one may contain itself

    @classmethod
    def of(cls, value: Any) -> str:
        """Return the hash of one value."""
        made = cls()
        made.add("", value)
        return made.hex

    @property
    def hex(self) -> str:
        """The hash of everything that was added."""
        return str(self._hash.hexdigest())

    def raw(self, part: bytes) -> None:
        """Add bytes."""
        self._hash.update(len(part).to_bytes(8, "little"))
        self._hash.update(part)
        self.size += len(part)

    def tensor(self, key: tuple[str, ...]) -> None:
        """Add the contents of a tensor of the state, or that it is None."""
        found = self._read(key)
        if found is None:
            self.raw(b"None")
        else:
            self._tensor(*found)

    def hash_of(self, tensor: Tensor) -> bytes:
        """Return the hash of a tensor's contents at the point being hashed."""
        return self._contents(tensor)[1]

    def add(self, name: str, value: Any) -> None:
        """Add a value: a number, a string, a tensor, or a container of these; another object by its attributes."""
        self.raw(name.encode())
        if isinstance(value, Tensor):
            self._tensor(*self._contents(value))
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

    def _tensor(self, tensor: Tensor, hashed: bytes) -> None:
        self.raw(f"{tensor.dtype}{tuple(tensor.shape)}{tensor.layout}".encode())
        self.raw(hashed)
        self.size += tensor.nbytes if tensor.layout is torch.strided else 0

    def _add_parts(self, value: Any) -> None:
        """Add a container: its kind, its length, and each value in it."""
        if isinstance(value, Mapping):
            self.raw(f"dict {len(value)}".encode())
            for key, inner in value.items():
                self.add(stable_repr(key), inner)
        elif isinstance(value, (set, frozenset)):
            self.raw(f"set {len(value)}".encode())
            for word in sorted(map(stable_repr, value)):
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
                self.raw(stable_repr(value).encode())


def stable_repr(value: object) -> str:
    """Return an object's `repr` without its address, which differs from process to process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
