"""The Model view as a sheet: the module tree with the shape, norm and `.grad` state of each parameter."""

from __future__ import annotations

from gradstep.sheets.sheet import Cell, Sheet, Table, norm_cell
from gradstep.values import numbers
from gradstep.values.views import ModelRow, ModelView


def model_sheet(view: ModelView) -> Sheet:
    """Return the tree as a table with indented levels."""
    here = next((i for i, row in enumerate(view.rows) if row.selected), -1)
    head = ("module", "shape", "dtype", "device", "norm", ".grad", ".grad norm")
    table = Table(head, tuple(map(_row, view.rows)), left=(0, 5), here=here)
    return Sheet("Model", numbers.count(view.parameters, "parameter"), (table,))


def _row(row: ModelRow) -> tuple[Cell, ...]:
    name = "  " * row.depth + row.name
    if row.kind == "module":
        kind = f" {row.type}" if row.type != row.name else ""
        return Cell(name + kind, "bright"), *[Cell()] * 6
    name += "*" if row.changed else ""
    name += f"  = {row.shared}" if row.shared else ""
    shape, state = numbers.shape(row.shape), row.grad if row.kind == "parameter" else "buffer"
    mark = "*" if row.grad_changed else ""
    return (
        Cell(name),
        Cell(shape),
        Cell(row.dtype, "dim"),
        Cell(row.device, "dim"),
        norm_cell(row.norm),
        Cell(state + mark, "dim" if state in ("none", "frozen", "buffer") else ""),
        norm_cell(row.grad_norm),
    )
