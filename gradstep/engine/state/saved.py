"""Copies from before an act of what it may write: to roll it back when it raises, and to show what it changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from msgspec import Struct, field
from torch import Tensor

from gradstep.engine.bits import all_same_bits, same_bits, write
from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.state import registry
from gradstep.engine.state.memory import copies_of
from gradstep.engine.state.part import Key, Row, Writing


class Copies(Struct):
    """Tensors that may be written in place, and a copy of each."""

    keys: list[Key] = []
    live: list[Tensor] = []
    copies: list[Tensor] = []
    versions: list[int] = []

    def plus(self, more: Copies) -> Copies:
        """Return the copies of both."""
        return Copies(
            self.keys + more.keys, self.live + more.live, self.copies + more.copies, self.versions + more.versions
        )

    def of(self, kind: str, written: bool = False) -> Copies:
        """Return those of one kind; with `written` only tensors whose contents have changed."""
        return self._where([key[0] == kind and not (written and _unchanged(*pair)) for key, *pair in self._rows()])

    def without(self, kind: str) -> Copies:
        """Return those of all other kinds."""
        return self._where([key[0] != kind for key in self.keys])

    def _rows(self) -> Iterator[tuple[Key, Tensor, Tensor]]:
        return zip(self.keys, self.live, self.copies, strict=True)

    def _where(self, wanted: Sequence[bool]) -> Copies:
        columns = (self.keys, self.live, self.copies, self.versions)
        return Copies(*([each for each, it in zip(column, wanted, strict=True) if it] for column in columns))  # type: ignore[arg-type]

    def by_key(self) -> dict[Key, Tensor]:
        """Return the copies by key."""
        return dict(zip(self.keys, self.copies, strict=True))

    def restore(self) -> None:
        """Write the copies back in place, version counters included, so that a live graph stays valid.

        `.data.copy_` with the counters rewound is the only way to keep both right.
        """
        pairs = [pair for pair in zip(self.live, self.copies, strict=True) if pair[0] is not pair[1]]
        for (tensor, copy), unchanged in zip(pairs, all_same_bits(pairs), strict=True):
            if not unchanged:  # an expanded buffer can't be written, and never was
                write(tensor, copy)
        dense = [pair for pair in zip(self.live, self.versions, strict=True) if pair[0].layout is torch.strided]
        if dense:
            tensors, versions = zip(*dense, strict=True)
            torch._C._autograd._unsafe_set_version_counter(tensors, versions)


class Saved(Struct):
    """Everything that was saved before one act."""

    copies: Copies = field(default_factory=Copies)
    captured: dict[str, Any] = {}
    """The capture of each part that the act could write, by the part's name."""
    grad_mode: bool = True
    """Torch's grad mode on the thread of the act."""
    known: bool = True
    """False when nothing was saved, or it was dropped: the act may have written anything."""

    def before(self, held: Debuggee, key: Key) -> Tensor | None:
        """Return a tensor of the state from before the act; None when it was None, or the act could not change it."""
        part = registry.part_of(key)
        found = self.copies.by_key().get(key)
        if found is None and part.name in self.captured:
            return dict(part.tensors(held, self.captured[part.name])).get(key)
        return found

    def restore(self, held: Debuggee) -> None:
        """Restore everything: the same objects in the same places, with their old contents.

        Raises:
            Exception: raised by a user's `load_state_dict`; everything else is restored.
        """
        self.copies.restore()
        restore_parts(held, self.captured)


def restore_parts(held: Debuggee, captured: dict[str, Any]) -> None:
    """Restore each part that was captured; if one raises, restore the others before raising."""
    failed: BaseException | None = None
    for part in registry.PARTS:
        if part.name in captured:
            try:
                part.restore(held, captured[part.name])
            except BaseException as error:
                failed = failed or error
    if failed is not None:
        raise failed


class Copier(Protocol):
    """Keeps copies of tensors."""

    def take(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return a copy of each tensor, which must not be written."""
        ...


class Saver:
    """Saves what an act may write, in the images of a history or in copies that live as long as they are referenced."""

    def __init__(self, copier: Copier | None = None, offload: bool = False) -> None:
        self._take = partial(copies_of, offload=offload) if copier is None else copier.take

    def save(self, held: Debuggee, writing: Writing) -> Saved:
        """Save what an act may write."""
        captured, rows = written_by(held, writing)
        return Saved(self.copy(rows), captured, torch.is_grad_enabled())

    def copy(self, rows: Iterable[Row]) -> Copies:
        """Copy tensors that may be written in place."""
        there = [(key, tensor) for key, tensor in rows if not tensor.is_meta]
        live = [tensor for _, tensor in there]
        return Copies([key for key, _ in there], live, self._take(live), [tensor._version for tensor in live])


def written_by(held: Debuggee, writing: Writing) -> tuple[dict[str, Any], list[Row]]:
    """Return the captures of the parts that an act could write, and the tensors that it may write in place."""
    captured: dict[str, Any] = {}
    rows: list[Row] = []
    for part in registry.PARTS:
        written = part.may_write(held, writing)
        if written is not None:
            captured[part.name] = part.capture(held)
            rows += written  # after the capture, on which some of these iterators depend
    return captured, rows


def _unchanged(tensor: Tensor, copy: Tensor) -> bool:
    return tensor is copy or same_bits(tensor, copy)


@contextmanager
def without_grads(held: Debuggee) -> Iterator[None]:
    """Set every `.grad` aside: a backward inside the block adds to none of them."""
    strays = [stray.leaf for stray in held.strays.values()]
    grads = [(leaf, leaf.grad) for leaf in (*(parameter for _, parameter in held.parameters), *strays)]
    try:
        for leaf, _ in grads:
            leaf.grad = None
        yield
    finally:
        for leaf, grad in grads:
            leaf.grad = grad
