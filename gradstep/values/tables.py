"""Small tables for a REPL and a notebook, drawn from values alone."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradstep.values.outcomes import Outcome
    from gradstep.values.views import Changes

_HEAD = ("changed", "before", "after", "norm of change")


def number(value: float | None, digits: int = 4) -> str:
    """Write a number as everywhere on screen: a real minus sign, NaN and inf as words, nothing for None."""
    if value is None:
        return ""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "−inf"
    size = abs(value)
    text = f"{value:.{digits}f}" if value == 0 or 1e-3 <= size < 1e6 else f"{value:.{digits - 1}e}"
    return text.replace("-", "−")


def changes_text(changes: Changes) -> str:
    """Draw what a phase changed as lines of plain text."""
    rows = _rows(changes)
    if len(rows) == 1:
        return _title(changes) + "\n  nothing changed"
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        "  " + row[0].ljust(widths[0]) + "".join("  " + row[i].rjust(widths[i]) for i in (1, 2, 3)) for row in rows
    ]
    return "\n".join([_title(changes), *(line.rstrip() for line in lines)])


def changes_html(changes: Changes) -> str:
    """Draw what a phase changed as an HTML table."""
    head, *body = _rows(changes)
    cells = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in body)
    heads = "".join(f"<th>{escape(c)}</th>" for c in head)
    table = (
        f"<table><thead><tr>{heads}</tr></thead><tbody>{cells}</tbody></table>" if body else "<p>nothing changed</p>"
    )
    return f"<p><b>{escape(_title(changes))}</b></p>{table}"


def outcome_text(outcome: Outcome) -> str:
    """Draw an outcome for a REPL: what changed, what was printed, or what went wrong and what to do."""
    if outcome.problem is not None:
        return "\n".join(x for x in (outcome.problem.title, outcome.problem.what, outcome.problem.remedy) if x)
    parts = [outcome.text, changes_text(outcome.changes) if outcome.changes is not None else ""]
    return "\n".join(x for x in parts if x) or f"stop {outcome.stop.number}, iteration {outcome.stop.iteration}"


def outcome_html(outcome: Outcome) -> str:
    """Draw an outcome for a notebook."""
    if outcome.problem is None and outcome.changes is not None and not outcome.text:
        return changes_html(outcome.changes)
    return f"<pre>{escape(outcome_text(outcome))}</pre>"


def _title(changes: Changes) -> str:
    loss = "" if changes.loss is None else f"   loss {number(changes.loss)}"
    return f"{changes.phase or 'loaded'}{loss}"


def _rows(changes: Changes) -> list[tuple[str, str, str, str]]:
    return [_HEAD, *((c.name, c.before, c.after, number(c.norm_of_change)) for c in changes.rows)]
