"""The Graph view as a sheet: one line per node in execution order, with the lanes of its edges."""

from __future__ import annotations

from pathlib import PurePath

from gradstep.sheets.sheet import Block, Preformatted, Sheet, Words
from gradstep.values import numbers
from gradstep.values.plain import clean, columns
from gradstep.values.views.graph import GraphView, NodeRow

_STATES = {
    "alive": "alive",
    "freed": "freed by backward",
    "partly freed": "partly freed",
    "none": "",
}


def graph_sheet(view: GraphView) -> Sheet:
    """Return the nodes as monospaced lines, so that the lanes connect."""
    if view.state == "none":
        return Sheet("Graph", "", (Words(view.note or "No graph yet: forward records it.", "dim"),))
    nodes = numbers.count(view.nodes or view.total, "node")
    folded = f" in {numbers.count(view.total, 'row')}" if view.nodes > view.total else ""
    about = f"{nodes}{folded}, {_STATES[view.state]}, in execution order"
    blocks: list[Block] = [Preformatted(_lines(view.rows))] if view.rows else []
    end = view.first + len(view.rows)
    if len(view.rows) < view.total:
        shown = f"rows {view.first} to {end - 1} of {view.total:,}" if view.rows else f"none of {view.total:,} rows"
        blocks.append(Words(f"{shown}; others with graph(first=…, count=…)", "dim"))
    if view.note:
        blocks.append(Words(view.note, "dim"))
    return Sheet("Graph", about, tuple(blocks))


def _lines(rows: tuple[NodeRow, ...]) -> tuple[str, ...]:
    cells = [_cells(row) for row in rows]
    widths = [max(map(columns, column)) for column in zip(*cells, strict=True)]
    padded = (zip(row, widths, strict=True) for row in cells)
    return tuple("  ".join(cell + " " * (width - columns(cell)) for cell, width in row).rstrip() for row in padded)


def _cells(row: NodeRow) -> tuple[str, ...]:
    done = "✓" if row.done else "·"
    operation = f"{row.operation} {row.grad}".rstrip() if row.parameter else row.operation
    name = numbers.count(row.nodes, "node") if row.group else row.name
    line = f"{PurePath(row.file).name}:{row.line}" if row.line else ""
    texts = (operation, numbers.shape(row.shape), row.module, name, line)
    return (f"{done} #{row.order}", row.lanes.rstrip(), *map(clean, texts))
