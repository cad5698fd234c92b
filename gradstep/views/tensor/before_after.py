"""A tensor before and after the last phase: windows of both, their difference, and its statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gradstep.engine.bits import beside, different
from gradstep.engine.held import Held
from gradstep.engine.numbers.readable import exact, part, real, stored
from gradstep.engine.numbers.selection import Cut
from gradstep.engine.reads import Reading, on_host
from gradstep.engine.yielding import Waits, never, yielding
from gradstep.values.views.tensor import Quantity, Statistics, Window
from gradstep.views.tensor.plane import Plane
from gradstep.views.tensor.statistics import chunks, statistics
from gradstep.views.training.changes import before

Past = Literal["kept", "same", "none", "unknown"]


@dataclass(frozen=True)
class BeforeAfter:
    """A readable tensor, with its contents before the last phase."""

    name: str
    """The name in the state."""
    now: Tensor
    before: Tensor | None
    """Its contents before; the tensor itself when the phase could not write it."""
    past: Past
    """`none`: there was no such tensor. `unknown`: no copy was kept."""

    @property
    def is_same(self) -> bool:
        """True when the last phase could not write it."""
        return self.past == "same"


def side_of(held: Held, path: str, tensor: Tensor) -> BeforeAfter:
    """Return a selected tensor, or its `.grad`, with its contents before the last phase."""
    name = _held_name(held, path)
    was_kept, old = before(held, name) if name else (False, None)
    if not name or tensor.layout is not torch.strided or tensor.is_quantized:
        return BeforeAfter(name or path, tensor, None, "unknown")
    if not was_kept:
        return (
            BeforeAfter(name, tensor, tensor, "same")
            if held.saved.known
            else BeforeAfter(name, tensor, None, "unknown")
        )
    if old is None:
        return BeforeAfter(name, tensor, None, "none")
    if old.shape != tensor.shape or old.dtype != tensor.dtype or old.layout != tensor.layout:
        return BeforeAfter(name, tensor, None, "unknown")
    return BeforeAfter(name, tensor, beside(old, tensor), "kept")


def was_there(held: Held, path: str) -> bool:
    """Return whether this tensor existed before the last phase, when that phase could write it."""
    name = _held_name(held, path)
    was_kept, old = before(held, name) if name else (False, None)
    return was_kept and old is not None


def _held_name(held: Held, path: str) -> str:
    """Return the name of a model's tensor in the state; empty for any other tensor."""
    if held.tensor(path) is not None:
        owner, attribute = path, ""
    elif path.endswith(".grad"):
        owner, attribute = path.removesuffix(".grad"), ".grad"
    else:
        owner, dot, key = path.rpartition(".state.")
        attribute = dot + key
    tensor = held.tensor(owner) if owner else None
    # a shared tensor is kept under its first name
    return "" if tensor is None else held.names.get(tensor, owner) + attribute


# -- windows -----------------------------------------------------------------------------------------------------------
def window_of(side: BeforeAfter, plane: Plane, quantity: Quantity) -> Reading[Window]:
    """Read a window: the shown quantity of its elements, their values before, and which of them have changed."""
    now = plane.rows_first(part(side.now, plane.cut))
    old = None if side.before is None else plane.rows_first(part(side.before, plane.cut))
    now, *olds = yield [now] if old is None else [now, old]
    old = olds[0] if olds else None
    if side.past == "none":
        changed = torch.ones(now.shape, dtype=torch.bool)
    else:
        changed = torch.zeros(now.shape, dtype=torch.bool) if old is None else different(now, old)
    values, absent = _shown(now, old, changed, quantity)
    was = None if old is None or side.is_same else _rows(_magnitude(exact(old)))
    known = None if quantity == "value" else _rows(_magnitude(exact(now)))
    return Window(_rows(values), was, _flags(changed), known, _flags(absent))


def _shown(now: Tensor, old: Tensor | None, changed: Tensor, quantity: Quantity) -> tuple[Tensor, Tensor]:
    """Return the shown quantity of elements as float64, and where it is undefined, as a ratio to 0."""
    first, last = None if old is None else exact(old), exact(now)
    nowhere = torch.zeros(last.shape, dtype=torch.bool)
    if quantity == "value" or (quantity == "change" and first is None):
        return _magnitude(last), nowhere
    if first is None:
        return torch.zeros(last.shape), ~nowhere
    change = _magnitude(last - first).masked_fill(~changed, 0.0)
    if quantity == "change":
        return change, nowhere
    return (change / _magnitude(first)).masked_fill(~changed | (first == 0), 0.0), first == 0


def _magnitude(values: Tensor) -> Tensor:
    return values.abs() if values.is_complex() else values


def _rows(values: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in _square(values).tolist())


def _flags(mask: Tensor) -> tuple[tuple[bool, ...], ...]:
    return tuple(tuple(row) for row in _square(mask).tolist()) if mask.any() else ()


def _square(values: Tensor) -> Tensor:
    """Return a number or vector as one column, so that every window is rows of cells."""
    return values.reshape(-1, 1) if values.dim() < 2 else values


# -- statistics --------------------------------------------------------------------------------------------------------
def statistics_of(
    side: BeforeAfter, chosen: Cut, quantity: Quantity, bins: int, waits: Waits = never
) -> Reading[Statistics]:
    """Read the statistics of the shown quantity of a slice.

    Raises:
        YieldedError: a command waits.
    """
    norm = side.now.is_floating_point() or side.now.is_complex() or side.now.is_quantized
    if quantity == "value" or (quantity == "change" and side.before is None):
        values, implied = stored(side.now, chosen)
        as_it_is = values.dtype in (torch.float32, torch.float64)
        read = None if as_it_is else lambda chunk: real(chunk[0])
        made = statistics(lambda: yielding(chunks([values], read), waits), implied=implied, norm=norm, bins=bins)
        return (yield from made)
    if side.before is None:
        return Statistics(0)
    now, old = part(side.now, chosen), part(side.before, chosen)
    if side.is_same:
        return Statistics(now.numel(), 0.0, 0.0, 0.0, 0.0, 0.0 if norm else None, now.numel())
    read = changes if quantity == "change" else ratios
    return (yield from statistics(lambda: yielding(chunks([now, old], read), waits), norm=norm, bins=bins))


def changes(chunk: Sequence[Tensor]) -> Tensor:
    """Return after minus before; a NaN or inf that was the same before counts as unchanged."""
    now, old = chunk
    if now.is_complex():
        return real(now - old)
    now, old = real(now), real(old)
    change = now - old
    if not on_host(change) or not torch.isfinite(change.sum()):
        same = (now == old) | (now.isnan() & old.isnan())
        change = change.masked_fill(same, 0.0)
    return change


def ratios(chunk: Sequence[Tensor]) -> Tensor:
    """Return the relative change of elements, without those that were 0."""
    base = real(chunk[1])
    found = base != 0
    return changes(chunk)[found] / base[found]
