"""The Contributions view as a sheet: a row for each gradient that was added, and their sum."""

from __future__ import annotations

from pathlib import PurePath

from gradstep.sheets.sheet import Block, Cell, Sheet, Table, Words, norm_cell
from gradstep.values import numbers
from gradstep.values.views.contributions import Contribution, ContributionsView, Total, share_words


def contributions_sheet(view: ContributionsView) -> Sheet:
    """Return the gradients summed at a node, and their sum."""
    facts = [Words(text, "dim") for text in view.facts]
    if not view.rows:
        return Sheet("Contributions", view.about if view.name else "", tuple(facts))
    several = len(view.totals) > 1
    head = ("#", "from", "made in", "line", *(("output",) if several else ()), "norm", "share")
    rows = [*(_row(row, view, several) for row in view.rows), *(_total(total, several) for total in view.totals)]
    blocks: list[Block] = [Table(head, tuple(rows), left=(1, 2, 3))]
    if len(view.rows) < view.count:
        shown = f"rows {view.first} to {view.first + len(view.rows) - 1} of {view.count:,}"
        blocks.append(Words(f"{shown}; others with contributions(…, first=…, count=…)", "dim"))
    order = ", largest share first" if view.by == "share" else ", in the order in which the engine added them"
    return Sheet("Contributions", view.about + (order if view.count > 1 else ""), (*blocks, *facts))


def _row(row: Contribution, view: ContributionsView, several: bool) -> tuple[Cell, ...]:
    line = f"{PurePath(row.source.file).name}:{row.source.line}" if row.source.line else ""
    heat = 0.0 if row.share is None or not view.greatest else row.share / view.greatest
    odd = row.share is not None and row.share - row.share != 0
    share = Cell(share_words(row.share, view.form), "odd" if odd else "", 0.0 if odd else heat)
    output = (Cell(str(row.output), "dim"),) if several else ()
    return (
        Cell(str(row.number), "dim"),
        Cell(row.operation),
        Cell(row.use),
        Cell(line),
        *output,
        norm_cell(row.norm),
        share,
    )


def _total(total: Total, several: bool) -> tuple[Cell, ...]:
    used = "bit-equal to the sum that the engine used" if total.exact else "NOT the sum that the engine used"
    output = (Cell(str(total.output), "dim"),) if several else ()
    sum_of = f"sum of {total.count:,}  {numbers.shape(total.shape)}"
    return Cell(), Cell(sum_of, "bright"), Cell(used), Cell(), *output, norm_cell(total.norm), Cell()
