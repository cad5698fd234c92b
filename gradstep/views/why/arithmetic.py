"""The arithmetic of the selected element: how its `.grad` accumulated, and what a step did or would do."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gradstep.engine.bits import answers, beside, same_there
from gradstep.engine.debuggee.optimizers import writes_grad
from gradstep.engine.held import Held
from gradstep.engine.numbers.norms import norms
from gradstep.engine.observe.account import replayed
from gradstep.engine.reads import Reading, gather, scalars
from gradstep.values.numbers import short
from gradstep.values.views.ledger import FormulaLine
from gradstep.views.tensor.element import Element
from gradstep.views.training.changes import before
from gradstep.views.why.formulas.find import grad_before, why_none, work_done, work_to_come
from gradstep.views.why.formulas.text import digits_that_tell, signed

WOULD = "step would give"


def arithmetic(held: Held, element: Element | None) -> Reading[tuple[FormulaLine, ...]]:
    """Read the lines for an element at this stop; none where the last phase says nothing about it."""
    if held.refused or element is None:
        return ()
    match held.point.phase:
        case "backward":
            added, would = yield from gather([_backward(held, element), _would(held, element)])
            return (added, *would)
        case "step":
            return tuple((yield from _step(held, element)))
        case "zero_grad":
            return ((yield from _cleared(held, element)),)
        case _:
            return tuple((yield from _would(held, element)))


def _would(held: Held, element: Element) -> Reading[Sequence[FormulaLine]]:
    parameter = element.parameter
    if parameter.grad is None:
        return ()
    reason = why_none(held, parameter)
    if reason:
        return [FormulaLine(WOULD, "", note=reason)]
    return (yield from work_to_come(held, parameter, element.cut)).formula_lines(WOULD)


# -- backward ---------------------------------------------------------------------------------------------------------
def _backward(held: Held, element: Element) -> Reading[FormulaLine]:
    formula = "before + this backward"
    grads = element.parameter.grad, grad_before(held, element.parameter)
    (after, start), amounts = yield from gather([element.of(*grads), scalars(_added(held, element))])
    if element.name not in held.point.written or after is None:
        reason = "no gradient reached it" if element.parameter.requires_grad else "requires_grad is False"
        return FormulaLine(".grad", "", note=f"{reason}: .grad is unchanged")
    if not amounts and start is None:
        amounts = [after]
    digits = digits_that_tell(start or 0.0, after)
    if not amounts:
        note = f"its contribution was not recorded: .grad was {signed(start, digits)} and is {signed(after, digits)}"
        return FormulaLine(".grad", formula, note=note)
    numbers = " + ".join([signed(start, digits), *(signed(amount, digits) for amount in amounts)])
    if not _adds_up(element, start, amounts, after):
        note = f"not shown: {numbers} is not {signed(after, digits)}; a hook of the workload changed .grad"
        return FormulaLine(".grad", formula, note=note)
    hooked = "the gradient went through a hook on the parameter" if element.parameter._backward_hooks else ""
    return FormulaLine(".grad", formula, numbers, signed(after, digits), hooked)


def _added(held: Held, element: Element) -> list[Tensor]:
    """Return what the last backward added to the element, in the engine's order; empty where it was not recorded."""
    lines = held.ledger.lines(element.name)
    if not lines or lines[-1].kind != "backward" or element.parameter.is_complex():
        return []
    last = [m.amount for m in replayed(lines[-1:], lambda amount: amount.at(element.index))]
    return [] if None in last else [amount for amount in last if amount is not None]


def _adds_up(element: Element, start: float | None, amounts: list[float], after: float) -> bool:
    """Add in the dtype of `.grad`, as the autograd engine does."""
    dtype = element.parameter.grad.dtype if element.parameter.grad is not None else torch.float64
    total = None if start is None else torch.tensor(start, dtype=dtype)
    for amount in amounts:
        part = torch.tensor(amount, dtype=dtype)
        total = part if total is None else total + part
    return total is not None and bool(torch.equal(total, torch.tensor(after, dtype=dtype)) or total.isnan())


# -- step -------------------------------------------------------------------------------------------------------------
def _step(held: Held, element: Element) -> Reading[list[FormulaLine]]:
    parameter = element.parameter
    if parameter.grad is None:
        return [FormulaLine("w", "", note=".grad is None: the optimizer skipped it, and w is unchanged")]
    other = held.owner(parameter) is not held.optimizer
    reason = "another optimizer has it: this step did not update it" if other else why_none(held, parameter)
    if reason:
        return (yield from _without_formula(held, element, reason))
    work, clipped = yield from gather([work_done(held, parameter, element.cut), _clipped(held, element)])
    if work is None:
        return [FormulaLine("w", "", note="its value before this step was not kept")]
    return [*work.formula_lines("w"), *clipped]


def _without_formula(held: Held, element: Element, reason: str) -> Reading[list[FormulaLine]]:
    """Show before, after and the state of an optimizer that has no formula."""
    moved = [_moved("w", element, before(held, element.name)[1], element.parameter, reason)]
    for key, value in held.owner(element.parameter).state.get(element.parameter, {}).items():
        if isinstance(value, Tensor) and value.shape == element.parameter.shape:
            moved.append(_moved(key, element, before(held, f"{element.name}.state.{key}")[1], value, ""))
    return (yield from gather(moved))


def _moved(name: str, element: Element, old: Tensor | None, new: Tensor, note: str) -> Reading[FormulaLine]:
    start, end = yield from element.of(old, new)
    if end is None:
        return FormulaLine(name, "", note=note or "no number to show")
    if start is None:
        return FormulaLine(name, "now", signed(end), signed(end), note)
    digits = digits_that_tell(start, end)
    return FormulaLine(
        name, "before + change", f"{signed(start, digits)} + {signed(end - start, digits)}", signed(end, digits), note
    )


def _clipped(held: Held, element: Element) -> Reading[Sequence[FormulaLine]]:
    """Name what changed `.grad` inside the step before the optimizer used it, such as clipping."""
    grad, old = element.parameter.grad, grad_before(held, element.parameter)
    if grad is None or old is None or writes_grad(held.optimizer) or (yield from answers([same_there(old, grad)]))[0]:
        return ()
    (start, end), (norm, new) = yield from gather([element.of(old, grad), norms([old, grad])])
    if start is None or end is None or not norm or not new:
        return ()
    factor, old = new / norm, beside(old, grad)
    if torch.allclose(old * factor, grad, rtol=1e-4, atol=0.0):
        note = "a hook of the step scaled the whole .grad, as gradient clipping by norm does"
        return [FormulaLine(".grad", ".grad · factor", f"{signed(start)} × {short(factor)}", signed(end), note)]
    digits = digits_that_tell(start, end)
    note = f"a hook of the step changed it from {signed(start, digits)} to {signed(end, digits)}, as clipping does"
    return [FormulaLine(".grad", "", note=note)]


# -- zero_grad --------------------------------------------------------------------------------------------------------
def _cleared(held: Held, element: Element) -> Reading[FormulaLine]:
    was, now = yield from element.of(grad_before(held, element.parameter), element.parameter.grad)
    if was is None and now is None:
        return FormulaLine(".grad", "none, unchanged")
    return FormulaLine(".grad", f"was {signed(was)}, is {signed(now)}")
