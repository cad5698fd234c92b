"""The Tensor view: a window onto the selection and the same window onto its `.grad`, and what changed in both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.held import Held
from gradstep.engine.numbers.readable import dtype_name, notes_on, why_not
from gradstep.engine.numbers.selection import Cut, cut
from gradstep.engine.reads import Reading, gather
from gradstep.engine.yielding import Waits, never
from gradstep.values.expressions import name_line
from gradstep.values.views.tensor import LookTensor, Quantity, TensorView
from gradstep.views.tensor.before_after import BeforeAfter, side_of, was_there, window_of
from gradstep.views.tensor.measures import Measures
from gradstep.views.tensor.plane import Plane, axes_of, plane_of
from gradstep.views.why.formulas.find import would_give


@dataclass(frozen=True)
class Selection:
    """What `show` selected: its line, the name of the tensor, and the index into it."""

    line: str
    path: str
    items: tuple[object, ...]


class TensorViewer:
    """Makes views of the selected tensor; measurements are cached as long as nothing can have changed."""

    def __init__(self, waits: Waits = never) -> None:
        self.measures = Measures(waits)

    def view(
        self, held: Held, stop: int, selection: Selection | None, tensor: Tensor | None, look: LookTensor
    ) -> Reading[TensorView]:
        """Read a window of `look.rows` by `look.columns` onto the selected slice.

        Only the window is copied. Statistics are of the slice.

        Args:
            held: the held workload.
            stop: the number of the stop.
            selection: what is selected; None for nothing.
            tensor: the selected tensor as it is now; None when there is none at this stop (no prediction yet).
            look: the size and position of the window, and which quantity of its elements is shown.
        """
        if selection is None:
            return TensorView(stop, "", note="nothing selected: move in the Model panel, or type `show NAME`")
        if tensor is None:
            return TensorView(stop, selection.line, selection.path, note=_none_yet(held, selection.path))
        base = TensorView(
            stop,
            selection.line,
            selection.path,
            whole=tuple(tensor.shape),
            dtype=dtype_name(tensor),
            grad_state=_grad_state(held, tensor),
            no_grad=_no_grad(held, selection.path, tensor),
        )
        reason = why_not(tensor)
        if reason:
            return replace(base, note=reason)
        chosen = cut(tensor.shape, selection.items)
        if any(len(part) == 0 for part in chosen.kept):
            return replace(base, shape=tuple(map(len, chosen.kept)), note="an empty slice: there is nothing to draw")
        self.measures.refresh(stop, held.point)
        framing, window = framed(base, chosen, look)
        own = side_of(held, selection.path, tensor)
        quantity: Quantity = "value" if own.past == "unknown" else look.quantity
        grad, notes = _grad_side(held, selection.path, tensor, quantity)
        if quantity != look.quantity:
            notes.insert(0, "its values before were not kept: these are the present ones")
        elif quantity != "value" and own.past == "none":
            notes.insert(0, "it did not exist before")
        sides = [own] if grad is None else [own, grad]
        statistics, windows, would = yield from gather(
            [
                gather([self.measures.of(side, chosen, quantity, look) for side in sides]),
                gather([window_of(side, window, quantity) for side in sides]),
                _would(held, tensor, window if framing.kind == "vector" and quantity == "value" else None),
            ]
        )
        return replace(
            framing,
            value=windows[0],
            grad=None if grad is None else windows[1],
            statistics=statistics[0],
            grad_statistics=None if grad is None else statistics[1],
            note="; ".join([*notes_on(tensor), *notes]),
            would=would,
            quantity=quantity,
            due=None in statistics,
            grad_gone=tensor.is_leaf and tensor.grad is None and was_there(held, f"{selection.path}.grad"),
        )


def framed(base: TensorView, chosen: Cut, look: LookTensor) -> tuple[TensorView, Plane]:
    """Return a view with the position of the requested window, and the window; no dimension is empty."""
    if look.of and look.of != base.name:
        look = replace(look, top=0, left=0, dims=(), at=())
    axes = axes_of(chosen)
    plane = plane_of(chosen, look.dims, look.at)
    window = plane.window(look.top, look.left, look.rows, look.columns)
    kind: Literal["number", "vector", "matrix"] = "number" if not axes else "vector" if len(axes) == 1 else "matrix"
    view = replace(
        base,
        shape=tuple(axis.count for axis in axes),
        kind=kind,
        top=_start(plane, window, 0),
        left=_start(plane, window, 1),
        row_labels=tuple(map(str, window.range(0))) if axes else (),
        column_labels=tuple(map(str, window.range(1))) if kind == "matrix" else (),
        place=tuple(part if isinstance(part, int) else None for part in window.cut.parts),
        axes=axes,
        dims=plane.dims,
    )
    return view, window


def _would(held: Held, tensor: Tensor, window: Plane | None) -> Reading[tuple[float, ...] | None]:
    if window is None or held.point.phase == "step":
        return None
    given = yield from would_give(held, tensor, window.cut)
    return None if given is None else tuple(given.to(torch.float64).tolist())


def _start(plane: Plane, window: Plane, place: int) -> int:
    """Return the number of elements of the slice before the window, along its rows (0) or columns (1)."""
    return plane.range(place).index(window.range(place)[0]) if place < len(plane.dims) else 0


def _grad_side(held: Held, path: str, tensor: Tensor, quantity: Quantity) -> tuple[BeforeAfter | None, list[str]]:
    """Return the `.grad` of a tensor, None when there is none or it can't be shown, and notes on it."""
    grad = tensor.grad if tensor.is_leaf else None
    if grad is None:
        return None, []
    reason = why_not(grad)
    if reason:
        return None, [f".grad: {reason}"]
    side = side_of(held, f"{path}.grad", grad)
    notes = [f".grad: {words}" for words in notes_on(grad) if words not in notes_on(tensor)]
    if quantity != "value" and side.past == "unknown":
        return None, [*notes, "the .grad before was not kept"]
    return side, notes


def _none_yet(held: Held, path: str) -> str:
    """Return the phase that will make a missing tensor."""
    if ".state." in path:
        return "it does not exist yet: the optimizer creates it in its first step: run `forward`, `backward`, `step`"
    if path.endswith(".grad"):
        owner = path.removesuffix(".grad")
        parameter = held.tensor(owner)
        if parameter is not None and held.missed(parameter):
            return f"it is None: the {unreached(owner)}"
        return "it is None: run `forward`, then `backward`, which writes it"
    return "it does not exist yet: run `forward`"


def unreached(path: str) -> str:
    """Return that the last backward left a parameter without a `.grad`, and the command that shows why."""
    return f"last backward did not reach it: `why {name_line(path)}.grad` shows where its path ends"


def _no_grad(held: Held, path: str, tensor: Tensor) -> str:
    """Return why a parameter has no `.grad`; empty when it has one, and for any other tensor."""
    if tensor not in held.names or tensor.grad is not None:
        return ""
    if not tensor.requires_grad:
        return "none: requires_grad is False"
    return f"none: the {unreached(path)}" if held.missed(tensor) else "none yet: `forward`, then `backward`"


def _grad_state(held: Held, tensor: Tensor) -> str:
    return held.ledger.state(held.names[tensor], tensor) if tensor in held.names else ""
