"""The random number generators that a phase can draw from: torch's on every device, python's and numpy's."""

from __future__ import annotations

import ctypes
import random
import struct
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import torch

from gradstep.engine.bits import same_bits

_MT19937_BYTES = 624 * 4 + 4
"""Bytes of numpy's mt19937_state: the key and the position (numpy/random/src/mt19937/mt19937.h). Python's RandomObject
has the object header, the position and then the key (Modules/_randommodule.c)."""


Devices: TypeAlias = tuple[tuple[torch.Generator, torch.Tensor], ...]
"""Each generator of a device, or of a data loader, with its state."""


@dataclass(frozen=True)
class Randomness:
    """The state of every generator at one point."""

    cpu: torch.Tensor
    devices: Devices
    python: tuple[Any, ...]
    numpy: dict[str, Any]


class RandomKeeper:
    """Captures and restores the generators; fast, because it does so before every phase.

    Reading numpy's state takes 30 us, and python's nearly as long. Each is read only when the raw words of the
    generator have changed since the last time, or the cached gaussian, which is not among them.
    """

    def __init__(self) -> None:
        self._words = b""
        self._numpy: dict[str, Any] | None = None
        self._python_words = b""
        self._python: tuple[Any, ...] = ()
        self._more: list[torch.Generator] = []
        self._last: Randomness | None = None

    def add(self, generator: object) -> None:
        """Add a generator, such as a DataLoader's own; ignore anything else."""
        if isinstance(generator, torch.Generator) and generator not in self._more:
            self._more.append(generator)

    def capture(self) -> Randomness:
        """Return the state of all generators, without drawing; the same object until one of them changes."""
        last, generators = self._last, (*_device_generators(), *self._more)
        cpu, python, numpy = torch.default_generator.get_state(), self._python_state(), self._numpy_state()
        devices = tuple([(each, each.get_state()) for each in generators])
        if last is None or python != last.python or numpy is not last.numpy or not _same(last, cpu, devices):
            last = self._last = Randomness(cpu, devices, python, numpy)
        return last

    def restore(self, saved: Randomness) -> None:
        """Restore every generator except those of a device that was not in use then."""
        torch.default_generator.set_state(saved.cpu)
        for generator, state in saved.devices:
            generator.set_state(state)
        if self._python_state() is not saved.python:
            random.setstate(saved.python)
            self._python, self._python_words = saved.python, _python_words()
        if self._numpy_state() is not saved.numpy:
            np.random.set_state(saved.numpy)
            self._numpy, self._words = saved.numpy, _numpy_words()
        self._last = saved

    def _python_state(self) -> tuple[Any, ...]:
        words = _python_words()
        if not words or words != self._python_words or _python_generator().gauss_next != self._python[2]:
            self._python, self._python_words = random.getstate(), words
        return self._python

    def _numpy_state(self) -> dict[str, Any]:
        words = _numpy_words()
        if self._numpy is None or not words or words != self._words or self._numpy["has_gauss"]:
            self._numpy, self._words = _read_numpy(), words
        return self._numpy


def seed_everything(seed: int) -> None:
    """Seed torch on every device, python and numpy (numpy takes the seed modulo 2**32)."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def state_bytes(saved: Randomness) -> list[bytes]:
    """Return the captured states as bytes, for the digest."""
    parts = [saved.cpu.numpy().tobytes()]
    parts += [state.cpu().numpy().tobytes() for _, state in saved.devices]
    parts.append(repr(saved.python).encode())
    for name, value in sorted(saved.numpy.items()):
        inner = value.items() if isinstance(value, dict) else [(name, value)]
        parts += [v.tobytes() if isinstance(v, np.ndarray) else repr((k, v)).encode() for k, v in inner]
    return parts


def _same(last: Randomness, cpu: torch.Tensor, devices: Devices) -> bool:
    """Return whether torch's generators are those of a capture, in the same states."""
    return (
        len(devices) == len(last.devices)
        and same_bits(cpu, last.cpu)
        and all(one is other and same_bits(a, b) for (one, a), (other, b) in zip(devices, last.devices, strict=True))
    )


def _python_generator() -> Any:
    return vars(random)["_inst"]


def _python_words() -> bytes:
    """Return the raw words of python's generator; empty when this interpreter has another memory layout."""
    return ctypes.string_at(id(_python_generator()) + object.__basicsize__, _MT19937_BYTES) if _known_layout() else b""


@cache
def _known_layout() -> bool:
    """Return whether the words are where CPython has them; the check draws nothing."""
    generator = _python_generator()
    if type(generator) is not random.Random or generator.__sizeof__() < object.__basicsize__ + _MT19937_BYTES:
        return False
    raw = ctypes.string_at(id(generator) + object.__basicsize__, _MT19937_BYTES)
    position, *key = struct.unpack(f"{_MT19937_BYTES // 4}I", raw)
    return bool((*key, position) == random.getstate()[1])


def _numpy_words() -> bytes:
    """Return the raw words of numpy's generator; empty when the user has replaced it with another kind."""
    bits: Any = vars(np.random)["get_bit_generator"]()
    if type(bits) is not np.random.MT19937:
        return b""
    return ctypes.string_at(bits.ctypes.state_address, _MT19937_BYTES)


def _read_numpy() -> dict[str, Any]:
    return dict(np.random.get_state(legacy=False))


def _device_generators() -> tuple[torch.Generator, ...]:
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return tuple(torch.cuda.default_generators)
    if torch.backends.mps.is_available():
        return (torch.mps._get_default_mps_generator(),)
    return ()
