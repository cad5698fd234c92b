"""A row or column of J in the panel *Jᵀ v*: its indices, a heat strip, and its largest elements."""

from __future__ import annotations

from gradstep.tui.panels.jtv.grids import seen_edge
from gradstep.tui.render import heat
from gradstep.tui.render.drawing import GUTTER, paragraph
from gradstep.tui.render.lines import Line, Row, clean
from gradstep.values import numbers
from gradstep.values.views.node import NodeView, Strip


def strip_lines(view: NodeView, width: int) -> list[Line]:
    """Return the rows for the requested row or column of J; none if none was requested."""
    strip = view.matrix.strip if view.matrix is not None else None
    if strip is None:
        return []
    lines = paragraph(_what(view, strip), width, "bright")
    if strip.note:
        return [*lines, *paragraph(clean(strip.note), width)]
    if strip.window:
        lines += [_heat(strip, width), *paragraph(_greatest(strip, width), width)[:2]]
    some = "all 0" if not strip.nonzero else f"{strip.nonzero:,} of {strip.count:,} nonzero"
    left_out = ", and only those are drawn" if strip.sparse else ""
    return [*lines, *paragraph(f"{some}{left_out}; norm {numbers.norm(strip.norm)}; {clean(strip.how)}", width, "dim")]


def _what(view: NodeView, strip: Strip) -> str:
    """Return which row or column it is, as partial derivatives."""
    edge = seen_edge(view)
    name = clean(edge.symbol) if edge is not None and edge.symbol else "input"
    output = "y" if view.forward.startswith("y ") else "output"
    if strip.number < 0:
        return f"{strip.direction} of J"
    index, matrix = index_words(strip.index), view.matrix
    size = f" of J {matrix.rows:,}×{matrix.columns:,}" if matrix is not None else " of J"
    ends = (f"{output}{index}", f"each of {name} {numbers.shape(strip.shape)}")
    if strip.direction == "column":
        ends = (f"each of {output} {numbers.shape(strip.shape)}", f"{name}{index}")
    return f"{strip.direction} {strip.number:,}{size}: ∂ {ends[0]} / ∂ {ends[1]}"


def index_words(index: tuple[int, ...]) -> str:
    """Write an index: `[3, 17]`; empty for a scalar."""
    return f"[{', '.join(map(str, index))}]" if index else ""


def _heat(strip: Strip, width: int) -> Line:
    """Draw the elements that fit, between the indices of the first and the last."""
    row = Row(width).left(GUTTER, index_words(strip.ends[0]) + " ", "dim")
    last = index_words(strip.ends[1])
    shown = strip.window[: max(1, (width - 1 - row.at - len(last) - 3) // heat.CELL)]
    scale = max((abs(value) for value in strip.window if value - value == 0), default=0.0)
    for value in shown:
        for text, tone in heat.cell(value, scale):
            row.add(text, tone)
    return row.add(f" {last}" if len(shown) == len(strip.window) else " …", "dim").line()


def _greatest(strip: Strip, width: int) -> str:
    """Return the elements with the largest magnitudes, as many as fit."""
    form = numbers.form_of([value for _, value in strip.greatest])
    text = "largest:"
    for index, value in strip.greatest:
        more = f" {index_words(index)} {numbers.signed(value, form)} "
        if len(text) + len(more) > width - GUTTER - 1:
            break
        text += more
    return text.rstrip() if strip.greatest else "every element is 0"
