"""Why and Ledger as sheets: formulas with their numbers, and how an element of `.grad` accumulated."""

from __future__ import annotations

from gradstep.sheets.sheet import Block, Cell, Preformatted, Sheet, Table, Words, greatest, heat_cell
from gradstep.values import numbers
from gradstep.values.views import WhyView
from gradstep.values.views.ledger import FormulaLine, LedgerRow, LedgerView

_SIGNS = {"backward": "+ ", "step": "· "}


def why_sheet(view: WhyView) -> Sheet:
    """Return the sentence, each formula beside the same formula in numbers, and further facts."""
    blocks: list[Block] = [Preformatted((view.torch,))] if view.torch else []
    blocks.append(Words(view.sentence))
    if view.lines:
        blocks.append(Table(("", "", "", ""), tuple(map(_formula, view.lines)), left=(0, 1, 2, 3)))
    return Sheet("Why", view.element or view.about, (*blocks, *(Words(text, "dim") for text in view.more)))


def _formula(line: FormulaLine) -> tuple[Cell, ...]:
    joint = "  " if " " in line.name else " = "
    head = line.name + joint + line.formula if line.formula else line.name
    given = line.numbers or line.result
    return (
        Cell(head, "dim" if given else ""),
        Cell(f"= {line.numbers}" if line.numbers else ""),
        Cell(f"= {line.result}" if line.result else "", "bright"),
        Cell(line.note, "dim" if given else ""),
    )


def ledger_sheet(view: LedgerView) -> Sheet:
    """Return a row for each act since `.grad` was last cleared, and the sum."""
    if not view.name:
        return Sheet("Ledger", "", (Words(view.note, "dim"),))
    values = [*(row.amount for row in view.rows), *(row.after for row in view.rows), view.total]
    form, most = numbers.form_of(values, view.dtype), greatest(values)
    rows = [_row(row, form, most) for row in view.rows]
    total = _value(view.total, form)
    none = "none" if view.total is None and view.norm is None else numbers.norm(view.norm)
    rows.append((Cell("= .grad", "bright"), Cell(), Cell(total, "bright"), Cell(none, "bright"), Cell()))
    table = Table(("event", "adds", "sum", "norm", "loss"), tuple(rows))
    notes = dict.fromkeys(note for note in (view.note, *(row.note for row in view.rows)) if note)
    about = view.name + (f"  {view.state}" if view.state else "")
    return Sheet("Ledger", about, (table, *(Words(note, "dim") for note in notes)))


def _row(row: LedgerRow, form: numbers.Form, most: float) -> tuple[Cell, ...]:
    times = f" ×{row.used}" if row.used > 1 else ""
    used = f", used{times}" if row.kind in ("backward", "earlier") and row.used else ""
    text = Cell(_SIGNS.get(row.kind, "") + row.text + used, "" if row.kind == "backward" else "dim")
    adds = heat_cell(row.amount, form, most) if row.kind == "backward" else Cell()
    unknown = row.kind in ("earlier", "backward") and row.after is None
    after = Cell("·" if unknown else _value(row.after, form), "dim")
    if row.after is not None:
        after = heat_cell(row.after, form, most)
    norm = "none" if row.kind == "cleared" and row.after is None else numbers.norm(row.norm)
    return text, adds, after, Cell(norm, "dim"), Cell(numbers.loss(row.loss), "dim")


def _value(value: float | None, form: numbers.Form) -> str:
    return "none" if value is None else numbers.signed(value, form)
