"""Terms: a formula written once, printed in symbols or in numbers, and computed with a bound on its rounding error.

The value is computed in float64, with a bound on its difference from a correct computation in the tensors' own dtype:
running error analysis, as in N. J. Higham, Accuracy and Stability of Numerical Algorithms, 3.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from gradstep.values.numbers import short
from gradstep.views.why.formulas.text import signed

ROUNDINGS = 2
"""Machine epsilons an operation may be off by: one for a constant cast to the dtype and for the operation itself, one
for kernels that work in another order, as fused ones do."""

Write: TypeAlias = "Callable[[Callable[[Term], str], str], str]"

_SUM, _PRODUCT, _POWER, _ATOM = 1, 2, 3, 4


@dataclass(frozen=True)
class Precision:
    """The dtype that the debuggee computes in."""

    eps: float
    tiny: float
    """The smallest normal number: smaller ones may be flushed to zero."""

    @staticmethod
    def of(dtype: torch.dtype) -> Precision:
        """Return the precision of a floating-point dtype."""
        info = torch.finfo(dtype)
        return Precision(info.eps, info.tiny)


@dataclass(frozen=True)
class Term:
    """A part of a formula: a leaf with a symbol, or an operation on other terms."""

    value: Tensor
    """Float64, of any shape."""
    bound: Tensor
    """Bound on the absolute error of a computation in the debuggee's dtype."""
    precision: Precision
    binding: int = _ATOM
    constant: bool = False
    """True for hyper-parameters and terms of them alone: Python computes those in float64, too."""
    write: Write | None = None
    """Writes the operation; called with a writer of terms and the sign of multiplication. None for a leaf."""
    symbol: str = ""

    def __add__(self, other: Term) -> Term:
        return self._two(other, self.value + other.value, self.bound + other.bound, _SUM, " + ")

    def __sub__(self, other: Term) -> Term:
        return self._two(other, self.value - other.value, self.bound + other.bound, _SUM, " − ")

    def __mul__(self, other: Term) -> Term:
        bound = self.value.abs() * other.bound + other.value.abs() * self.bound + self.bound * other.bound
        return self._two(other, self.value * other.value, bound, _PRODUCT, "·")

    def __truediv__(self, other: Term) -> Term:
        value = self.value / other.value
        least = (other.value.abs() - other.bound).clamp(min=0.0)
        bound = (self.bound + value.abs() * other.bound) / least
        return self._two(other, value, bound, _PRODUCT, " / ")

    def __neg__(self) -> Term:
        return self._made(
            -self.value, self.bound, _SUM, lambda read, _: f"−{_bracketed(self, read, _PRODUCT)}", exact=True
        )

    def square(self) -> Term:
        """Return x²."""
        bound = 2 * self.value.abs() * self.bound + self.bound.square()
        return self._made(self.value.square(), bound, _POWER, lambda read, _: f"{_base(self, read)}²")

    def power(self, exponent: Term) -> Term:
        """Return a constant to the power of a constant."""
        value = self.value**exponent.value
        return self._made(
            value, self.bound, _POWER, lambda read, _: f"{_base(self, read)}^{_bracketed(exponent, read, _ATOM)}"
        )

    def root(self) -> Term:
        """Return √x; √0 for a difference that only rounding made negative."""
        rounded = (self.value < 0) & (self.value >= -self.bound)
        value = torch.where(rounded, 0.0, self.value).sqrt()
        high = (self.value + self.bound).sqrt() - value
        low = value - (self.value - self.bound).clamp(min=0.0).sqrt()
        return self._made(value, torch.maximum(high, low), _POWER, lambda read, _: f"√{_bracketed(self, read, _ATOM)}")

    def greatest(self, other: Term) -> Term:
        """Return the element-wise maximum."""
        value, bound = torch.maximum(self.value, other.value), torch.maximum(self.bound, other.bound)
        return self._made(value, bound, _ATOM, lambda read, _: f"max({read(self)}, {read(other)})", exact=True)

    def moved_towards(self, target: Term, kept: Term) -> Term:
        """Return kept·self + (1 − kept)·target, an exponential moving average; `kept` is a constant from 0 to 1.

        torch computes it as `lerp`: from the nearer end and by the difference of the two (aten/src/ATen/native/Lerp.h).
        So the rounding of 1 − kept is scaled by the whole difference, even when `kept` is 0 or 1.
        """
        one = constant("1", 1.0, self.precision)
        made = kept * self + (one - kept) * target
        slack = ROUNDINGS * self.precision.eps * (self.value.abs() + target.value.abs())
        return replace(made, bound=made.bound + slack)

    def named(self, symbol: str, value: Tensor | None = None) -> Term:
        """Return a leaf with this term's value, or with a given one."""
        kept = self.value if value is None else value.to(torch.float64)
        bound = self.bound if value is None else torch.zeros_like(kept)
        return Term(kept, bound, self.precision, constant=self.constant, symbol=symbol)

    # -- reading ------------------------------------------------------------------------------------------------------
    def symbols(self) -> str:
        """Write it in symbols: `w − lr · .grad`."""
        if self.write is None:
            return self.symbol
        return self.write(Term.symbols, " · ")

    def numbers(self, digits: int) -> str:
        """Write it with its numbers, for a single element: `−0.0073 − 0.001 × +0.3151`."""
        if self.write is None:
            value = float(self.value)
            return short(value) if self.constant else signed(value, digits)
        return self.write(lambda term: term.numbers(digits), " × ")

    # -- making -------------------------------------------------------------------------------------------------------
    def _two(self, other: Term, value: Tensor, bound: Tensor, binding: int, sign: str) -> Term:
        right = binding + 1 if sign in (" − ", " / ") else binding

        def write(read: Callable[[Term], str], times: str) -> str:
            joined = times if sign == "·" else sign
            return _bracketed(self, read, binding) + joined + _bracketed(other, read, right)

        return self._made(value, bound, binding, write, constant=self.constant and other.constant)

    def _made(
        self,
        value: Tensor,
        bound: Tensor,
        binding: int,
        write: Write,
        exact: bool = False,
        constant: bool | None = None,
    ) -> Term:
        constant = self.constant if constant is None else constant
        if constant:
            bound = torch.zeros_like(value)
        elif not exact:
            bound = bound + ROUNDINGS * (self.precision.eps * value.abs() + self.precision.tiny)
        return Term(value, bound, self.precision, binding, constant, write)


def leaf(symbol: str, value: Tensor, precision: Precision) -> Term:
    """Return a term for a tensor's window."""
    wide = value.to(torch.float64)
    return Term(wide, torch.zeros_like(wide), precision, symbol=symbol)


def constant(symbol: str, value: float, precision: Precision) -> Term:
    """Return a term for a hyper-parameter."""
    wide = torch.tensor(value, dtype=torch.float64)
    return Term(wide, torch.zeros_like(wide), precision, constant=True, symbol=symbol)


def agree(one: Tensor, other: Tensor, bound: Tensor) -> Tensor:
    """Return, element by element, whether two values agree up to rounding; NaN agrees with NaN."""
    same = (one == other) | (one.isnan() & other.isnan())
    return same | ((one - other).abs() <= bound)


def _bracketed(term: Term, read: Callable[[Term], str], least: int) -> str:
    text = read(term)
    return text if term.binding >= least else f"({text})"


def _base(term: Term, read: Callable[[Term], str]) -> str:
    """Write the base of a power; a negative number in brackets, since −x² is −(x²)."""
    text = _bracketed(term, read, _ATOM)
    return f"({text})" if text[:1] in "−" else text
