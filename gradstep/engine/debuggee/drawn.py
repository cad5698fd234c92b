"""The data set indices of each batch of a DataLoader, as its sampler draws them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, default_collate


class DrawnIndices:
    """Records the indices that a DataLoader's batch sampler draws, batch by batch.

    It replaces the sampler while an iterator of the loader is created, and forwards indices and attributes, so that the
    run is the same as without it. The iterator keeps it, and a loader with persistent workers keeps its iterator: it
    does not hold the loader, since a cycle would be left to the garbage collector, which waits 5 s for each worker.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._sampler: Any = loader.batch_sampler
        self._waiting: deque[object] = deque()
        """The indices of batches not yet taken: workers prefetch."""

    def __iter__(self) -> Iterator[Any]:
        self._waiting.clear()
        return _Recording(iter(self._sampler), self._waiting)

    def __len__(self) -> int:
        return len(self._sampler)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sampler, name)

    def iterate(self, loader: Any) -> Iterator[Any]:
        """Return an iterator of the loader whose sampler is recorded."""
        own = vars(loader)  # a DataLoader refuses to set this attribute once it is built
        own["batch_sampler"] = self
        try:
            return iter(loader)
        finally:
            own["batch_sampler"] = self._sampler

    def take(self) -> tuple[int, ...]:
        """Return the indices of the batch just taken; empty when they are not integers."""
        indices = self._waiting.popleft() if self._waiting else ()
        numbers = isinstance(indices, (list, tuple)) and all(type(index) is int for index in indices)
        return tuple(indices) if numbers and isinstance(indices, (list, tuple)) else ()


class _Recording:
    """Iterates over the sampler, and records each batch of indices as it is drawn."""

    def __init__(self, inner: Iterator[Any], waiting: deque[object]) -> None:
        self._inner, self._waiting = inner, waiting

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        indices = next(self._inner)
        self._waiting.append(tuple(indices) if isinstance(indices, (list, tuple)) else indices)
        return indices


def drawn_indices(source: object) -> DrawnIndices | None:
    """Return a recorder of the indices that a source of batches draws; None when they can't be known.

    They are known for a DataLoader over a map-style data set that yields batches in the order drawn: with torch's
    `default_collate`, since another function may drop or sort samples, and with workers only when `in_order` is set.
    """
    if not isinstance(source, DataLoader) or isinstance(source.dataset, IterableDataset):
        return None
    plain = source.batch_sampler is not None and source.collate_fn is default_collate
    return DrawnIndices(source) if plain and getattr(source, "in_order", True) else None
