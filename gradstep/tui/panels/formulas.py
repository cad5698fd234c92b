"""The formulas of Why: each one, then the same with its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from gradstep.tui.render.drawing import GUTTER, paragraph
from gradstep.tui.render.lines import Line, Row, cell_len, clean
from gradstep.values.views.ledger import FormulaLine

_GAP = 3
_WAY = "→ "
"""The prefix of a note that says where the result of a formula goes."""


def are_ways(lines: Sequence[FormulaLine]) -> bool:
    """Return whether every formula says where its result goes."""
    return bool(lines) and all(line.note.startswith(_WAY) for line in lines)


def formula_rows(lines: Sequence[FormulaLine], width: int) -> list[Line]:
    """Return a row per formula, with their numbers aligned; two rows where one is too short."""
    if are_ways(lines):
        return _ways(lines, width)
    heads = [_head(line) for line in lines]
    tails = [_tail(line) for line in lines]
    room = width - GUTTER - 1
    beside = [h for h, t in zip(heads, tails, strict=True) if t and cell_len(h) + _GAP + cell_len(t) <= room]
    column = max(map(cell_len, beside), default=0)
    rows: list[Line] = []
    for line, head, tail in zip(lines, heads, tails, strict=True):
        start = max(column, cell_len(head))
        if start + _GAP + cell_len(tail) > room:
            start = cell_len(head)
        rows += _rows(line, head, tail, GUTTER + start + _GAP, width)
    return rows


def _ways(lines: Sequence[FormulaLine], width: int) -> list[Line]:
    """Return formulas with where their results go, as many per row as fit."""
    rows: list[Line] = []
    row = Row(width)
    for line in lines:
        head, note = _head(line), clean(line.note)
        cells = cell_len(head) + 1 + cell_len(note)
        if row.at and row.at + _GAP + cells > width - 1:
            rows.append(row.line())
            row = Row(width)
        if GUTTER + cells > width - 1:
            rows += _rows(line, head, "", GUTTER + cell_len(head) + 1, width)
            continue
        row = row.add(" " * _GAP) if row.at else row.to(GUTTER)
        row.add(head, "dim").add(f" {note}", "text")
    return [*rows, row.line()] if row.at else rows


def _rows(line: FormulaLine, head: str, tail: str, start: int, width: int) -> list[Line]:
    """Return the rows of one formula: its numbers from column `start` on, its note beside them or below."""
    row, note = Row(width).left(GUTTER, head, "dim"), clean(line.note)
    tone = "dim" if tail else "text"
    if tail and start + cell_len(tail) > width - 1:
        rows = [row.line(), *_numbers(Row(width).to(GUTTER + 2), line, tail, width)]
    else:
        row = _tailed(row.to(start), line).add(" " * _GAP) if tail else row.to(start)
        if note and row.at + cell_len(note) <= width - 1:
            row.add(note, tone)
            note = ""
        rows = [row.line()]
    return rows + (paragraph(note, width, tone, GUTTER + 2) if note else [])


def _numbers(row: Row, line: FormulaLine, tail: str, width: int) -> list[Line]:
    """Return the numbers on rows of their own, wrapped if need be."""
    if row.at + cell_len(tail) <= width - 1:
        return [_tailed(row, line).line()]
    return paragraph(tail, width, "bright", row.at)


def _tailed(row: Row, line: FormulaLine) -> Row:
    return row.add("= ", "dim").add(clean(line.numbers), "text").add(" = ", "dim").add(clean(line.result), "bright")


def _head(line: FormulaLine) -> str:
    if not line.formula:
        return clean(line.name)
    joint = "  " if " " in line.name and line.numbers else " = "
    return clean(line.name) + joint + clean(line.formula)


def _tail(line: FormulaLine) -> str:
    return f"= {clean(line.numbers)} = {clean(line.result)}" if line.numbers else ""
