"""The text of the panel *Jᵀ v* below its grids: the inputs, the structure of J, saved tensors, and the chain."""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradstep.tui.render.drawing import GUTTER, cursor, widest
from gradstep.tui.render.lines import Line, Row, clean, fit, text_line
from gradstep.values import numbers
from gradstep.values.views.node import EdgeRow, Link, NodeView, SavedRow

_LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_BAR = 18
"""Maximum length of a bar of the chain, in cells."""
_LEAST = 10
"""Cells of a link's name below which the sizes of the Jacobians are left out."""


# -- the inputs --------------------------------------------------------------------------------------------------------
def edge_lines(view: NodeView, width: int, at: int) -> list[Line]:
    """Return a row per input: symbol, formula, where Jᵀv goes, its norm, and the ratio to the norm of v."""
    symbols = [clean(edge.symbol) or f"input {edge.edge}" for edge in view.edges]
    formulas = [clean(edge.formula) for edge in view.edges]
    names = [goes(edge, width // 2) for edge in view.edges]
    norms = [numbers.norm(edge.leaves.norm) if edge.leaves is not None else "" for edge in view.edges]
    ratios = [f"×{numbers.norm(edge.ratio)}" if edge.ratio is not None else "" for edge in view.edges]
    formula = GUTTER + widest(symbols) + 2
    target = formula + (min(widest(formulas), max(10, width // 4)) + 2 if any(formulas) and width >= 60 else 0)
    ends = widest(ratios) + 2 + widest(norms)
    room = max(8, width - 1 - ends - 2 - target)
    right = min(width - 1, target + min(widest(names), room) + 2 + ends)
    lines = []
    for i, edge in enumerate(view.edges):
        here = edge.edge == at and len(view.edges) > 1
        row = cursor(Row(width, here), here).left(GUTTER, symbols[i], "bright" if edge.number >= 0 else "dim")
        if target > formula:
            row.left(formula, formulas[i], "code" if edge.number >= 0 else "dim", target - formula - 1)
        row.left(target, fit(names[i], room), "text" if edge.leaves is not None else "dim")
        row.right(right - widest(ratios) - 2, norms[i], "text").right(right, ratios[i], "dim")
        lines.append(row.line())
    return lines


def goes(edge: EdgeRow, room: int) -> str:
    """Return where Jᵀv goes and what happens to it on the way, as much as fits."""
    if edge.number < 0:
        return clean(edge.note) or "not passed on"
    words = f"→ {clean(edge.operation)}"
    more = [f" {numbers.shape(edge.shape)}"]
    if edge.leaves is None and edge.note:
        more = [f": {clean(edge.note)}"]
    if edge.summed:
        more.append(", summed over dim " + ", ".join(map(str, edge.summed)))
    if edge.meets:
        more.append(f", meets {numbers.count(edge.meets, 'other')}")
    for part in more:
        words += part if len(words + part) <= room else ""
    return words


# -- J and what was saved ----------------------------------------------------------------------------------------------
def facts(view: NodeView) -> Iterator[tuple[str, str]]:
    """Yield further facts, each with its tone."""
    matrix = view.matrix
    if matrix is not None:
        if matrix.check:
            tone = "bad" if matrix.agrees is False else "good" if matrix.agrees else "dim"
            yield from ((clean(line), tone) for line in matrix.check.split("\n"))
        if matrix.words and matrix.words != matrix.structure:
            yield f"J: {clean(matrix.words)}", "text"
        elif matrix.structure == "diagonal" and (matrix.zeros or matrix.ones):
            ones = f"{matrix.ones:,} ones, " if matrix.ones else ""
            yield f"J: diagonal, {ones}{matrix.zeros:,} zeros of {matrix.rows:,}", "text"
        if matrix.note:
            yield f"J: {clean(matrix.note)}", "dim"
    for row in view.saved:
        yield f"saved: {_saved(row)}", "bad" if row.state == "written" else "dim"
    if view.note:
        yield clean(view.note), "dim"


def _saved(row: SavedRow) -> str:
    symbol = f" ({clean(row.symbol)})" if row.symbol else ""
    name = f"{clean(row.name)}{symbol}"
    match row.state:
        case "freed":
            return f"{name}, freed by a backward"
        case "hooked":
            return f"{name}, packed by a hook: looking would unpack it"
    words = f"{name} {numbers.shape(row.shape)} {clean(row.dtype)}, "
    words += f"it is {clean(row.owner)}" if row.owner else numbers.size(row.bytes)
    if row.state == "written":
        words += f", OVERWRITTEN since: version {row.version_then}, now {row.version_now}"
    return words


# -- the chain ---------------------------------------------------------------------------------------------------------
def chain_lines(view: NodeView, width: int) -> list[Line]:
    """Return the chain from the loss to the node: the product of Jacobians, and a row for each."""
    chain = view.chain
    if len(chain.links) < 2:
        return []
    lines = [_product_line(view, width)]
    if chain.ways > 1:
        ways = "a million paths or more" if chain.ways >= 1_000_000 else f"{chain.ways:,} paths"
        lines.append(text_line(f"the shortest of {ways}: the gradients of all paths are added", width, "dim"))
    norms = ["" if link.norm is None else numbers.norm(link.norm) for link in chain.links]
    sizes, ends = widest([_size(link) for link in chain.links]), max(8, widest(norms)) + 2
    room = width - 1 - GUTTER - 2 - sizes - ends
    if room < _LEAST:
        sizes, room = 0, width - 1 - GUTTER - ends
    names = max(_LEAST, min(widest([_link_name(link) for link in chain.links]), room))
    end = GUTTER + names + (2 + sizes if sizes else 0)
    greatest = max((link.norm for link in chain.links if link.norm is not None and math.isfinite(link.norm)), default=0)
    for i, link in enumerate(chain.links):
        if i == 1 and chain.skipped:
            lines.append(text_line(f"… {numbers.count(chain.skipped, 'node')} …", width, "dim"))
        here = link.number == view.number
        row = cursor(Row(width), here).left(GUTTER, _link_name(link), "bright" if here else "text", names)
        if sizes:
            row.right(end, _size(link), "dim")
        if link.norm is not None:
            row.right(end + ends, norms[i], "text")
            cells = round(link.norm / greatest * _BAR) if greatest and math.isfinite(link.norm) else 0
            if end + ends + 2 + _BAR < width:
                row.left(end + ends + 2, "━" * cells, "now" if here else "line")
        lines.append(row.line())
    return lines


def _product_line(view: NodeView, width: int) -> Line:
    """Return v as a product, and the meaning of its initial factor."""
    row = Row(width).left(GUTTER, _product(view, width - GUTTER - 1), "code")
    one = f"   v₀ = what {clean(view.call).removeprefix('torch.')} started from" if view.call else "   1 = ∂loss/∂loss"
    return (row.add(one, "dim") if row.at + len(one) < width else row).line()


def _link_name(link: Link) -> str:
    return f"#{link.number} {clean(link.operation)}"


def _size(link: Link) -> str:
    """Write the size of a Jacobian of the chain; of v at its end."""
    if not link.columns:
        return "v " + numbers.shape(link.shape)
    return f"J {math.prod(link.shape)}×{link.columns}"


def _product(view: NodeView, room: int) -> str:
    """Write v as a product of transposed Jacobians with the numbers of their nodes, as many as fit."""
    links = view.chain.links[:-1]
    parts = [f"J{str(link.number).translate(_LOWERED)}ᵀ" for link in reversed(links)]
    began = "v₀" if view.call else "1"
    text = "v = " + " ".join([*parts, began])
    while (len(text) > room or view.chain.skipped) and len(parts) > 2:
        parts = [*parts[:-2], parts[-1]]
        text = "v = " + " ".join([*parts[:-1], "…", parts[-1], began])
        if len(text) <= room:
            break
    return text
