"""The infix operators of expressions, on tensors, numbers, strings and lists."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gradstep.engine.expressions.describe import describe
from gradstep.engine.expressions.functions import as_tensor, check_broadcast, kind_of
from gradstep.engine.numbers.readable import dense
from gradstep.values.errors import wrong

_ARITHMETIC: dict[str, Callable[[Any, Any], object]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
    "@": operator.matmul,
}
_COMPARISON: dict[str, Callable[[Any, Any], object]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def operate(op: str, a: object, b: object) -> object:
    """Compute `a op b`, elementwise if one is a tensor.

    Raises:
        GradstepError: the operator does not take these, or their shapes do not broadcast.
    """
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        one, other = (a, b) if _stays_sparse(op, a, b) else _matched(a, b, op)
        return _ARITHMETIC[op](one, other) if op in _ARITHMETIC else _COMPARISON[op](one, other)
    return _plain(op, a, b)


def _stays_sparse(op: str, a: object, b: object) -> bool:
    """Return whether the result has the layout of a sparse operand: scaling one, or adding two of one shape."""
    layouts = [each.layout for each in (a, b) if isinstance(each, Tensor)]
    if any(layout not in (torch.sparse_coo, torch.sparse_csr) for layout in layouts):
        return False
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return op in ("+", "-") and layouts == [torch.sparse_coo] * 2 and a.shape == b.shape
    scalar = b if isinstance(a, Tensor) else a
    number = isinstance(scalar, (int, float)) and not isinstance(scalar, bool)
    return number and (op == "*" or (op == "/" and isinstance(a, Tensor) and a.layout is torch.sparse_coo))


def _matched(a: object, b: object, op: str) -> tuple[object, object]:
    """Return two operands, one of them a tensor, as torch accepts them: lists become tensors."""
    like = a if isinstance(a, Tensor) else b if isinstance(b, Tensor) else None
    like = None if like is None else dense(like)
    one, other = (v if isinstance(v, (bool, int, float)) else dense(as_tensor(v, like)) for v in (a, b))
    if op in ("<", "<=", ">", ">=") and any(isinstance(v, Tensor) and v.is_complex() for v in (one, other)):
        raise wrong(
            "complex numbers are not ordered", f"`{op}` needs real numbers.", "Compare their magnitudes: `abs(x)`."
        )
    if isinstance(one, Tensor) and isinstance(other, Tensor) and op != "@":
        check_broadcast(one, other)
    return one, other


def _plain(op: str, a: Any, b: Any) -> object:
    """Compute with numbers; compare numbers, strings and lists."""
    numbers = isinstance(a, (int, float)) and isinstance(b, (int, float))
    if not numbers and (op not in ("==", "!=") or type(a) is not type(b)):
        raise wrong(f"unsupported operands for `{op}`", f"{kind_of(a)} and {kind_of(b)}.")
    if op in _COMPARISON:
        return _COMPARISON[op](a, b)
    if op == "/" and b == 0:
        raise wrong("division by zero", f"{describe(a)} / 0")
    if op == "**" and isinstance(a, int) and abs(b) > 64:
        a = float(a)  # a power of integers could take any amount of memory
    made = _ARITHMETIC[op](a, b)
    if isinstance(made, complex):
        raise wrong("this is not a real number", f"{describe(a)} {op} {describe(b)}")
    return made
