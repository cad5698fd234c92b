"""The Layers view as a sheet: one row per module, with gradient norms as bars on one log scale."""

from __future__ import annotations

import math

from gradstep.sheets.sheet import Cell, Sheet, Table, Words, norm_cell
from gradstep.values import numbers
from gradstep.values.views.training import LayerRow, LayersView

_DECADES = 4.0
"""Minimum number of decades that the bars span, so that similar layers look similar."""


def layers_sheet(view: LayersView) -> Sheet:
    """Return the modules in forward order."""
    if not view.rows:
        return Sheet("Layers", "", (Words(view.note, "dim"),))
    exponents = [math.log10(row.grad) for row in view.rows if row.grad and math.isfinite(row.grad) and row.grad > 0]
    high = max(exponents, default=0.0)
    low = min([high - _DECADES, *exponents])
    rows = tuple(_row(row, low, high) for row in view.rows)
    table = Table(("module", "weight", ".grad", "log scale", "update/weight", "zeros"), rows, left=(0, 3))
    if view.updated is None:
        note = "update/weight is measured in the next step; about 1e−3 is usual"
    else:
        note = f"update/weight of iteration {view.updated}; about 1e−3 is usual"
    if any(row.weight is None and row.zeros is None for row in view.rows):
        note += "; zeros are counted from the next forward"
    frozen = [f"{row.path}.{name}".lstrip(".") for row in view.rows for name in row.partly]
    if frozen:
        note += f"; frozen: {numbers.listed(frozen)}"
    words = tuple(Words(text, "dim") for text in (note, view.note) if text)
    return Sheet("Layers", f"{numbers.count(len(view.rows), 'module')} in forward order", (table, *words))


def _row(row: LayerRow, low: float, high: float) -> tuple[Cell, ...]:
    missing = "frozen" if row.frozen else "none" if row.weight is not None else ""
    drawn = row.grad is not None and math.isfinite(row.grad) and row.grad > 0
    # the smallest bar stays visible
    bar = max(0.01, (math.log10(row.grad) - low) / (high - low)) if drawn and row.grad else 0.0
    return (
        Cell(f"{row.path} {row.type}".strip(), "bright" if row.selected else ""),
        norm_cell(row.weight),
        norm_cell(row.grad) if row.grad is not None else Cell(missing, "dim"),
        Cell(bar=bar),
        norm_cell(row.ratio),
        Cell("" if row.zeros is None else _percent(row.zeros)),
    )


def _percent(share: float) -> str:
    """Return a share as a percentage; 0% and 100% are exact."""
    text = f"{share:.0%}"
    if text in ("0%", "100%") and 0 < share < 1:
        return "<1%" if share < 0.5 else ">99%"
    return text
