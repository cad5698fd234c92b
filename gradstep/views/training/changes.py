"""The Changes view: what the last phase changed, found by comparing contents with the copies from before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from gradstep.engine.bits import answers, same_bits, same_there
from gradstep.engine.held import Held
from gradstep.engine.numbers.norms import UpdateNorms, all_update_norms, has_norm, norms
from gradstep.engine.reads import Reading, gather, read
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


class Comparison(NamedTuple):
    """What the last phase could have written, compared with its contents before."""

    found: list[Pair]
    same: list[bool | Tensor]
    """For each pair of two tensors, whether they have the same bits; on a device for tensors there."""


def compared(held: Held) -> Comparison:
    """Compare every tensor that the last phase could have written."""
    found = list(pairs(held))
    both = [(old, new) for _, old, new in found if old is not None and new is not None and old is not new]
    return Comparison(found, [same_there(*pair) for pair in both])


def changed_names(comparison: Comparison) -> Reading[frozenset[str]]:
    """Read the names of all tensors whose contents the last phase changed."""
    return frozenset([name for name, _, _ in (yield from _changed(comparison))])


def changes_view(held: Held, stop: int) -> Changes:
    """Return what the last phase changed, with norms before, after and of the change."""
    changed = read(_changed(compared(held)))
    rows = tuple(
        [
            Change(name, _word(old, first), _word(new, last), first, last, moved)
            for (name, old, new), (first, last, moved) in zip(changed, _norms(changed), strict=True)
        ]
    )
    return Changes(stop, held.point.phase, held.point.value, rows)


def _changed(comparison: Comparison) -> Reading[list[Pair]]:
    """Read the tensors whose contents the last phase changed, before and now."""
    same = iter((yield from answers(comparison.same)))
    apart = [pair for pair in comparison.found if pair[1] is not pair[2]]
    return [pair for pair in apart if pair[1] is None or pair[2] is None or not next(same)]


def same_contents(old: Tensor | None, new: Tensor | None) -> bool:
    """Return whether two tensors are equal bit for bit, or both None."""
    if old is None or new is None or old is new:
        return old is new
    return same_bits(old, new)


def _norms(changed: Sequence[Pair]) -> list[UpdateNorms]:
    """Return the norms of tensors before and after, and of the change where both have the same form."""
    alike = [
        old is not None and new is not None and old.shape == new.shape and old.dtype == new.dtype and has_norm(new)
        for _, old, new in changed
    ]
    both = [pair for pair, each in zip(changed, alike, strict=True) if each]
    written = all_update_norms([(new, old) for _, old, new in both if old is not None and new is not None])
    others = [(old, new) for (_, old, new), each in zip(changed, alike, strict=True) if not each]
    alone = norms([tensor for pair in others for tensor in pair if tensor is not None])
    updates, known = map(iter, read(gather([written, alone])))
    return [
        next(updates)
        if each
        else UpdateNorms(None if old is None else next(known), None if new is None else next(known), None)
        for (_, old, new), each in zip(changed, alike, strict=True)
    ]


def _word(tensor: Tensor | None, norm: float | None) -> str:
    if tensor is None:
        return "none"
    if norm is None:
        return str(tensor.item()) if tensor.numel() == 1 and not tensor.is_meta else str(tuple(tensor.shape))
    return "zero" if norm == 0 else f"norm {numbers.norm(norm)}"
