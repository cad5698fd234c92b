"""The entry of a table for one kind of node: its operation, J^T v for each input, and one line of text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from gradstep.engine.autograd.saved_values import Setting
from gradstep.values.numbers import MINUS, short

Settings: TypeAlias = Mapping[str, Setting]


@dataclass(frozen=True)
class Derivative:
    """The derivative of one kind of node, after torch's `derivatives.yaml`.

    `v` is the upstream gradient, `⊙` multiplies elementwise, `1[...]` is 1 where the condition holds and 0 elsewhere,
    juxtaposed matrices are a matrix product, and `ᵀ` transposes the last two dimensions.
    """

    forward: str
    """The operation, e.g. `y = max(x, 0)`."""
    inputs: tuple[tuple[str, str], ...]
    """For each input its symbol and J^T v, e.g. `("x", "v ⊙ 1[y > 0]")`."""
    words: str
    """What the node does to v, in one line."""
    saved: Mapping[str, str] = field(default_factory=dict)
    """The saved tensors that the formulas use, and their symbols. A node without them is another overload."""
    several: bool = False
    """True when the operation takes a list of tensors: the last of `inputs` describes all further ones."""


Entry: TypeAlias = Derivative | Callable[[Settings], Derivative]
"""A rule, or a function that makes one from the node's settings."""
Table: TypeAlias = Mapping[str, Entry]


def unary(forward: str, formula: str, words: str, saved: Mapping[str, str] | None = None) -> Derivative:
    """Return the rule of an operation on one tensor, `x`."""
    return Derivative(forward, (("x", formula),), words, saved or {})


def number(value: object) -> str:
    """Write a setting as a number in a formula."""
    return short(value) if isinstance(value, (int, float)) else str(value).replace("-", MINUS)


def factor(value: object) -> str:
    """Write a setting as a factor; empty for 1."""
    return "" if value == 1 else "−" if value == -1 else f"{number(value)} "


def dimension(value: object) -> str:
    """Write a dimension; torch saves negative ones as unsigned 64-bit numbers."""
    dims = value if isinstance(value, (list, tuple)) else (value,)
    signed = [d - 2**64 if isinstance(d, int) and d >= 2**63 else d for d in dims]
    return ", ".join(map(number, signed))
