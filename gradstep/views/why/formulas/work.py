"""The work of one formula: the values it reads of a parameter, and its lines, checked against torch's results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gradstep.engine.numbers.readable import dtype_name
from gradstep.values.views.ledger import FormulaLine
from gradstep.views.why.formulas.term import Precision, Term, agree, constant, leaf
from gradstep.views.why.formulas.text import DIGITS, digits_that_tell, signed


@dataclass(frozen=True)
class WorkLine:
    """A line of the work: its name, its formula, and torch's value for it, if there is one."""

    name: str
    term: Term
    actual: Tensor | None = None


@dataclass
class Work:
    """A window of one parameter before a step, and after it when the step was taken.

    All tensors are windows of one shape, on the CPU. State that is one number for the whole parameter (the count of
    steps) is a 0-dim tensor.
    """

    weight: Tensor
    gradient: Tensor
    hyper: Mapping[str, object]
    state: Mapping[str, Tensor]
    weight_after: Tensor | None = None
    state_after: Mapping[str, Tensor] = field(default_factory=dict)
    lines: list[WorkLine] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._precision = Precision.of(self.weight.dtype)

    # -- what a formula reads -----------------------------------------------------------------------------------------
    @property
    def w(self) -> Term:
        """The weight before the step."""
        return leaf("w", self.weight, self._precision)

    @property
    def grad(self) -> Term:
        """The gradient that the step used."""
        return leaf(".grad", self.gradient, self._precision)

    def has(self, key: str) -> bool:
        """Return whether the optimizer had this state for the parameter before the step."""
        return key in self.state

    def kept(self, symbol: str, key: str) -> Term:
        """Return the optimizer's state; zeros before its first step, as torch initialises it."""
        value = self.state.get(key)
        return leaf(symbol, torch.zeros_like(self.weight) if value is None else value, self._precision)

    @property
    def t(self) -> Term:
        """The number of this step for the parameter, from 1."""
        done = self.state.get("step")
        return self.number("t", 1 if done is None else float(done) + 1)

    def option(self, name: str) -> float:
        """Return a hyper-parameter as a number; 0 when it is off or unknown to this version of torch."""
        value = self.hyper.get(name)
        return float(value) if isinstance(value, (int, float)) else 0.0

    def number(self, symbol: str, value: float) -> Term:
        """Return a hyper-parameter, or an expression of them, as a term."""
        return constant(symbol, value, self._precision)

    # -- what it writes -----------------------------------------------------------------------------------------------
    def line(self, name: str, term: Term, key: str = "") -> Term:
        """Write a line; return its value as a term.

        Args:
            name: the symbol of its value.
            term: the formula.
            key: the optimizer's name for it, when it is state: after a step the line is compared with that, and the
                work continues with it.
        """
        actual = self.state_after.get(key)
        self.lines.append(WorkLine(name, term, actual))
        return term.named(name, actual if actual is not None else None)

    # -- the result ---------------------------------------------------------------------------------------------------
    def finish(self, result: Term) -> None:
        """Write the last line: the new weight."""
        self.lines.append(WorkLine("w", result, self.weight_after))

    @property
    def agrees(self) -> Tensor:
        """Where all of torch's values agree with the lines up to rounding; of the window's shape."""
        same = torch.ones_like(self.weight, dtype=torch.bool)
        for made in self.lines:
            if made.actual is not None:
                same = same & _agrees(made)
        return same

    @property
    def result(self) -> Tensor:
        """The new weight that the formula gives, rounded to the weight's dtype."""
        return self.lines[-1].term.value.to(self.weight.dtype)

    def formula_lines(self, last: str) -> tuple[FormulaLine, ...]:
        """Return the lines of a single element, the new weight first, under the name `last`."""
        *parts, result = self.lines
        return (self._text(result, last), *(self._text(made, made.name) for made in parts))

    def _text(self, made: WorkLine, name: str) -> FormulaLine:
        last = made is self.lines[-1]
        computed = float(made.term.value.to(self.weight.dtype))
        value = computed if made.actual is None else float(made.actual)
        formula = made.term.symbols()
        if made.actual is not None and not bool(_agrees(made)):
            digits = digits_that_tell(computed, value)
            note = f"not shown: torch computed {signed(value, digits)}, the formula gives {signed(computed, digits)}"
            return FormulaLine(name, formula, note=note)
        before = float(self.weight)
        digits = digits_that_tell(before, value) if last else DIGITS
        lost = last and value == before and float(made.term.value) != before
        dtype = dtype_name(self.weight)
        note = f"less than the last bit of w in {dtype}: w is unchanged" if lost else ""
        return FormulaLine(name, formula, made.term.numbers(digits), signed(value, digits), note)


def _agrees(made: WorkLine) -> Tensor:
    assert made.actual is not None
    rounded = made.term.value.to(made.actual.dtype).to(torch.float64)
    return agree(rounded, made.actual.to(torch.float64), made.term.bound)
