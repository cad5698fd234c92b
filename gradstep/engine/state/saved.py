"""What an act may write, kept from just before it: to roll it back when it raises, and to say what it changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from msgspec import Struct, field
from torch import Tensor

from gradstep.engine.bits import same_bits, write
from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.state import registry
from gradstep.engine.state.memory import copies_of
from gradstep.engine.state.part import Key, Row, Writing


class Copies(Struct):
    """Tensors that are written in place, beside their copies."""

    keys: list[Key] = []
    live: list[Tensor] = []
    copies: list[Tensor] = []
    versions: list[int] = []

    def plus(self, more: Copies) -> Copies:
        """Return these and those of another."""
        return Copies(
            self.keys + more.keys, self.live + more.live, self.copies + more.copies, self.versions + more.versions
        )

    def of(self, kind: str, written: bool = False) -> Copies:
        """Return those of one kind; with `written` only the ones that do not hold what they did."""
        return self._where([key[0] == kind and not (written and _is_as_was(*pair)) for key, *pair in self._rows()])

    def without(self, kind: str) -> Copies:
        """Return those of all other kinds."""
        return self._where([key[0] != kind for key in self.keys])

    def _rows(self) -> Iterator[tuple[Key, Tensor, Tensor]]:
        return zip(self.keys, self.live, self.copies, strict=True)

    def _where(self, wanted: Sequence[bool]) -> Copies:
        columns = (self.keys, self.live, self.copies, self.versions)
        return Copies(*([each for each, it in zip(column, wanted, strict=True) if it] for column in columns))  # type: ignore[arg-type]

    def by_key(self) -> dict[Key, Tensor]:
        """Return the copies."""
        return dict(zip(self.keys, self.copies, strict=True))

    def restore(self) -> None:
        """Write the copies back in place, versions included, so that a live graph neither refuses nor is fooled.

        This is the one way that keeps both (`.data.copy_` and the version counters rewound).
        """
        for tensor, kept in zip(self.live, self.copies, strict=True):
            if not _is_as_was(tensor, kept):  # an expanded buffer can't be written, and never was
                write(tensor, kept)
        dense = [pair for pair in zip(self.live, self.versions, strict=True) if pair[0].layout is torch.strided]
        if dense:
            tensors, versions = zip(*dense, strict=True)
            torch._C._autograd._unsafe_set_version_counter(tensors, versions)


class Saved(Struct):
    """Everything kept from before one act."""

    copies: Copies = field(default_factory=Copies)
    kept: dict[str, Any] = {}
    """What was captured of each part that the act could write, by the part's name."""
    grad_mode: bool = True
    """torch's, on the thread of the act."""
    known: bool = True
    """False where what was before the act was not kept, or is not any more: it may have written anything."""

    def before(self, held: Debuggee, key: Key) -> Tensor | None:
        """Return what a tensor of the state was; None where it was none, or the act could not change it."""
        part = registry.part_of(key)
        found = self.copies.by_key().get(key)
        if found is None and part.name in self.kept:
            return dict(part.tensors(held, self.kept[part.name])).get(key)
        return found

    def restore(self, held: Debuggee) -> None:
        """Put everything back: the same objects in the same places, with what they held.

        Raises:
            Exception: what a user's own `load_state_dict` raised; everything else is back.
        """
        self.copies.restore()
        restore_parts(held, self.kept)


def restore_parts(held: Debuggee, kept: dict[str, Any]) -> None:
    """Restore the parts of which something was captured; what one raises is raised when all others are back."""
    failed: BaseException | None = None
    for part in registry.PARTS:
        if part.name in kept:
            try:
                part.restore(held, kept[part.name])
            except BaseException as error:
                failed = failed or error
    if failed is not None:
        raise failed


class Taker(Protocol):
    """What makes the copies."""

    def take(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return a copy of each tensor, whatever its layout."""
        ...


class Saver:
    """Keeps what an act may write; without a taker the copies last for as long as somebody holds them."""

    def __init__(self, copies: Taker | None = None, offload: bool = False) -> None:
        self._take = partial(copies_of, offload=offload) if copies is None else copies.take

    def save(self, held: Debuggee, writing: Writing) -> Saved:
        """Keep what an act may write."""
        rows: list[Row] = []
        kept = {}
        for part in registry.PARTS:
            written = part.may_write(held, writing)
            if written is not None:
                kept[part.name] = part.capture(held)
                rows += written  # not before: some are told by what was captured
        return Saved(self.copy(rows), kept, torch.is_grad_enabled())

    def copy(self, rows: Iterable[Row]) -> Copies:
        """Copy tensors that may be written in place."""
        there = [(key, tensor) for key, tensor in rows if not tensor.is_meta]
        live = [tensor for _, tensor in there]
        return Copies([key for key, _ in there], live, self._take(live), [tensor._version for tensor in live])


def _is_as_was(tensor: Tensor, kept: Tensor) -> bool:
    return tensor is kept or same_bits(tensor, kept)


@contextmanager
def without_grads(held: Debuggee) -> Iterator[None]:
    """Put every `.grad` aside: a backward inside the block, one within a forward too, adds to none of them."""
    strays = [stray.leaf for stray in held.strays.values()]
    grads = [(leaf, leaf.grad) for leaf in (*(parameter for _, parameter in held.parameters), *strays)]
    try:
        for leaf, _ in grads:
            leaf.grad = None
        yield
    finally:
        for leaf, grad in grads:
            leaf.grad = grad
