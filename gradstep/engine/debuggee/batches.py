"""The source of batches, and a cursor for its position."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, cast

import torch

from gradstep.engine.debuggee.drawn import drawn_indices
from gradstep.engine.debuggee.generators import RandomKeeper, Randomness
from gradstep.engine.tensor_trees import changed
from gradstep.values.errors import wrong


@dataclass(frozen=True)
class Cursor:
    """The number of batches taken, in total and in this epoch, and the current batch."""

    taken: int
    within: int
    batch: Any
    start: Randomness | None
    """The random generators when this epoch's iterator was created; None when the source has no iterator."""
    drawn: tuple[int, ...] = ()
    """The data set indices of the samples in the batch; empty when unknown."""


class Batches:
    """Takes batches from a list, an iterable or a function, one at a time, epoch after epoch."""

    def __init__(self, source: object, device: torch.device, keeper: RandomKeeper) -> None:
        self._device = device
        self._keeper = keeper
        self._source = source
        self._call = _caller(source)
        self.takes_number = self._call is source
        """True when the source is a function that is called with the number of batches taken."""
        self.sequence = source if isinstance(source, Sequence) and not isinstance(source, (str, bytes)) else None
        """The source when it is a sequence, else None."""
        self._one_shot = isinstance(source, Iterator)
        self._yielded: list[tuple[Any, Randomness]] = []
        """The batches of a one-shot iterator, which can't yield them again, and the generators after each."""
        self.keeps_all = False
        """True to keep every batch of a one-shot iterator, because the history may need any of them; else the last."""
        self.form: Callable[[Any], Any] = lambda batch: batch
        """Applied to each batch once it is on the device, to cast it to another dtype."""
        self._iterator: Iterator[Any] | None = None
        self._start: Randomness | None = None
        self._again = 0  # batches to skip when the iterator is recreated after going back
        self._pulled = 0  # batches that a one-shot iterator has yielded
        self._pulling = False  # True from before a pull until its batch is counted
        self.taken = 0
        self.within = 0
        self.batch: Any = None
        self.drawn: tuple[int, ...] = ()
        """The data set indices of the samples in the batch; empty when unknown."""
        self._indices = drawn_indices(source)
        self.written: list[tuple[torch.Tensor, bytes]] = []
        """Tensors of batches that an edit or a forward wrote, with the hash of their contents before that."""
        inner = getattr(source, "batch_sampler", None)
        for owner in (source, getattr(source, "sampler", None), inner, getattr(inner, "sampler", None)):
            keeper.add(getattr(owner, "generator", None))
        if self._call is None and self.sequence is None and not isinstance(source, Iterable):
            raise wrong(
                "the batches can't be iterated",
                f"`batches` is a {type(source).__name__}",
                "give a list of batches, a DataLoader, another iterable, or a function that returns a batch",
            )
        if self.sequence is not None and not self.sequence:
            raise wrong("there are no batches", "`batches` is an empty list", "give at least one batch")

    @property
    def single(self) -> bool:
        """True for a list of one batch."""
        return self.sequence is not None and len(self.sequence) == 1

    @property
    def place(self) -> str:
        """The number of the current batch: `5`, or `5 (1 of 4 in its epoch)` when epochs have a length."""
        try:
            length = len(self._source) if isinstance(self._source, Sized) else 0
        except TypeError:  # a DataLoader over an iterable data set has no length
            length = 0
        return f"{self.taken} ({self.within} of {length} in its epoch)" if length > 1 else str(self.taken)

    def take(self) -> bool:
        """Take the next batch and move it to the device; return True when that began a new epoch (not the first).

        Raises:
            GradstepError: the source is exhausted and can't be restarted.
        """
        wrapped = False
        if self._call is not None:
            batch = self._call(self.taken)
        elif self.sequence is not None:
            wrapped = self.within == len(self.sequence)
            self.within = 0 if wrapped else self.within
            batch = self.sequence[self.within]
        else:
            batch, wrapped = self._pull()
        self.batch = self.form(move(batch, self._device))
        self.taken += 1
        self.within += 1
        self._pulling = False
        return wrapped

    def cursor(self) -> Cursor:
        """Return the present position."""
        return Cursor(self.taken, self.within, self.batch, self._start, self.drawn)

    def restore(self, cursor: Cursor) -> None:
        """Go back to a cursor, even when the iterator has advanced since.

        An iterator can't be copied: it is recreated from the old random generators, and advanced to the cursor. The
        caller restores the generators afterwards.
        """
        moved = self._pulling or self.taken != cursor.taken
        self.taken, self.within, self.batch, self.drawn = cursor.taken, cursor.within, cursor.batch, cursor.drawn
        if not moved or self._call is not None or self.sequence is not None:
            return
        self._pulling = False
        if self._one_shot:  # its batches are in `_yielded`
            return
        self._iterator = None
        self._start = cursor.start
        self._again = cursor.within if cursor.start is not None else 0

    def _pull(self) -> tuple[Any, bool]:
        self._pulling = True
        if self._one_shot and self.taken < self._pulled:
            batch, after = self._yielded[self.taken - self._pulled]
            self._keeper.restore(after)
            return batch, False
        try:
            batch, wrapped = self._next()
        except StopIteration:
            raise wrong(
                "there are no more batches",
                f"the iterable yielded {self.taken} batches and can't be restarted",
                "give a list, a DataLoader or a function instead of a generator",
            ) from None
        if self._one_shot:
            self._pulled += 1
            self._yielded.append((batch, self._keeper.capture()))
            if not self.keeps_all:
                del self._yielded[:-1]
        return batch, wrapped

    def _next(self) -> tuple[Any, bool]:
        """Return the next batch and whether it begins a new epoch; raise StopIteration at the end."""
        if self._iterator is None and self._again:
            self._skip()
        if self._iterator is None:
            self._begin()
        assert self._iterator is not None
        try:
            return self._step(self._iterator), False
        except StopIteration:
            if self._one_shot or self.within == 0:
                raise
        self._begin()
        return self._step(self._iterator), True

    def _skip(self) -> None:
        now = self._keeper.capture()
        assert self._start is not None
        self._keeper.restore(self._start)
        self._iterator = self._iterate()
        for _ in range(self._again):
            self._step(self._iterator)
        self._again = 0
        self._keeper.restore(now)

    def _begin(self) -> None:
        self._start = self._keeper.capture()
        self._iterator = self._iterate()
        self.within = 0

    def _iterate(self) -> Iterator[Any]:
        return iter(cast(Iterable[Any], self._source)) if self._indices is None else self._indices.iterate(self._source)

    def _step(self, iterator: Iterator[Any]) -> Any:
        batch = next(iterator)
        if self._indices is not None:
            self.drawn = self._indices.take()
        return batch


def move(batch: Any, device: torch.device) -> Any:
    """Return a batch with every tensor moved to a device; containers, and objects with `.to`, keep their type."""
    return changed(batch, lambda each: each.to(device) if _moves(each) else each, _moves)


def _moves(value: Any) -> bool:
    return callable(getattr(value, "to", None))  # tensors, packed sequences, tokenizers' batches


def _caller(source: object) -> Callable[[int], Any] | None:
    """Return a source as a function of the number of batches taken; None when it is not callable.

    The number is passed only if the function has a parameter without a default.
    """
    if not callable(source) or isinstance(source, Iterable):
        return None
    try:
        takes = any(
            p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
            for p in inspect.signature(source).parameters.values()
        )
    except (TypeError, ValueError):
        takes = False
    return source if takes else lambda _: source()
