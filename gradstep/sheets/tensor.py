"""The Tensor view as a sheet: the window and the same window of `.grad`, as heat maps."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradstep.sheets.sheet import Beside, Block, Cell, Sheet, Table, Words, greatest, heat_cell
from gradstep.values import numbers
from gradstep.values.views import TensorView, Window

_CHANGED = "*"


def tensor_sheet(view: TensorView) -> Sheet:
    """Return a vector as one table with a row per element, a matrix as two grids."""
    if not view.name:
        return Sheet("Tensor", "", (Words(view.note, "dim"),))
    about = f"{view.name}  of {numbers.shape(view.whole)}, {view.dtype}" if view.dtype else view.name
    if view.value is None or view.kind == "none":
        return Sheet("Tensor", about, (Words(view.note or "There are no values to show.", "dim"),))
    body: tuple[Block, ...] = (_grids(view),) if view.kind == "matrix" else (_elements(view, view.value),)
    return Sheet("Tensor", about, (*body, Words(_facts(view), "dim"), *_notes(view)))


def _own(view: TensorView) -> str:
    return view.path.rsplit(".", 1)[-1] or "value"


def _grids(view: TensorView) -> Beside:
    own = [_grid(_own(view), view.value, view)] if view.value is not None else []
    return Beside((*own, _grid(".grad", view.grad, view))) if view.grad is not None else Beside(tuple(own))


def _grid(title: str, window: Window, view: TensorView) -> Table:
    cells = _cells(window, view.dtype)
    heads = ["", *(f"[{label}]" for label in view.column_labels)]
    across = max(map(len, cells), default=0)
    heads = (heads + [""] * (1 + across))[: 1 + across]
    labels = [*view.row_labels, *[""] * len(cells)]
    rows = tuple((_index(labels[i]), *row, *[Cell()] * (across - len(row))) for i, row in enumerate(cells))
    return Table(tuple(heads), rows, title=title)


def _elements(view: TensorView, value: Window) -> Table:
    own, count = _own(view), len(value.values)
    columns = [(own, _first(_cells(value, view.dtype)))]
    if view.grad is not None:
        columns.append((".grad", _first(_cells(view.grad, view.dtype))))
    elif view.grad_state:
        columns.append((".grad", [Cell("none" + (_CHANGED if view.grad_gone else ""), "dim")] * count))
    changed, of = (_change(value), own) if _change(value) or view.would is not None else (_change(view.grad), ".grad")
    if changed:
        columns.append((f"change of {of}", _plain(changed, view.dtype)))
    elif view.would is not None:
        columns.append(("step would give", _plain(view.would, view.dtype)))
    labels = [*view.row_labels, *[""] * count]
    rows = (
        (_index(labels[i]), *(cells[i] if i < len(cells) else Cell() for _, cells in columns)) for i in range(count)
    )
    return Table(("", *(name for name, _ in columns)), tuple(rows))


def _index(label: str) -> Cell:
    return Cell(f"[{label}]" if label else "", "dim")


def _cells(window: Window, dtype: str) -> list[list[Cell]]:
    """Return the numbers of a window in one format; those that the last phase changed are marked."""
    flat = [value for row in window.values for value in row]
    form, most = numbers.form_of(flat, dtype), greatest(flat)
    marked = any(map(any, window.changed))
    rows = []
    for i, row in enumerate(window.values):
        cells = [heat_cell(value, form, most) for value in row]
        marks = window.changed[i] if i < len(window.changed) else ()
        for j, cell in enumerate(cells if marked else ()):
            cells[j] = cell._replace(text=cell.text + (_CHANGED if j < len(marks) and marks[j] else " "))
        rows.append(cells)
    return rows


def _first(rows: list[list[Cell]]) -> list[Cell]:
    return [row[0] if row else Cell() for row in rows]


def _plain(values: Sequence[float], dtype: str) -> list[Cell]:
    form = numbers.form_of(values, dtype)
    return [heat_cell(value, form, 0.0) for value in values]


def _change(window: Window | None) -> list[float]:
    """Return after minus before for each element of a vector; empty if nothing changed or nothing was there before."""
    if window is None or window.before is None or not any(map(any, window.changed)):
        return []
    pairs = zip(window.values, window.before, strict=False)
    return [after[0] - before[0] for after, before in pairs if after and before]


def _facts(view: TensorView) -> str:
    """Return statistics of the whole slice, and how much of it is shown."""
    amount = math.prod(view.shape)
    shown = sum(map(len, view.value.values)) if view.value is not None else 0
    parts = [f"{shown:,} of {amount:,} elements" if shown < amount else numbers.count(amount, "element")]
    if amount != 1:
        norm = None if view.statistics is None else view.statistics.norm
        parts.append(f"norm {numbers.norm(norm) or '·'}")
        parts += _ends(view)
        if view.grad_statistics is not None:
            parts.append(f".grad norm {numbers.norm(view.grad_statistics.norm)}")
    nans, infs = (view.statistics.nans, view.statistics.infs) if view.statistics is not None else (0, 0)
    parts.append(f"{nans:,} NaN, {infs:,} inf" if nans or infs else "no NaN, no inf")
    if view.grad_state:
        parts.append(f".grad {view.grad_state}")
    if view.grad_gone or any(any(row) for part in (view.value, view.grad) if part for row in part.changed):
        parts.append(f"{_CHANGED} changed")
    return "  ·  ".join(parts)


def _ends(view: TensorView) -> list[str]:
    known = view.statistics
    if known is None or known.minimum is None or known.maximum is None:
        return []
    low, high = (numbers.single(end, view.dtype) for end in (known.minimum, known.maximum))
    return [f"min {low}  max {high}"]


def _notes(view: TensorView) -> tuple[Words, ...]:
    return (Words(view.note, "dim"),) if view.note else ()
