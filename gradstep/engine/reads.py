"""Read tensors on the host: what is on another device comes in one transfer, whoever needs it.

A *reading* is a generator that yields the tensors it needs, is sent their copies in host memory, and returns its
result. Readings that are gathered wait for the device together.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import islice
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor

_T = TypeVar("_T")
Reading: TypeAlias = Generator[Sequence[Tensor], Sequence[Tensor], _T]


def read(reading: Reading[_T]) -> _T:
    """Return the result of a reading."""
    try:
        needed = next(reading)
        while True:
            needed = reading.send(fetched(needed))
    except StopIteration as done:
        result: _T = done.value
        return result


def gather(readings: Sequence[Reading[Any]]) -> Reading[list[Any]]:
    """Read several at the same time: what all of them need next comes in one transfer."""
    results: list[Any] = [None] * len(readings)
    ready: list[tuple[int, Any]] = [(place, None) for place in range(len(readings))]  # None starts a generator
    while ready:
        waiting: list[tuple[int, Sequence[Tensor]]] = []
        for place, arrived in ready:
            try:
                needed = readings[place].send(arrived)
                while all(map(on_host, needed)):
                    needed = readings[place].send(needed)
                waiting.append((place, needed))
            except StopIteration as done:
                results[place] = done.value
        if not waiting:
            break
        copies = iter((yield [tensor for _, needed in waiting for tensor in needed]))
        ready = [(place, list(islice(copies, len(needed)))) for place, needed in waiting]
    return results


def scalars(tensors: Sequence[Tensor]) -> Reading[list[float]]:
    """Read tensors of one element as numbers."""
    return list(map(float, (yield tensors)))


def scalars_or_none(tensors: Sequence[Tensor | None]) -> Reading[list[float | None]]:
    """Read tensors of one element as numbers; None for None."""
    arrived = iter((yield [tensor for tensor in tensors if tensor is not None]))
    return [None if tensor is None else float(next(arrived)) for tensor in tensors]


def fetched(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return dense tensors in host memory, bit for bit; the host waits once for each other device."""
    there = [place for place, tensor in enumerate(tensors) if not on_host(tensor)]
    if not there:
        return tensors
    found = list(tensors)
    for device in {tensors[place].device for place in there}:
        places = [place for place in there if tensors[place].device == device]
        places.sort(key=lambda place: -tensors[place].element_size())  # each begins at a multiple of its own
        parts = [_bytes(tensors[place]) for place in places]
        arrived = torch.split(torch.cat(parts).cpu(), [len(part) for part in parts])
        for place, part in zip(places, arrived, strict=True):
            found[place] = part.view(tensors[place].dtype).view(tensors[place].shape)
    return found


def _bytes(tensor: Tensor) -> Tensor:
    plain = tensor.detach().resolve_conj().resolve_neg()
    return plain.contiguous().view(-1).view(torch.uint8)


def on_host(tensor: Tensor) -> bool:
    """Return whether the host can read a tensor without waiting for a device."""
    return tensor.is_cpu
