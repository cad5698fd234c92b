"""The Changes view: what the last phase changed, found by comparing contents with the copies from before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from gradstep.engine.bits import beside, same_bits
from gradstep.engine.held import Held
from gradstep.engine.numbers.norms import has_norm, norm_of, update_norms
from gradstep.engine.state import registry
from gradstep.engine.state.part import Key, Part
from gradstep.values import numbers
from gradstep.values.views import Change, Changes

Pair = tuple[str, Tensor | None, Tensor | None]
"""A name, the tensor before the last phase, and the tensor now; None where there is none."""


def pairs(held: Held) -> Iterator[Pair]:
    """Yield every tensor that the last phase could have written, before and now."""
    copies = held.saved.copies.by_key()
    for part in _parts(held):
        for key, then, now in _slots(held, part):
            if key in copies or then is not now:
                yield part.title(key), copies.pop(key, then), now
    lives = dict(zip(held.saved.copies.keys, held.saved.copies.live, strict=True))
    yield from ((registry.name_of(key), kept, lives[key]) for key, kept in copies.items())  # of the batch


def before(held: Held, name: str) -> tuple[bool, Tensor | None]:
    """Return a tensor from before the last phase: (whether it was kept, the copy).

    A tensor that was not kept could not be written, and is the same as now, unless `held.saved` is unknown.
    """
    copies = held.saved.copies.by_key()
    for part in _parts(held):
        for key, then, now in _slots(held, part):
            if part.title(key) == name:
                kept = key in copies or then is not now
                return kept, copies.get(key, then) if kept else None
    return next(((True, old) for key, old in copies.items() if registry.name_of(key) == name), (False, None))


def _parts(held: Held) -> Iterator[Part[Any]]:
    """Yield the parts with tensors that the last phase could have written."""
    return (part for part in registry.PARTS if part.kinds and part.name in held.saved.captured)


def _slots(held: Held, part: Part[Any]) -> Iterator[tuple[Key, Tensor | None, Tensor | None]]:
    """Yield the key of each tensor of a part, the tensor that was there before the last phase, and the one now."""
    then = dict(part.tensors(held, held.saved.captured[part.name]))
    return ((key, then.get(key), now) for key, now in part.tensors(held, part.present(held)))


def changed_names(held: Held) -> frozenset[str]:
    """Return the names of all tensors whose contents the last phase changed."""
    return frozenset(name for name, old, new in pairs(held) if not same_contents(old, new))


def changes_view(held: Held, stop: int) -> Changes:
    """Return what the last phase changed, with norms before, after and of the change."""
    rows = tuple(_change(*pair) for pair in pairs(held) if not same_contents(pair[1], pair[2]))
    return Changes(stop, held.point.phase, held.point.value, rows)


def same_contents(old: Tensor | None, new: Tensor | None) -> bool:
    """Return whether two tensors are equal bit for bit, or both None."""
    if old is None or new is None or old is new:
        return old is new
    return same_bits(old, new)


def _change(name: str, old: Tensor | None, new: Tensor | None) -> Change:
    if old is not None and new is not None and old.shape == new.shape and old.dtype == new.dtype and has_norm(new):
        first, last, moved = update_norms(new, beside(old, new))
    else:
        first, last, moved = None if old is None else norm_of(old), None if new is None else norm_of(new), None
    return Change(name, _word(old, first), _word(new, last), first, last, moved)


def _word(tensor: Tensor | None, norm: float | None) -> str:
    if tensor is None:
        return "none"
    if norm is None:
        return str(tensor.item()) if tensor.numel() == 1 and not tensor.is_meta else str(tuple(tensor.shape))
    return "zero" if norm == 0 else f"norm {numbers.norm(norm)}"
