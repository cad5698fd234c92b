"""Watchpoints: expressions whose value is compared after every phase, as gdb's watch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gradstep.engine.bits import same_bits
from gradstep.engine.expressions.evaluate import Scope, describe, evaluate
from gradstep.values.errors import GradstepError, wrong
from gradstep.values.expressions import Expression, expression_line
from gradstep.values.outcomes import WatchHit


@dataclass
class Watchpoint:
    """One watched expression, with a copy of the value it had."""

    line: str
    expression: Expression
    value: object
    text: str


class Watchpoints:
    """The watchpoints of a session, numbered from 1; a number is never used again."""

    def __init__(self) -> None:
        self._points: dict[int, Watchpoint] = {}
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._points)

    def __iter__(self) -> Iterator[tuple[int, str, str]]:
        """Yield number, expression and present value of each."""
        return ((number, point.line, point.text) for number, point in self._points.items())

    def add(self, expression: Expression, scope: Scope) -> str:
        """Watch an expression, which is not watched twice, from its present value on; return the line that says so.

        Raises:
            GradstepError: the expression can't be evaluated.
        """
        value = kept(evaluate(expression, scope))
        point = Watchpoint(expression_line(expression), expression, value, describe(value))
        there = next((number for number, each in self._points.items() if each.line == point.line), 0)
        self._count += not there
        self._points[there or self._count] = point
        already = " (already set)" if there else ""
        return f"watchpoint {there or self._count}{already}: {point.line} = {point.text}"

    def remove(self, number: int) -> str:
        """Remove one watchpoint, or all (0); return the line that says so.

        Raises:
            GradstepError: no watchpoint has this number.
        """
        if number and number not in self._points:
            there = ", ".join(map(str, self._points)) or "none"
            raise wrong("there is no such watchpoint", str(number), f"there are: {there}", str(number))
        gone = [number] if number else list(self._points)
        for each in gone:
            del self._points[each]
        return "removed " + (", ".join(f"watchpoint {n}" for n in gone) or "none")

    def hits(self, scope: Scope) -> tuple[WatchHit, ...]:
        """Return the watchpoints whose value has changed since this was last asked."""
        hits = []
        for number, point in self._points.items():
            try:
                value: object = kept(evaluate(point.expression, scope))
                text = describe(value)
            except GradstepError as error:
                value, text = None, error.problem.title
            except Exception as error:  # the phase has succeeded: a value that cannot be computed is not its failure
                value, text = None, f"{type(error).__name__}: {error}"
            if not _same(point.value, value):
                hits.append(WatchHit(number, point.line, point.text, text))
                point.value, point.text = value, text
        return tuple(hits)


def kept(value: object) -> object:
    """Return a copy of a value that later phases can't change."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, (list, tuple)):  # deepcopy refuses tensors that a graph made
        return [kept(each) for each in value]
    if isinstance(value, Mapping):
        return {key: kept(each) for key, each in value.items()}
    return deepcopy(value)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return same_bits(one, other)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if type(one) is not type(other) or isinstance(one, Tensor):
        return False
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    both_nan = one != one and other != other
    return bool(both_nan or one == other)
