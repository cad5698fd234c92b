"""The Ledger view: how one element of `.grad` accumulated, a row for each phase since it was last cleared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradstep.engine.held import Held
from gradstep.engine.numbers.readable import dtype_name
from gradstep.engine.observe.account import AccountLine, Amount, LineEffect, replayed
from gradstep.engine.reads import Reading, gather, scalars_or_none
from gradstep.values.views.ledger import LedgerRow, LedgerView
from gradstep.views.numbers import Norms
from gradstep.views.tensor.element import Element
from gradstep.views.tensor.view import unreached

NOT_RECORDED = "not recorded: recording begins when the Ledger is first shown, up to 64 MiB"


def ledger_view(held: Held, stop: int, element: Element | None, taken: Norms | None = None) -> Reading[LedgerView]:
    """Read the ledger of an element.

    `taken` holds the norms already computed for the same look.
    """
    if element is None:
        return LedgerView(stop, note="select a parameter in Model: the ledger shows its .grad")
    grad = element.parameter.grad
    effects = list(replayed(held.ledger.lines(element.name), lambda amount: amount.at(element.index)))
    (total,), norms, rows = yield from gather(
        [element.of(grad), (taken or Norms()).of([] if grad is None else [grad]), _rows(effects)]
    )
    norm = norms[0] if norms else None
    return LedgerView(
        stop,
        name=element.line(".grad"),
        element=element.index,
        dtype=dtype_name(element.parameter if grad is None else grad),
        state=held.ledger.state(element.name, element.parameter),
        rows=(*_before(held, element, effects, total, norm), *rows, *_after(effects, rows, total, norm)),
        total=total,
        norm=norm,
        note=_why_none(held, element),
    )


def _why_none(held: Held, element: Element) -> str:
    """Return why no backward will give a `.grad`; empty when one can."""
    if not element.parameter.requires_grad:
        return "requires_grad is False: no backward reaches it"
    if not held.missed(element.parameter):
        return ""
    return f"The {unreached(element.path)}."


def _before(
    held: Held, element: Element, effects: list[LineEffect], now: float | None, norm: float | None
) -> Iterator[LedgerRow]:
    """Yield the row that comes first; without lines, the only one."""
    entry = held.ledger.entry(element.name)
    added = entry.added + held.ledger.running(element.name)
    if effects:
        if effects[0].line.kind == "backward":
            yield LedgerRow("start", "no .grad")
    elif element.parameter.grad is None:
        yield LedgerRow("start", "no backward yet")
    elif added:
        text = f"{added} backward{'s' if added > 1 else ''}"
        yield LedgerRow("earlier", text, after=now, norm=norm, used=entry.used, note=NOT_RECORDED)
    else:
        word = "zero_grad" if entry.zeroed else "unknown" if held.ledger.is_unknown(element.name) else "given"
        yield LedgerRow("cleared" if entry.zeroed else "earlier", word, after=now, norm=norm)


def _rows(effects: list[LineEffect]) -> Reading[list[LedgerRow]]:
    """Read a row for each part of each line."""
    elements = [value for each in effects for value in (each.before.value, each.amount, each.after.value)]
    real = [None if value is None or value.is_complex() else value for value in elements]
    parts = [each.part or Amount() for each in effects]
    values, norms = yield from gather([scalars_or_none(real), Amount.norms(parts)])
    steps = [each.place for each in effects if each.line.kind == "step"]
    return [
        _row(each, values[3 * i : 3 * i + 3], norms[i], sum(place > each.place for place in steps), _part(effects, i))
        for i, each in enumerate(effects)
    ]


def _after(
    effects: list[LineEffect], rows: list[LedgerRow], now: float | None, norm: float | None
) -> Iterator[LedgerRow]:
    """Yield a row for what other code has written since the last line."""
    if effects and effects[-1].after.known and not _same(rows[-1].after, now):
        yield LedgerRow("changed", "written since", rows[-1].after, None, now, norm)


def _row(effect: LineEffect, numbers: Sequence[float | None], norm: float | None, later: int, part: str) -> LedgerRow:
    line, (before, amount, after) = effect.line, numbers
    if line.kind == "step":
        return LedgerRow("step", "step", before, None, after)
    if line.kind != "backward":
        return LedgerRow(line.kind, _word(line), None, None, after, norm, used=later + line.used)
    note = "" if effect.amount is not None else "this element was not recorded"
    text = f"backward {line.number}{part}"
    return LedgerRow("backward", text, before, amount, after, norm, line.forward, line.loss, later, note)


def _word(line: AccountLine) -> str:
    if line.kind == "cleared":
        return "zero_grad"
    if line.kind == "changed":
        return "written by other code"
    return f"{line.number} earlier" if line.number else "was there"


def _part(effects: list[LineEffect], i: int) -> str:
    """Return which part of a backward a row is, when nested backwards accumulated several times."""
    here = effects[i]
    if len(here.line.parts) < 2:
        return ""
    first = next(j for j, each in enumerate(effects) if each.place == here.place)
    return f", {i - first + 1} of {len(here.line.parts)}"


def _same(one: float | None, other: float | None) -> bool:
    return one == other or (one is not None and other is not None and one != one and other != other)
