"""Operations that only rearrange elements: their Jacobians consist of ones and zeros."""

from __future__ import annotations

from gradstep.engine.autograd.derivatives.rule import Derivative, Settings, Table, dimension, unary

_RESHAPED = Derivative(
    "y = x in another shape", (("x", "v in the shape of x"),), "v, reshaped to the shape of the input"
)


def _transpose(s: Settings) -> Derivative:
    dims = f"{dimension(s.get('dim0'))} and {dimension(s.get('dim1'))}"
    return unary(
        f"y = x, dims {dims} swapped", f"v, dims {dims} swapped", "v with the same two dimensions swapped back"
    )


def _slice(s: Settings) -> Derivative:
    start, end, step = s.get("start"), s.get("end"), s.get("step")
    place = f"{0 if start is None else start}:{'' if not isinstance(end, int) or end >= 2**62 else end}"
    place += f":{step}" if step != 1 else ""
    dim = dimension(s.get("dim"))
    words = "v goes to the slice that was read; the rest of the input gets 0"
    return unary(f"y = x[{place}] along dim {dim}", "v in its place, 0 elsewhere", words)


def _select(s: Settings) -> Derivative:
    words = "v goes to the index that was read; the rest of the input gets 0"
    place = f"x at {dimension(s.get('index'))} of dim {dimension(s.get('dim'))}"
    return unary(f"y = {place}", "v in its place, 0 elsewhere", words)


def _cat(s: Settings) -> Derivative:
    dim = dimension(s.get("dim"))
    return Derivative(
        f"y = [x₁ x₂ …] along dim {dim}",
        (("x", "its part of v"),),
        "each input gets its part of v",
        several=True,
    )


def _split(s: Settings) -> Derivative:
    return unary(
        f"y₁, y₂, … = x split along dim {dimension(s.get('dim'))}",
        "[v₁ v₂ …]",
        "the gradients of the pieces are concatenated; 0 for a piece that was not used",
    )


def _unbind(s: Settings) -> Derivative:
    return unary(
        f"y₁, y₂, … = x along dim {dimension(s.get('dim'))}",
        "v₁, v₂, … stacked",
        "the gradients of the pieces are stacked; 0 for a piece that was not used",
    )


def _stack(s: Settings) -> Derivative:
    return Derivative(
        f"y = x₁, x₂, … stacked along dim {dimension(s.get('dim'))}",
        (("x", "its slice of v"),),
        "each input gets its slice of v",
        several=True,
    )


def _cumsum(s: Settings) -> Derivative:
    return unary(
        f"y = running sums along dim {dimension(s.get('dim'))}",
        "running sums of v from the end",
        "each element gets the sum of v from its own position on: it is part of all those sums",
    )


_TRANSPOSED = unary("y = xᵀ", "vᵀ", "v transposed back")
_BACK = "v is added at the indices that were read: one read twice gets both, one not read gets 0"

TABLE: Table = {
    "TBackward0": _TRANSPOSED,
    "TBackward1": _TRANSPOSED,
    "TransposeBackward0": _transpose,
    "TransposeBackward1": _transpose,
    "PermuteBackward0": unary(
        "y = x, dims permuted", "v, dims permuted back", "v with the inverse permutation of dims"
    ),
    "ViewBackward0": _RESHAPED,
    "UnsafeViewBackward0": _RESHAPED,
    "ReshapeAliasBackward0": _RESHAPED,
    "UnsqueezeBackward0": _RESHAPED,
    "UnsqueezeBackward1": _RESHAPED,
    "SqueezeBackward0": _RESHAPED,
    "SqueezeBackward1": _RESHAPED,
    "SqueezeBackward2": _RESHAPED,
    "SqueezeBackward3": _RESHAPED,
    "SqueezeBackward4": _RESHAPED,
    "SqueezeBackward5": _RESHAPED,
    "ExpandBackward0": unary(
        "y = x, broadcast", "v summed over the copies", "each element gets the sum of v over its copies"
    ),
    "RepeatBackward0": unary(
        "y = x, repeated", "v summed over the copies", "each element gets the sum of v over its copies"
    ),
    "SliceBackward0": _slice,
    "SelectBackward0": _select,
    "IndexBackward0": unary("y = x[i]", "v added at i, 0 elsewhere", _BACK),
    "IndexSelectBackward0": unary("y = x[i]", "v added at i, 0 elsewhere", _BACK, {"index": "i"}),
    "GatherBackward0": unary("y = x[i]", "v added at i, 0 elsewhere", _BACK, {"index": "i"}),
    "MaskedSelectBackward0": unary(
        "y = x where m", "v where m, 0 elsewhere", "v goes to the elements that the mask selected", {"mask": "m"}
    ),
    "CatBackward0": _cat,
    "StackBackward0": _stack,
    "SplitBackward0": _split,
    "SplitWithSizesBackward0": _split,
    "UnsafeSplitBackward0": _split,
    "UnbindBackward0": _unbind,
    "FlipBackward0": unary("y = x, flipped", "v, flipped", "v, flipped back"),
    "RollBackward0": unary("y = x, rolled", "v, rolled back", "v, rolled back"),
    "TriuBackward0": unary("y = x on and above a diagonal", "v on and above it, else 0", "v passes where x was kept"),
    "TrilBackward0": unary("y = x on and below a diagonal", "v on and below it, else 0", "v passes where x was kept"),
    "DiagonalBackward0": unary("y = diagonal of x", "v on the diagonal, else 0", "v goes to the diagonal"),
    "ConstantPadNdBackward0": unary("y = x, padded", "v without the padding", "v without the padding"),
    "CumsumBackward0": _cumsum,
}

SAME_ORDER = frozenset(name for name, rule in TABLE.items() if rule is _RESHAPED)
"""Nodes that change only the shape."""


def order_of(name: str, s: Settings, dims: int) -> list[int] | None:
    """Return the input dimension of each output dimension, for a node that permutes them."""
    order = list(range(dims))
    if name.startswith("TBackward"):
        return order[::-1]
    if name.startswith("TransposeBackward"):
        first, second = (int(dimension(s[key]).replace("−", "-")) for key in ("dim0", "dim1"))
        order[first], order[second] = order[second], order[first]
        return order
    permuted = s.get("dims") if name == "PermuteBackward0" else None
    if not isinstance(permuted, (list, tuple)):
        return None
    return [int(text.replace("−", "-")) % dims for text in dimension(permuted).split(", ")]
