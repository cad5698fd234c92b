"""Text for the clipboard: one element of a tensor, or a whole slice as a `tensor(...)` literal."""

from __future__ import annotations

import math
import struct
from typing import NamedTuple

from gradstep.values.views.tensor import Pair, TensorView

MOST = 10_000
"""Maximum number of elements that are copied: terminals refuse a clipboard of much more than 100 kB."""
_PACKED = {"float32": "f", "bfloat16": "f", "float16": "e"}
_PLAIN = ("float32", "int64", "bool")
"""The dtypes that `torch.tensor` infers."""


class Copied(NamedTuple):
    """A text for the clipboard, and its name in the message that it was copied."""

    what: str
    text: str


def literal(value: float, dtype: str) -> str:
    """Return the shortest Python literal that reads back as the same number of its dtype."""
    if dtype == "bool":
        return str(bool(value))
    if dtype.startswith(("int", "uint")):
        return str(int(value))
    packed = _PACKED.get(dtype)
    if packed is None or not math.isfinite(value):
        return repr(float(value))
    exact = struct.pack(packed, value)
    texts = (f"{value:.{digits}g}" for digits in range(1, 18))
    return repr(float(next(text for text in texts if _fits(packed, float(text)) == exact)))


def _fits(packed: str, value: float) -> bytes:
    try:
        return struct.pack(packed, value)
    except OverflowError:
        return b""


def element_copied(view: TensorView, element: tuple[int, ...]) -> Copied | None:
    """Return an element by its index into the whole tensor; None when it is outside the window."""
    dims = view.dims or tuple(dim for dim, at in enumerate(view.place) if at is None)
    labels = [str(element[dim]) for dim in dims]
    named = zip((view.row_labels, view.column_labels), labels, strict=False)
    places = [names.index(label) if label in names else -1 for names, label in named]
    row, column = (*places, 0, 0)[:2]
    values = view.value.values if view.value is not None else ()
    if min(places, default=0) < 0 or row >= len(values) or column >= len(values[row]):
        return None
    name = f"{view.path}[{', '.join(map(str, element))}]" if element else view.path
    kind = "" if view.quantity == "value" else f"the {view.quantity} of "
    if view.pair is not None:
        kind = _between(view.pair)
    return Copied(kind + name, literal(values[row][column], view.dtype))


def _between(pair: Pair) -> str:
    return f"{pair.second} − {pair.first} of "


def slice_copied(view: TensorView) -> Copied | None:
    """Return a slice as a `tensor(...)` literal; None when the window does not hold all of it."""
    if view.value is None or view.kind == "none" or view.dtype.startswith("complex"):
        return None
    if sum(map(len, view.value.values)) != math.prod(view.shape):
        return None
    rows = [", ".join(literal(value, view.dtype) for value in row) for row in view.value.values]
    if view.kind == "number":
        body = rows[0]
    elif view.kind == "vector":
        body = f"[{', '.join(rows)}]"
    else:
        body = "[" + ",\n        ".join(f"[{row}]" for row in rows) + "]"
    dtype = "" if view.dtype in _PLAIN else f", dtype=torch.{view.dtype}"
    name = view.name if view.pair is None else _between(view.pair) + view.name
    return Copied(name, f"tensor({body}{dtype})")
