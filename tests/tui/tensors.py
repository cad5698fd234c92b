"""Tensor views made by hand, for the tests of the screen."""

from __future__ import annotations

from typing import Any

from gradstep.values.views.tensor import Axis, LookTensor, Statistics, TensorView, Window

Rows = tuple[tuple[float, ...], ...]


def statistics_of(rows: Rows) -> Statistics:
    """Return the statistics of a few numbers."""
    import math

    flat = [value for row in rows for value in row]
    numbers = [value for value in flat if not math.isnan(value)]
    finite = [value for value in numbers if math.isfinite(value)]
    shaping = [value for value in finite if value]
    mean = sum(flat) / len(flat)
    return Statistics(
        len(flat),
        min(numbers, default=None),
        max(numbers, default=None),
        mean,
        math.sqrt(sum((value - mean) ** 2 for value in flat) / max(1, len(flat) - 1)),
        math.sqrt(sum(value * value for value in flat)),
        flat.count(0.0),
        len(flat) - len(numbers),
        len(numbers) - len(finite),
        math.sqrt(sum(v * v for v in shaping) / len(shaping)) if shaping else 0.0,
    )


def vector(values: tuple[float, ...], grads: tuple[float, ...] | None = None, **more: Any) -> TensorView:
    """Return the view of a whole vector `w`."""
    column = tuple((value,) for value in values)
    beside = None if grads is None else tuple((grad,) for grad in grads)
    given: dict[str, Any] = {
        "name": "w",
        "path": "w",
        "whole": (len(values),),
        "shape": (len(values),),
        "dtype": "float32",
        "kind": "vector",
        "row_labels": tuple(map(str, range(len(values)))),
        "value": Window(column),
        "grad": None if beside is None else Window(beside),
        "grad_state": "none" if beside is None else "fresh",
        "statistics": statistics_of(column),
        "grad_statistics": None if beside is None else statistics_of(beside),
        "place": (None,),
        "axes": (Axis(0, 0, 1, len(values)),),
        "dims": (0,),
    }
    return TensorView(1, **{**given, **more})


def matrix(values: Rows, grads: Rows | None = None, **more: Any) -> TensorView:
    """Return the view of a whole matrix `w`."""
    shape = (len(values), len(values[0]))
    given: dict[str, Any] = {
        "name": "w",
        "path": "w",
        "whole": shape,
        "shape": shape,
        "dtype": "float32",
        "kind": "matrix",
        "row_labels": tuple(map(str, range(shape[0]))),
        "column_labels": tuple(map(str, range(shape[1]))),
        "value": Window(values),
        "grad": None if grads is None else Window(grads),
        "grad_state": "none" if grads is None else "fresh",
        "statistics": statistics_of(values),
        "grad_statistics": None if grads is None else statistics_of(grads),
        "place": (None, None),
        "axes": (Axis(0, 0, 1, shape[0]), Axis(1, 0, 1, shape[1])),
        "dims": (0, 1),
    }
    return TensorView(1, **{**given, **more})


def answer(look: LookTensor, shape: tuple[int, ...], stop: int = 1, name: str = "w", **more: Any) -> TensorView:
    """Answer a look as the engine does, at a whole tensor whose element at an index is that index read as digits."""
    rank = len(shape)
    fresh = bool(look.of) and look.of != name
    dims = tuple(range(rank))[-2:] if fresh or not look.dims else look.dims
    at = [0] * rank if fresh or len(look.at) != rank else list(look.at)
    top, left = (0, 0) if fresh else (look.top, look.left)
    counts = [(look.rows, top), (look.columns, left)]
    ranges = []
    for dim, (count, first) in zip(dims, counts, strict=False):
        first = max(0, min(first, shape[dim] - count))
        ranges.append(range(first, min(shape[dim], first + count)))
    across = ranges[1] if rank > 1 else range(1)

    def element(i: int, j: int) -> float:
        index = list(at)
        for dim, place in zip(dims, (i, j), strict=False):
            index[dim] = place
        return float("".join(map(str, index)))

    return TensorView(
        stop,
        name,
        name,
        shape,
        shape,
        "float32",
        "matrix" if rank > 1 else "vector",
        ranges[0].start,
        across.start if rank > 1 else 0,
        tuple(map(str, ranges[0])),
        tuple(map(str, across)) if rank > 1 else (),
        Window(tuple(tuple(element(i, j) for j in across) for i in ranges[0])),
        statistics=more.pop("statistics", Statistics(1, -1000.0, 1000.0, 0.0, 1.0, 1.0, rms=400.0)),
        place=tuple(None if dim in dims else at[dim] for dim in range(rank)),
        axes=tuple(Axis(dim, 0, 1, size) for dim, size in enumerate(shape)),
        dims=dims,
        quantity=look.quantity,
        **more,
    )
