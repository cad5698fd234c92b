"""Any value of an expression as short text, for `print`, `watch` and `let`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gradstep.engine.expressions.functions import shape_text
from gradstep.engine.numbers.readable import dtype_name, layout_name, part
from gradstep.engine.numbers.selection import cut

_IN_LINE = 10
"""Elements of a vector that are printed."""
_ROWS, _COLUMNS = 6, 8
"""Size of the window of a matrix that is printed."""


def describe(value: object) -> str:
    """Return a value as short text; a tensor as a window of its elements, with aligned digits in each column."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if value.bit_length() < 1024 else f"a number of {value.bit_length()} bits"
        case float():
            return f"{value:.10g}"
        case str():
            return f'"{value}"'
        case Tensor():
            return _tensor(value)
        case Mapping():
            return "{" + ", ".join(f"{k}: {_brief(v)}" for k, v in list(value.items())[:_IN_LINE]) + "}"
        case list() | tuple():
            dots = ", ..." if len(value) > _IN_LINE else ""
            return "[" + ", ".join(map(_brief, value[:_IN_LINE])) + dots + "]"
        case _:
            return f"a {type(value).__name__}"


def number_text(value: float, dtype: torch.dtype = torch.float64) -> str:
    """Return one number with the significant digits of its dtype."""
    return f"{value:.{7 if dtype is torch.float32 else 10 if dtype is torch.float64 else 4}g}"


def _brief(value: object) -> str:
    if isinstance(value, Tensor) and value.dim():
        return f"tensor {shape_text(value)}"
    return f"a {type(value).__name__}" if isinstance(value, (Mapping, list, tuple)) else describe(value)


def _tensor(tensor: Tensor) -> str:
    if tensor.is_meta or tensor.is_nested:
        kind = "meta" if tensor.is_meta else "nested"
        return f"a {kind} tensor of shape {shape_text(tensor)}, {dtype_name(tensor)}"
    if tensor.layout is not torch.strided or tensor.is_quantized:
        kind = dtype_name(tensor) if tensor.is_quantized else layout_name(tensor)
        shown = [*[0] * (tensor.dim() - 2), slice(_ROWS), slice(_COLUMNS)][-tensor.dim() :] if tensor.dim() else []
        window = part(tensor, cut(tensor.shape, shown)) if tensor.numel() else torch.zeros(0)
        some = "the first " if window.numel() < tensor.numel() else ""
        return f"a {kind} tensor of shape {shape_text(tensor)}: {some}{_tensor(window)}"
    if tensor.numel() == 0:
        return f"an empty tensor of shape {shape_text(tensor)}"
    if tensor.dim() == 0:
        item = tensor.detach().item()
        return number_text(item, tensor.dtype) if isinstance(item, float) else describe_scalar(item)
    plain = tensor.detach()
    if tensor.dim() == 1:
        cells = _columns([_scalars(plain[:_IN_LINE])], together=True)[0]
        more = f", ... {len(plain):,} in all" if len(plain) > _IN_LINE else ""
        return f"[{', '.join(cells)}{more}]"
    lead = tensor.dim() - 2
    window = plain[(0,) * lead][:_ROWS, :_COLUMNS]
    rows = _columns([_scalars(row) for row in window])
    wide = ", ..." if plain.shape[-1] > _COLUMNS else ""
    lines = [f"  [{', '.join(row)}{wide}]" for row in rows] + (["  ..."] if plain.shape[-2] > _ROWS else [])
    where = f", first of {math.prod(plain.shape[:lead]):,} matrices" if lead else ""
    return "\n".join([f"{' × '.join(map(str, plain.shape))} {dtype_name(tensor)}{where}", *lines])


def describe_scalar(item: object) -> str:
    """Return a scalar of a tensor as text: true, 3, or a complex number."""
    return describe(item) if isinstance(item, (bool, int)) else str(item)


def _scalars(row: Tensor) -> list[object]:
    wide = row.float() if row.is_floating_point() and row.element_size() < 2 else row
    return list(wide.tolist())


def _columns(rows: Sequence[Sequence[object]], together: bool = False) -> list[list[str]]:
    """Return the cells of some rows as aligned text; `together` gives all of them the same digits."""
    if not all(isinstance(v, float) for row in rows for v in row):
        texts = [[describe_scalar(v) for v in row] for row in rows]
    elif together:
        flat = [float(v) for row in rows for v in row if isinstance(v, float)]
        form = _form(flat)
        texts = [[format(v, form) for v in row] for row in rows]
    else:
        forms = [_form([float(v) for v in column if isinstance(v, float)]) for column in zip(*rows, strict=True)]
        texts = [[format(v, form) for v, form in zip(row, forms, strict=True)] for row in rows]
    if together:
        return [[t if t.startswith("-") else f" {t}" for t in row] for row in texts]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return [[text.rjust(width) for text, width in zip(row, widths, strict=True)] for row in texts]


def _form(values: Sequence[float]) -> str:
    """Return the format that gives the largest of these numbers five digits, and all the same decimals."""
    finite = [abs(v) for v in values if math.isfinite(v) and v]
    if not finite:
        return ".4f"
    magnitude = math.floor(math.log10(max(finite)))
    if -4 <= magnitude <= 6:
        return f".{max(0, 4 - magnitude) if magnitude >= 0 else 4 - magnitude}f"
    return ".4e"
