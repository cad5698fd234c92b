"""The Ledger view: how one element of `.grad` accumulated, a row for each phase since it was last cleared."""

from __future__ import annotations

from collections.abc import Iterator

from gradstep.engine.held import Held
from gradstep.engine.numbers.readable import dtype_name
from gradstep.engine.observe.account import AccountLine, LineEffect, Standing, replayed
from gradstep.engine.reads import read
from gradstep.values.views.ledger import LedgerRow, LedgerView
from gradstep.views.numbers import Norms
from gradstep.views.tensor.element import Element
from gradstep.views.tensor.view import unreached

NOT_RECORDED = "not recorded: recording begins when the Ledger is first shown, up to 64 MiB"


def ledger_view(held: Held, stop: int, element: Element | None, taken: Norms | None = None) -> LedgerView:
    """Return the ledger of an element.

    `taken` holds the norms already computed for the same look.
    """
    if element is None:
        return LedgerView(stop, note="select a parameter in Model: the ledger shows its .grad")
    grad = element.parameter.grad
    total = element.of(grad)
    taken = taken or Norms()
    rows = tuple(_rows(held, element, taken))
    return LedgerView(
        stop,
        name=element.line(".grad"),
        element=element.index,
        dtype=dtype_name(element.parameter if grad is None else grad),
        state=held.ledger.state(element.name, element.parameter),
        rows=rows,
        total=total,
        norm=None if grad is None else read(taken.of([grad]))[0],
        note=_why_none(held, element),
    )


def _why_none(held: Held, element: Element) -> str:
    """Return why no backward will give a `.grad`; empty when one can."""
    if not element.parameter.requires_grad:
        return "requires_grad is False: no backward reaches it"
    if not held.missed(element.parameter):
        return ""
    return f"The {unreached(element.path)}."


def _rows(held: Held, element: Element, taken: Norms) -> Iterator[LedgerRow]:
    entry, lines = held.ledger.entry(element.name), held.ledger.lines(element.name)
    grad = element.parameter.grad
    now, norm = element.of(grad), None if grad is None else read(taken.of([grad]))[0]
    if not lines:
        if grad is None:
            yield LedgerRow("start", "no backward yet")
        elif entry.added:
            text = f"{entry.added} backward{'s' if entry.added > 1 else ''}"
            yield LedgerRow("earlier", text, after=now, norm=norm, used=entry.used, note=NOT_RECORDED)
        else:
            word = "zero_grad" if entry.zeroed else "unknown" if held.ledger.is_unknown(element.name) else "given"
            yield LedgerRow("cleared" if entry.zeroed else "earlier", word, after=now, norm=norm)
        return
    if lines[0].kind == "backward":
        yield LedgerRow("start", "no .grad")
    moments = list(replayed(lines, lambda amount: amount.at(element.index)))
    steps = [sum(line.kind == "step" for line in lines[i + 1 :]) for i in range(len(lines))]
    for i, moment in enumerate(moments):
        yield _row(moment, steps[moment.place], _part(moments, i))
    last = moments[-1].after
    standing = _number(last)
    if last.known and not _same(standing, now):
        yield LedgerRow("changed", "written since", standing, None, now, norm)


def _row(moment: LineEffect, later: int, part: str) -> LedgerRow:
    line, before, after = moment.line, _number(moment.before), _number(moment.after)
    norm = None if moment.part is None else moment.part.norm
    if line.kind == "step":
        return LedgerRow("step", "step", before, None, after)
    if line.kind != "backward":
        return LedgerRow(line.kind, _word(line), None, None, after, norm, used=later + line.used)
    amount = None if moment.amount is None else float(moment.amount)
    note = "" if amount is not None else "this element was not recorded"
    text = f"backward {line.number}{part}"
    return LedgerRow("backward", text, before, amount, after, norm, line.forward, line.loss, later, note)


def _word(line: AccountLine) -> str:
    if line.kind == "cleared":
        return "zero_grad"
    if line.kind == "changed":
        return "written by other code"
    return f"{line.number} earlier" if line.number else "was there"


def _part(moments: list[LineEffect], i: int) -> str:
    """Return which part of a backward a row is, when nested backwards accumulated several times."""
    here = moments[i]
    if len(here.line.parts) < 2:
        return ""
    first = next(j for j, moment in enumerate(moments) if moment.place == here.place)
    return f", {i - first + 1} of {len(here.line.parts)}"


def _number(standing: Standing) -> float | None:
    return None if standing.value is None or standing.value.is_complex() else float(standing.value)


def _same(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and one != one and other != other)
