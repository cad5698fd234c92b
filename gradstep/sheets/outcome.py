"""An outcome, and what a command changed, as a sheet."""

from __future__ import annotations

from gradstep.sheets.sheet import Cell, Rows, Sheet, Table, Words
from gradstep.values.numbers import number
from gradstep.values.outcomes import Outcome
from gradstep.values.views import Changes

_HEAD = ("changed", "before", "after", "norm of change")


def changes_sheet(changes: Changes) -> Sheet:
    """Return what a phase changed as a table."""
    loss = "" if changes.loss is None else f"loss {number(changes.loss)}"
    rows = tuple(
        (Cell(c.name), Cell(c.before, "dim"), Cell(c.after), Cell(number(c.norm_of_change))) for c in changes.rows
    )
    body = Table(_HEAD, rows) if rows else Words("no weight and no .grad changed")
    return Sheet(changes.phase or "loaded", loss, (body,))


def outcome_sheet(outcome: Outcome) -> Sheet:
    """Return an outcome as what went wrong and what to do, what was printed, what changed, or where it stands."""
    problem, changes = outcome.problem, outcome.changes
    if problem is not None:
        return Sheet(problem.title, "", tuple(Words(text) for text in (problem.what, problem.remedy) if text))
    printed = (Rows(tuple(outcome.text.splitlines())),) if outcome.text else ()
    position = outcome.stop.position
    if position is not None:
        source = position.source
        line = (Words(f"{source.file}:{source.line}  {source.text}"),) if source.file else ()
        return Sheet(position.words, position.reason, (*printed, *line))
    if changes is not None:
        sheet = changes_sheet(changes)
        return sheet._replace(blocks=(*printed, *sheet.blocks))
    hit = (Words(outcome.stop.hit),) if outcome.stop.hit else ()
    if printed or hit:
        return Sheet("", "", (*printed, *hit))
    return Sheet(f"stop {outcome.stop.number}", f"iteration {outcome.stop.iteration}", ())
