"""A hash over named values; every value is preceded by its type and size, so that none can pose as two."""

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
from gradstep.engine.state.part import Key


class Sum:
    """A running hash (xxh3_128).

    Args:
        read: returns the tensor of a key, as it is at the moment that is hashed, and its hash; None where there is
            none.
        instead: by its id, what a tensor held at that moment, where that is not what it holds now.
    """

    def __init__(
        self,
        read: Callable[[Key], tuple[Tensor, bytes] | None] = lambda _: None,
        instead: Callable[[Tensor], tuple[Tensor, bytes]] = lambda tensor: (tensor, hash_of(tensor)),
    ) -> None:
        self._read, self._instead = read, instead
        self._hash = xxhash.xxh3_128()
        self.size = 0
        """Bytes that were hashed, those of tensors among them."""
        self._inside: list[int] = []  # what is being hashed, by id: an object may hold itself

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

    def tensor(self, key: Key) -> None:
        """Add what the tensor of a key holds, or that there is none."""
        found = self._read(key)
        if found is None:
            self.raw(b"None")
        else:
            self._tensor(*found)

    def hash_of(self, tensor: Tensor) -> bytes:
        """Return the hash of what a tensor holds at the moment that is hashed."""
        return self._instead(tensor)[1]

    def add(self, name: str, value: Any) -> None:
        """Add a value: a number, a text, a tensor, or a container of these; of other objects what they hold."""
        self.raw(name.encode())
        if isinstance(value, Tensor):
            self._tensor(*self._instead(value))
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
        """Add what holds other values: their kind, how many, and each."""
        if isinstance(value, Mapping):
            self.raw(f"dict {len(value)}".encode())
            for key, inner in value.items():
                self.add(words_of(key), inner)
        elif isinstance(value, (set, frozenset)):
            self.raw(f"set {len(value)}".encode())
            for word in sorted(map(words_of, value)):
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
                self.raw(words_of(value).encode())


def words_of(value: object) -> str:
    """Return an object's own words without its address, which differs from process to process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
