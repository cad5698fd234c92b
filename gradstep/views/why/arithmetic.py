"""The arithmetic of the selected element: how its `.grad` accumulated, and what a step did or would do."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gradstep.engine.bits import beside, same_bits
from gradstep.engine.debuggee.optimizers import writes_grad
from gradstep.engine.held import Held
from gradstep.engine.numbers.norms import norm_of
from gradstep.engine.observe.account import replayed
from gradstep.values.numbers import short
from gradstep.values.views.ledger import FormulaLine
from gradstep.views.tensor.element import Element
from gradstep.views.training.changes import before
from gradstep.views.why.formulas.find import grad_before, why_none, work_done, work_to_come
from gradstep.views.why.formulas.text import digits_that_tell, signed

WOULD = "step would give"


def arithmetic(held: Held, element: Element) -> tuple[FormulaLine, ...]:
    """Return the lines for an element at this stop; none where the last phase says nothing about it."""
    if held.refused:
        return ()
    match held.point.phase:
        case "backward":
            return (*_backward(held, element), *_would(held, element))
        case "step":
            return tuple(_step(held, element))
        case "zero_grad":
            return tuple(_cleared(held, element))
        case _:
            return tuple(_would(held, element))


def _would(held: Held, element: Element) -> Iterator[FormulaLine]:
    parameter = element.parameter
    if parameter.grad is None:
        return
    reason = why_none(held, parameter)
    if reason:
        yield FormulaLine(WOULD, "", note=reason)
        return
    yield from work_to_come(held, parameter, element.cut).formula_lines(WOULD)


# -- backward ---------------------------------------------------------------------------------------------------------
def _backward(held: Held, element: Element) -> Iterator[FormulaLine]:
    formula = "before + this backward"
    after = element.of(element.parameter.grad)
    if element.name not in held.point.written or after is None:
        reason = "no gradient reached it" if element.parameter.requires_grad else "requires_grad is False"
        yield FormulaLine(".grad", "", note=f"{reason}: .grad is unchanged")
        return
    start = element.of(grad_before(held, element.parameter))
    amounts = _added(held, element)
    if not amounts and start is None:
        amounts = [after]
    digits = digits_that_tell(start or 0.0, after)
    if not amounts:
        note = f"its contribution was not recorded: .grad was {signed(start, digits)} and is {signed(after, digits)}"
        yield FormulaLine(".grad", formula, note=note)
        return
    numbers = " + ".join([signed(start, digits), *(signed(amount, digits) for amount in amounts)])
    if not _adds_up(element, start, amounts, after):
        note = f"not shown: {numbers} is not {signed(after, digits)}; a hook of the workload changed .grad"
        yield FormulaLine(".grad", formula, note=note)
        return
    hooked = "the gradient went through a hook on the parameter" if element.parameter._backward_hooks else ""
    yield FormulaLine(".grad", formula, numbers, signed(after, digits), hooked)


def _added(held: Held, element: Element) -> list[float]:
    """Return what the last backward added to the element, in the engine's order; empty where it was not recorded."""
    lines = held.ledger.lines(element.name)
    if not lines or lines[-1].kind != "backward":
        return []
    last = [m.amount for m in replayed(lines[-1:], lambda amount: amount.at(element.index))]
    return [float(amount) for amount in last if amount is not None] if None not in last else []


def _adds_up(element: Element, start: float | None, amounts: list[float], after: float) -> bool:
    """Add in the dtype of `.grad`, as the autograd engine does."""
    dtype = element.parameter.grad.dtype if element.parameter.grad is not None else torch.float64
    total = None if start is None else torch.tensor(start, dtype=dtype)
    for amount in amounts:
        part = torch.tensor(amount, dtype=dtype)
        total = part if total is None else total + part
    return total is not None and bool(torch.equal(total, torch.tensor(after, dtype=dtype)) or total.isnan())


# -- step -------------------------------------------------------------------------------------------------------------
def _step(held: Held, element: Element) -> Iterator[FormulaLine]:
    parameter = element.parameter
    if parameter.grad is None:
        yield FormulaLine("w", "", note=".grad is None: the optimizer skipped it, and w is unchanged")
        return
    other = held.owner(parameter) is not held.optimizer
    reason = "another optimizer has it: this step did not update it" if other else why_none(held, parameter)
    if reason:
        yield from _without_formula(held, element, reason)
        return
    work = work_done(held, parameter, element.cut)
    if work is None:
        yield FormulaLine("w", "", note="its value before this step was not kept")
        return
    yield from work.formula_lines("w")
    yield from _clipped(held, element)


def _without_formula(held: Held, element: Element, reason: str) -> Iterator[FormulaLine]:
    """Show before, after and the state of an optimizer that has no formula."""
    yield _moved("w", element, before(held, element.name)[1], element.parameter, reason)
    for key, value in held.owner(element.parameter).state.get(element.parameter, {}).items():
        if isinstance(value, Tensor) and value.shape == element.parameter.shape:
            yield _moved(key, element, before(held, f"{element.name}.state.{key}")[1], value, "")


def _moved(name: str, element: Element, old: Tensor | None, new: Tensor, note: str) -> FormulaLine:
    start, end = element.of(old), element.of(new)
    if end is None:
        return FormulaLine(name, "", note=note or "no number to show")
    if start is None:
        return FormulaLine(name, "now", signed(end), signed(end), note)
    digits = digits_that_tell(start, end)
    return FormulaLine(
        name, "before + change", f"{signed(start, digits)} + {signed(end - start, digits)}", signed(end, digits), note
    )


def _clipped(held: Held, element: Element) -> Iterator[FormulaLine]:
    """Name what changed `.grad` inside the step before the optimizer used it, such as clipping."""
    grad, old = element.parameter.grad, grad_before(held, element.parameter)
    if grad is None or old is None or writes_grad(held.optimizer) or same_bits(old, grad):
        return
    start, end = element.of(old), element.of(grad)
    norm, new = norm_of(old), norm_of(grad)
    if start is None or end is None or not norm or not new:
        return
    factor, old = new / norm, beside(old, grad)
    if torch.allclose(old * factor, grad, rtol=1e-4, atol=0.0):
        note = "a hook of the step scaled the whole .grad, as gradient clipping by norm does"
        yield FormulaLine(".grad", ".grad · factor", f"{signed(start)} × {short(factor)}", signed(end), note)
    else:
        digits = digits_that_tell(start, end)
        note = f"a hook of the step changed it from {signed(start, digits)} to {signed(end, digits)}, as clipping does"
        yield FormulaLine(".grad", "", note=note)


# -- zero_grad --------------------------------------------------------------------------------------------------------
def _cleared(held: Held, element: Element) -> Iterator[FormulaLine]:
    was = element.of(grad_before(held, element.parameter))
    now = element.of(element.parameter.grad)
    if was is None and now is None:
        yield FormulaLine(".grad", "none, unchanged")
    else:
        yield FormulaLine(".grad", f"was {signed(was)}, is {signed(now)}")
