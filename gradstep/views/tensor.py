"""The Tensor view: a window onto the selection and the same window onto its `.grad`, and what changed in both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from msgspec.structs import replace
from torch import Tensor

from gradstep.engine.bits import different
from gradstep.engine.held import Held
from gradstep.values.views import LookTensor, TensorView, Window
from gradstep.views.changes import before
from gradstep.views.formulas.find import would_give
from gradstep.views.model import dtype_name
from gradstep.views.numbers import norm_of
from gradstep.views.selection import Cut, cut


@dataclass(frozen=True)
class Selection:
    """What `show` selected: its line, the name of the tensor, and the index into it."""

    line: str
    path: str
    items: tuple[object, ...]


def tensor_view(
    held: Held, stop: int, selection: Selection | None, tensor: Tensor | None, look: LookTensor
) -> TensorView:
    """Return a window of `look.rows` by `look.columns` onto the selected slice.

    Only the window is copied. Statistics are of the slice.

    Args:
        held: the held workload.
        stop: the number of the stop.
        selection: what is selected; None for nothing.
        tensor: the selected tensor as it is now; None when there is none at this stop (no prediction yet).
        look: the size and place of the window.
    """
    if selection is None:
        return TensorView(stop, "", note="nothing selected: move in the Model panel, or type `show NAME`")
    if tensor is None:
        return TensorView(stop, selection.line, selection.path, note="there is none yet: press f")
    base = TensorView(
        stop,
        selection.line,
        selection.path,
        whole=tuple(tensor.shape),
        dtype=dtype_name(tensor),
        grad_state=_grad_state(held, tensor),
    )
    reason = _cannot_draw(tensor)
    if reason:
        return replace(base, note=reason)
    chosen = cut(tensor.shape, selection.items)
    part = chosen.of(tensor.detach())
    if not part.numel():
        return replace(base, shape=tuple(part.shape), note="an empty slice: there is nothing to draw")
    window = chosen.window(look.top, look.left, look.rows, look.columns)
    grad = tensor.grad if tensor.is_leaf else None
    drawn_grad = grad if grad is not None and not _cannot_draw(grad) else None
    name = held.names.get(tensor, selection.path)  # a shared one was kept under its first name
    kept = window.kept
    kind: Literal["number", "vector", "matrix"] = "number" if not kept else "vector" if len(kept) == 1 else "matrix"
    minimum, maximum, nans, infs = _extremes(part)
    return replace(
        base,
        shape=tuple(part.shape),
        kind=kind,
        top=_start(chosen, window, 0, kind),
        left=_start(chosen, window, 1, kind),
        row_labels=tuple(map(str, kept[0])) if kept else (),
        column_labels=tuple(map(str, kept[1])) if kind == "matrix" else (),
        value=_window(tensor, before(held, name), window),
        grad=None if drawn_grad is None else _window(drawn_grad, before(held, f"{name}.grad"), window),
        norm=norm_of(part),
        minimum=minimum,
        maximum=maximum,
        nans=nans,
        infs=infs,
        grad_norm=None if drawn_grad is None else norm_of(chosen.of(drawn_grad)),
        note=_note(chosen, tensor),
        place=tuple(part if isinstance(part, int) else None for part in window.parts),
        would=_would(held, tensor, window) if kind == "vector" else None,
    )


def _would(held: Held, tensor: Tensor, window: Cut) -> tuple[float, ...] | None:
    given = None if held.point.phase == "step" else would_give(held, tensor, window)
    return None if given is None else tuple(given.to(torch.float64).tolist())


def _window(tensor: Tensor, kept: tuple[bool, Tensor | None], window: Cut) -> Window:
    now = window.of(tensor.detach())
    was_kept, old = kept
    if not was_kept or (old is not None and not _alike(old, tensor)):
        return Window(_rows(now))
    if old is None:
        return Window(_rows(now), None, _flags(torch.ones_like(now, dtype=torch.bool)))
    mask = different(now, window.of(old))
    return Window(_rows(now), _rows(window.of(old)), _flags(mask) if mask.any() else ())


def _alike(old: Tensor, now: Tensor) -> bool:
    return old.shape == now.shape and old.dtype == now.dtype and old.layout == now.layout


def _rows(part: Tensor) -> tuple[tuple[float, ...], ...]:
    real = part.abs() if part.is_complex() else part
    return tuple(tuple(row) for row in _square(real.cpu().to(torch.float64)).tolist())


def _flags(mask: Tensor) -> tuple[tuple[bool, ...], ...]:
    return tuple(tuple(row) for row in _square(mask.cpu()).tolist())


def _square(part: Tensor) -> Tensor:
    """Return a number or vector as one column, so that every window is rows of cells."""
    return part.reshape(-1, 1) if part.dim() < 2 else part


def _start(chosen: Cut, window: Cut, place: int, kind: str) -> int:
    """Return how many elements of the slice lie before the window, along its rows (0) or columns (1)."""
    if kind == "number" or place >= len(window.kept):
        return 0
    whole = chosen.kept[len(chosen.kept) - len(window.kept) + place]
    return whole.index(window.kept[place][0]) if window.kept[place] else 0


def _extremes(part: Tensor) -> tuple[float | None, float | None, int, int]:
    """Return minimum, maximum, and how many are NaN and infinite."""
    if not part.numel() or part.is_complex():
        return None, None, 0, 0
    if not part.dtype.is_floating_point:
        whole = part if part.dtype in (torch.bool, torch.uint8) or part.dtype.is_signed else part.to(torch.float64)
        return float(whole.min()), float(whole.max()), 0, 0
    plain = part.float() if part.element_size() < 2 else part
    return float(plain.min()), float(plain.max()), int(plain.isnan().sum()), int(plain.isinf().sum())


def _grad_state(held: Held, tensor: Tensor) -> str:
    return held.ledger.state(held.names[tensor], tensor) if tensor in held.names else ""


def _cannot_draw(tensor: Tensor) -> str:
    if tensor.is_meta:
        return "a meta tensor has a shape and no values"
    if tensor.layout is not torch.strided:
        return f"a {str(tensor.layout).removeprefix('torch.')} tensor is not drawn as a grid"
    return "" if tensor.numel() else "an empty tensor: there is nothing to draw"


def _note(chosen: Cut, tensor: Tensor) -> str:
    notes = []
    if len(chosen.kept) > 2:
        notes.append(f"the last two of {len(chosen.kept)} dimensions, at index 0 of the others")
    if tensor.is_complex():
        notes.append("magnitudes of complex numbers")
    return "; ".join(notes)
