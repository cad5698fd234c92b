"""Explains a failed expectation: the expected value, the actual one, the largest difference and its index."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gradstep.engine.expressions.describe import describe, number_text
from gradstep.engine.expressions.functions import as_double, as_tensor
from gradstep.engine.numbers.readable import dense
from gradstep.engine.numbers.selection import index_text, unravel
from gradstep.values import expressions as x
from gradstep.values.expressions import Expression, expression_line

_WORST = {"==": "largest difference", "<": "furthest off by", "<=": "furthest off by"}
_WORST |= {">": "furthest off by", ">=": "furthest off by", "close": "largest difference"}

_FAIL = {"==": "differ", "close": "differ"} | dict.fromkeys(("<", "<=", ">", ">="), "do not hold")


def explain(condition: Expression, value_of: Callable[[Expression], object]) -> tuple[str, str, str]:
    """Return (expected, actual, difference) of a condition that does not hold; each may be several lines."""
    match condition:
        case x.Binary("and", left, right):
            return explain(right if _true(value_of(left)) else left, value_of)
        case x.Binary("==" | "!=" | "<" | "<=" | ">" | ">=" as op, left, right):
            a, b = value_of(left), value_of(right)
            return f"{op} {describe(b)}", describe(a), _difference(op, a, b, value_of(condition))
        case x.Call("close", (left, right), options):
            a, b = value_of(left), value_of(right)
            limits = "".join(f", {name} {describe(value_of(value))}" for name, value in options)
            return f"close to {describe(b)}{limits}", describe(a), _difference("close", a, b, value_of(condition))
        case x.IsNone(value, negated):
            return "not none" if negated else "none", describe(value_of(value)), ""
        case x.Unary("not", value):
            return "not true", describe(value_of(value)), ""
        case x.Call("isnan" | "isinf" | "isfinite", (value,)):
            made = describe(value_of(condition))
            return "true", f"{made}, where {expression_line(value)} is {describe(value_of(value))}", ""
        case _:
            return "true", describe(value_of(condition)), ""


def _true(value: object) -> bool:
    return bool(dense(value).all()) if isinstance(value, Tensor) else bool(value)


def _difference(op: str, a: object, b: object, held: object) -> str:
    """Return the difference of two operands where the condition fails, as text; empty unless they are numbers."""
    if op not in _WORST or not _numbers(a) or not _numbers(b):
        return ""
    like = next((dense(v) for v in (a, b) if isinstance(v, Tensor)), None)
    if like is None and isinstance(a, (list, tuple)):
        return ""  # two lists, such as shapes, are compared as a whole
    one, other = (as_double(dense(as_tensor(v, like))).cpu() for v in (a, b))
    failed = ~dense(as_tensor(held)).detach().cpu()
    one, other = one.expand(failed.shape), other.expand(failed.shape)
    if failed.numel() == 0 or not bool(failed.any()):
        return ""
    apart = torch.where(one == other, torch.zeros((), dtype=torch.float64), (one - other).abs())
    missing = int((failed & apart.isnan()).sum())
    count = f"{int(failed.sum()):,} of {failed.numel():,} elements {_FAIL[op]}" if failed.dim() else ""
    nans = f"{missing:,} NaN, which is not equal to anything" if missing else ""
    ranked = torch.where(failed & ~apart.isnan(), apart, -1.0)
    place = int(ranked.argmax())
    worst = float(ranked.flatten()[place])
    texts = [count, nans]
    if worst >= 0:
        where = index_text(unravel(place, failed.shape))
        pair = f"{_at(one, place)} against {_at(other, place)}"
        texts.append(f"{_WORST[op]} {number_text(worst)} at {where}: {pair}" if where else number_text(worst))
    return "; ".join(text for text in texts if text)


def _numbers(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(v, (int, float)) for v in value)
    return isinstance(value, (int, float, Tensor))


def _at(tensor: Tensor, place: int) -> str:
    item = tensor.flatten()[place].item()
    return number_text(item) if isinstance(item, float) else str(item)
