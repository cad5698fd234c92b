"""The Tensor view: a window onto the selection and the same window onto its `.grad`, and what changed in both."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.held import Held
from gradstep.engine.loop import Point
from gradstep.values.tensors import LookTensor, Quantity, Statistics, TensorView
from gradstep.views.formulas.find import would_give
from gradstep.views.model import dtype_name
from gradstep.views.moment import version_of
from gradstep.views.plane import Plane, axes_of, plane_of
from gradstep.views.readable import why_not, words_on
from gradstep.views.selection import Cut, cut
from gradstep.views.sides import Side, side_of, statistics_of, was_there, window_of

_QUICK = 1 << 21
"""Elements whose statistics take no longer than a frame: they come with the window, also in a hurry."""


@dataclass(frozen=True)
class Selection:
    """What `show` selected: its line, the name of the tensor, and the index into it."""

    line: str
    path: str
    items: tuple[object, ...]


class _Known(NamedTuple):
    bins: int
    statistics: Statistics


class TensorLook:
    """Answers looks at the selected tensor; what it has measured is kept for as long as nothing can have changed."""

    def __init__(self) -> None:
        self._stop = -1
        self._point: Point | None = None
        self._known: dict[Hashable, _Known] = {}
        self._asked: set[Hashable] = set()
        """What was left for the next time."""

    def view(
        self, held: Held, stop: int, selection: Selection | None, tensor: Tensor | None, look: LookTensor
    ) -> TensorView:
        """Return a window of `look.rows` by `look.columns` onto the selected slice.

        Only the window is copied. Statistics are of the slice.

        Args:
            held: the held workload.
            stop: the number of the stop.
            selection: what is selected; None for nothing.
            tensor: the selected tensor as it is now; None when there is none at this stop (no prediction yet).
            look: the size and place of the window, and what is seen of its elements.
        """
        if selection is None:
            return TensorView(stop, "", note="nothing selected: move in the Model panel, or type `show NAME`")
        if tensor is None:
            return TensorView(stop, selection.line, selection.path, note=_none_yet(selection.path))
        base = TensorView(
            stop,
            selection.line,
            selection.path,
            whole=tuple(tensor.shape),
            dtype=dtype_name(tensor),
            grad_state=_grad_state(held, tensor),
        )
        reason = why_not(tensor)
        if reason:
            return replace(base, note=reason)
        chosen = cut(tensor.shape, selection.items)
        axes = axes_of(chosen)
        shape = tuple(axis.count for axis in axes)
        if 0 in shape:
            return replace(base, shape=shape, note="an empty slice: there is nothing to draw")
        self._refresh(held, stop)
        if look.of and look.of != selection.line:
            look = replace(look, top=0, left=0, dims=(), at=())
        plane = plane_of(chosen, look.dims, look.at)
        window = plane.window(look.top, look.left, look.rows, look.columns)
        kind: Literal["number", "vector", "matrix"] = "number" if not axes else "vector" if len(axes) == 1 else "matrix"
        own = side_of(held, selection.path, tensor)
        quantity: Quantity = "value" if own.past == "unknown" else look.quantity
        grad, notes = _grad_side(held, selection.path, tensor, quantity)
        if quantity != look.quantity:
            notes.insert(0, "what it was before is not kept: these are its values")
        elif quantity != "value" and own.past == "none":
            notes.insert(0, "there was none before")
        measured = self._statistics(own, chosen, quantity, look)
        of_grad = None if grad is None else self._statistics(grad, chosen, quantity, look)
        return replace(
            base,
            shape=shape,
            kind=kind,
            top=_start(plane, window, 0),
            left=_start(plane, window, 1),
            row_labels=tuple(map(str, window.range(0))) if axes else (),
            column_labels=tuple(map(str, window.range(1))) if kind == "matrix" else (),
            value=window_of(own, window, quantity),
            grad=None if grad is None else window_of(grad, window, quantity),
            statistics=measured,
            grad_statistics=of_grad,
            note="; ".join([*words_on(tensor), *notes]),
            place=tuple(part if isinstance(part, int) else None for part in window.cut.parts),
            would=_would(held, tensor, window) if kind == "vector" and quantity == "value" else None,
            axes=axes,
            dims=plane.dims,
            quantity=quantity,
            due=measured is None or (grad is not None and of_grad is None),
            grad_gone=tensor.is_leaf and tensor.grad is None and was_there(held, f"{selection.path}.grad"),
        )

    def forget(self) -> None:
        """Forget what was measured."""
        self._known = {}

    def _refresh(self, held: Held, stop: int) -> None:
        """Forget what was measured if anything can have changed since: the point is another one after each phase."""
        if self._stop != stop or self._point is not held.point:
            self._stop, self._point = stop, held.point
            self._known, self._asked = {}, set()

    def _statistics(self, side: Side, chosen: Cut, quantity: Quantity, look: LookTensor) -> Statistics | None:
        """Return the statistics of a slice; None when they are left for the next time."""
        key = (side.name, id(side.now), version_of(side.now), chosen, quantity)
        known = self._known.get(key)
        if known is not None and (not look.bins or known.bins == look.bins):
            return known.statistics
        if look.hurry and side.now.numel() > _QUICK and key not in self._asked:
            self._asked.add(key)
            return None
        made = statistics_of(side, chosen, quantity, look.bins)
        self._known[key] = _Known(look.bins, made)
        return made


def _would(held: Held, tensor: Tensor, window: Plane) -> tuple[float, ...] | None:
    given = None if held.point.phase == "step" else would_give(held, tensor, window.cut)
    return None if given is None else tuple(given.to(torch.float64).tolist())


def _start(plane: Plane, window: Plane, place: int) -> int:
    """Return how many elements of the slice lie before the window, along its rows (0) or columns (1)."""
    return plane.range(place).index(window.range(place)[0]) if place < len(plane.dims) else 0


def _grad_side(held: Held, path: str, tensor: Tensor, quantity: Quantity) -> tuple[Side | None, list[str]]:
    """Return the `.grad` of a tensor, None where there is none or it can't be shown, and what is to be said of it."""
    grad = tensor.grad if tensor.is_leaf else None
    if grad is None:
        return None, []
    reason = why_not(grad)
    if reason:
        return None, [f".grad: {reason}"]
    side = side_of(held, f"{path}.grad", grad)
    notes = [f".grad: {words}" for words in words_on(grad) if words not in words_on(tensor)]
    if quantity != "value" and side.past == "unknown":
        return None, [*notes, "what .grad was before is not kept"]
    return side, notes


def _none_yet(path: str) -> str:
    """Say what to press for a tensor that is not there yet."""
    if ".state." in path:
        return "there is none yet: the optimizer makes it in its first step: press f, b, s"
    if path.endswith(".grad"):
        return "there is none: press f, then b, and backward writes it"
    return "there is none yet: press f"


def _grad_state(held: Held, tensor: Tensor) -> str:
    return held.ledger.state(held.names[tensor], tensor) if tensor in held.names else ""
