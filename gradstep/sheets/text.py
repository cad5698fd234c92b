"""A sheet as plain text for a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from gradstep.sheets.sheet import Beside, Block, Cell, Picture, Preformatted, Sheet, Table, Words
from gradstep.values.plain import clean, columns

_MARGIN = "  "
_BAR = 12
"""Maximum columns of a bar."""
_WIDTH = 100
"""Maximum width of tables side by side."""


def text(sheet: Sheet) -> str:
    """Draw a sheet as lines of plain text."""
    body = [line for block in sheet.blocks for line in _block(block)]
    if sheet.title:
        body = [clean(f"{sheet.title}   {sheet.about}".rstrip()), *(_MARGIN + line for line in body)]
    return "\n".join(line.rstrip() for line in body)


def _block(block: Block) -> Sequence[str]:
    match block:
        case Table():
            return _table(block)
        case Beside(tables):
            return _beside([_table(table) for table in tables])
        case Words(words):
            return [clean(line) for line in words.splitlines()]
        case Preformatted(lines) | Picture(_, lines):
            return [clean(line) for line in lines]


def _beside(tables: list[list[str]]) -> list[str]:
    widths = [max(map(columns, lines), default=0) for lines in tables]
    if sum(widths) + 3 * len(widths) > _WIDTH:
        return [line for lines in tables for line in lines]
    rows = zip_longest(*tables, fillvalue="")
    return ["   ".join(_fill(cell, width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def _table(table: Table) -> list[str]:
    cells = [[clean(head) for head in table.head], *([_text(cell) for cell in row] for row in table.rows)]
    widths = [max(map(columns, column)) for column in zip(*cells, strict=True)]
    lines = [clean(table.title)] if table.title else []
    for i, row in enumerate(cells, -1):
        if i < 0 and not any(table.head):
            continue
        mark = "▶ " if i == table.here and i >= 0 else "  " if table.here >= 0 else ""
        parts = (_fill(cell, widths[j], j in table.left) for j, cell in enumerate(row))
        lines.append(mark + "  ".join(parts))
    return lines


def _text(cell: Cell) -> str:
    if cell.bar is None:
        return clean(cell.text)
    return "█" * max(1, round(min(1.0, cell.bar) * _BAR)) if cell.bar > 0 else ""


def _fill(cell: str, width: int, left: bool = True) -> str:
    blanks = " " * (width - columns(cell))
    return cell + blanks if left else blanks + cell
