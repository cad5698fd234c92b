"""The text of Tensor besides its numbers: the subtitle, and below the numbers the statistics of the slice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from gradstep.tui.keys.keyboard import Keyboard
from gradstep.tui.panels.tensor.display import Display, dtype_of, sides_of, value_at
from gradstep.tui.panels.tensor.grid import CHANGED, grid_layout
from gradstep.tui.render import heat
from gradstep.tui.render.drawing import GUTTER
from gradstep.tui.render.lines import Line, Row, clean, fit_parts, text_line
from gradstep.values import numbers
from gradstep.values.expressions import name_line
from gradstep.values.views.tensor import Histogram, Pair, Statistics, TensorView, Window

BINS = 24
"""Bars of a histogram."""
_LEAST = 3
"""Minimum number of rows for header and numbers, whatever is below them."""
_BARS = "▁▂▃▄▅▆▇█"


# -- the title ---------------------------------------------------------------------------------------------------------
def title_words(view: TensorView) -> str:
    """Return the subtitle: the slice in torch notation, the whole shape, and which dimensions are rows and columns."""
    usual = len(view.axes) < 3 and list(view.dims) == sorted(view.dims)
    name = clean(view.name if usual else plane_line(view))
    if view.pair is not None:
        name = f"{name}: {' − '.join(_ends(view.pair)[::-1])}"
    about = f"{name}  of {numbers.shape(view.whole)}, {view.dtype}"
    if len(view.dims) == 2 and (not usual or len(view.whole) > 2):
        about += f"  ↓ dim {view.dims[0]} → dim {view.dims[1]}"
    return about


def _ends(pair: Pair) -> tuple[str, str]:
    """Return the names of the two points of a difference, each with its stop."""
    first, second = (
        clean(name) if name == f"stop {stop}" else f"{clean(name)} at stop {stop}"
        for name, stop in ((pair.first, pair.first_stop), (pair.second, pair.second_stop))
    )
    return first, second


def plane_line(view: TensorView) -> str:
    """Return the visible plane as a selection: `conv.weight[0, 2, :, :]`."""
    axes = {axis.dim: axis for axis in view.axes}
    parts = []
    for dim, index in enumerate(view.place):
        if index is not None:
            parts.append(str(index))
            continue
        axis = axes[dim]
        end = axis.index(axis.count - 1) + 1
        whole = axis.first == 0 and axis.step == 1 and end == view.whole[dim]
        parts.append(":" if whole else f"{axis.first}:{end}" + (f":{axis.step}" if axis.step > 1 else ""))
    return f"{name_line(view.path)}[{', '.join(parts)}]" if parts else name_line(view.path)


def planes_words(view: TensorView, keyboard: Keyboard) -> str:
    """Return the index of the window in the dimensions that are neither rows nor columns; empty without any."""
    others = [axis for axis in view.axes if axis.dim not in view.dims]
    if not others:
        return ""
    at = ", ".join(f"dim {axis.dim} at {view.place[axis.dim]} of {view.whole[axis.dim]:,}" for axis in others)
    back, on, turn = map(keyboard.named, ("tensor_back", "tensor_on", "tensor_dims"))
    return f"{at}: {back} {on} step, {turn} swaps dims"


# -- below the numbers -------------------------------------------------------------------------------------------------
def foot_lines(view: TensorView, width: int, height: int, display: Display) -> list[Line]:
    """Return the lines below the numbers: one, or the block of all statistics as far as `height` allows."""
    if not display.block:
        return [_line(_parts(view, width, display), width)]
    return _block(view, width, display)[: max(1, height - _LEAST)]


def _block(view: TensorView, width: int, display: Display) -> list[Line]:
    lines = [_here(view, width, display), *_table(view, width)]
    extra = [part for part in (view.note, planes_words(view, display.keyboard)) if part]
    extra += [] if display.heat else _marks(view)
    if display.heat:
        lines.append(heat.ramp(Row(width).to(GUTTER)).add("   ").add("  ".join(extra), "dim").line())
    elif extra:
        lines.append(_line(extra, width))
    return lines


def _parts(view: TensorView, width: int, display: Display) -> list[str]:
    """Return the parts of the one line, the most important first."""
    amount = math.prod(view.shape)
    known = view.statistics
    parts = [*_unseen(view, width, display), clean(view.note)]
    parts.append(planes_words(view, display.keyboard))
    these = f"all {amount:,}" if view.pair is None or view.pair.missing else "the difference"
    if amount == 1:
        parts.append("1 element")
    elif known is None:
        parts.append(f"{these}: computing …")
    else:
        parts.append(f"{these}: norm {numbers.norm(known.norm) or '·'}")
        if known.minimum is not None and known.maximum is not None:
            low, high = (numbers.single(end, view.dtype) for end in (known.minimum, known.maximum))
            parts.append(f"min {low}  max {high}")
    if known is not None:
        parts.append(_odd(known))
    if view.grad_statistics is not None and amount != 1:
        parts.append(f".grad norm {numbers.norm(view.grad_statistics.norm)}")
        if view.grad_statistics.nans or view.grad_statistics.infs:
            parts.append(f".grad {_odd(view.grad_statistics)}")
    return [part for part in (*parts, *([] if display.heat else _marks(view))) if part]


def _unseen(view: TensorView, width: int, display: Display) -> list[str]:
    """Return both values at the cursor of a difference, if there is no room for their grids."""
    if view.pair is None or len(grid_layout(view, width).sides) == len(sides_of(view)) or display.spot is None:
        return []
    i, j = display.spot[0] - view.top, display.spot[1] - view.left if view.kind == "matrix" else 0
    values = [value_at(side.window, i, j) for side in sides_of(view)[:2]]
    form = numbers.form_of(values, view.dtype)
    return [" and ".join(numbers.signed(value, form) for value in values)]


def _odd(known: Statistics) -> str:
    return f"{known.nans:,} NaN, {known.infs:,} inf" if known.nans or known.infs else "no NaN, no inf"


def _marks(view: TensorView) -> list[str]:
    sides: Iterable[Window | None] = (view.value, view.grad)
    if view.pair is not None:
        return []
    marked = view.grad_gone or any(any(map(any, side.changed)) for side in sides if side is not None)
    return [f"{CHANGED} changed"] if marked else []


def _line(parts: Sequence[str], width: int) -> Line:
    return text_line(fit_parts(parts, width - GUTTER - 1), width, "dim")


def _here(view: TensorView, width: int, display: Display) -> Line:
    """Return the row on the element under the cursor."""
    row = Row(width).to(GUTTER)
    if display.spot is None:
        return row.line()
    i, j = display.spot[0] - view.top, display.spot[1] - view.left if view.kind == "matrix" else 0
    row.add("▶ ", "now")
    if view.pair is not None:
        return _here_between(view, row, i, j)
    for name, window in ((own_name_of(view), view.value), (".grad", view.grad)):
        values = None if window is None else window.now or window.values
        if values is None or not (0 <= i < len(values) and 0 <= j < len(values[i])):
            continue
        assert window is not None
        now = values[i][j]
        row.add(f"{name} ", "dim").add(numbers.single(now, view.dtype, 5), numbers.tone_of(now))
        if window.before is not None and window.changed and window.changed[i][j]:
            old = window.before[i][j]
            change = now - old
            row.add("  was ", "dim").add(numbers.single(old, view.dtype, 5), "text")
            row.add("  change ", "dim").add(numbers.single(change, view.dtype, 5), "text")
            if old and math.isfinite(change / old):
                row.add(f"  {numbers.single(change / old, digits=3)} relative", "dim")
        row.add("    ")
    return row.line()


def _here_between(view: TensorView, row: Row, i: int, j: int) -> Line:
    """Return the element under the cursor on both sides, and the difference."""
    for side in sides_of(view):
        row.add(f"{side.name} ", "dim")
        if side.window is None:
            row.add(side.instead, "dim")
        else:
            value = value_at(side.window, i, j)
            row.add(numbers.single(value, dtype_of(view), 5), numbers.tone_of(value))
        row.add("    ")
    return row.line()


def own_name_of(view: TensorView) -> str:
    """Return the last part of the tensor's name."""
    return clean(view.path.rsplit(".", 1)[-1]) or "value"


# -- statistics --------------------------------------------------------------------------------------------------------
class _Figure(NamedTuple):
    """A column of the table of statistics; rank 1 is the most important."""

    title: str
    width: int
    rank: int


_FIGURES = (
    _Figure("min", 11, 2),
    _Figure("max", 11, 3),
    _Figure("mean", 11, 6),
    _Figure("std", 11, 5),
    _Figure("norm", 10, 1),
    _Figure("zeros", 13, 7),
    _Figure("NaN", 8, 4),
    _Figure("inf", 8, 4),
)
"""Each as wide as any number in it can be, so that columns don't move."""


def _table(view: TensorView, width: int) -> list[Line]:
    """Return a row of statistics for each side, and the histograms beside or below them."""
    there = [(side.name, side.known) for side in sides_of(view) if side.known is not None]
    if not there:
        return [text_line(f"all {math.prod(view.shape):,}: computing …", width, "dim")]
    amount = f"of {math.prod(view.shape):,}" if width >= 60 else ""
    label = max(len(amount), 6, *(len(name) for name, _ in there)) + 1
    figures = list(_FIGURES)
    while len(figures) > 1 and GUTTER + label + sum(figure.width for figure in figures) >= width:
        figures.remove(max(figures, key=lambda figure: figure.rank))
    used = GUTTER + label + sum(figure.width for figure in figures)
    beside = width - used > BINS + 24
    head = Row(width).left(GUTTER, amount, "dim")
    ends: list[int] = []
    for figure in figures:
        ends.append(ends[-1] + figure.width if ends else GUTTER + label + figure.width)
        head.right(ends[-1], figure.title, "dim")
    lines = []
    if beside:
        _histogram_title(head.to(used + 3), there)
    lines.append(head.line())
    for name, known in there:
        row = Row(width).left(GUTTER, name, "dim")
        for figure, end in zip(figures, ends, strict=True):
            text, tone = _figure(figure.title, known, view.dtype)
            row.right(end, text, tone)
        lines.append((_histogram(row.to(used + 3), known.histogram) if beside else row).line())
    if not beside:
        lines += [
            _histogram(Row(width).left(GUTTER, name, "dim").to(GUTTER + label), known.histogram).line()
            for name, known in there
            if known.histogram is not None
        ]
    return lines


def _figure(title: str, known: Statistics, dtype: str) -> tuple[str, str]:
    """Return a statistic as text, and its tone."""
    counts = {"zeros": known.zeros, "NaN": known.nans, "inf": known.infs}
    if title in counts:
        return f"{counts[title]:,}", "odd" if counts[title] and title != "zeros" else "dim"
    if title == "norm":
        odd = known.norm is not None and not math.isfinite(known.norm)
        return numbers.norm(known.norm) or "·", "odd" if odd else "text"
    value = {"min": known.minimum, "max": known.maximum, "mean": known.mean, "std": known.std}[title]
    text = numbers.single(value, "" if title in ("mean", "std") else dtype, plus=title != "std")
    tone = numbers.tone_of(value)
    return text, "text" if title == "std" and tone != "odd" else tone


def _histogram_title(row: Row, there: Sequence[tuple[str, Statistics]]) -> Row:
    every = max((known.histogram.every for _, known in there if known.histogram is not None), default=1)
    return row.add("histogram" + (f", 1 in {every:,} sampled" if every > 1 else ""), "dim")


def _histogram(row: Row, made: Histogram | None) -> Row:
    """Append the bars of the bins between the ends of the range, coloured by sign."""
    if made is None:
        return row
    row.add(f"{numbers.single(made.low):>10} ", "dim")
    counts = made.counts
    if row.width - row.at < len(counts) + 11 and not len(counts) % 2:
        counts = tuple(a + b for a, b in zip(counts[::2], counts[1::2], strict=True))
    most = max(counts)
    step = (made.high - made.low) / len(counts)
    for i, count in enumerate(counts):
        middle = made.low + (i + 0.5) * step
        bar = _BARS[min(7, count * 8 // (most + 1))] if count else " "
        row.add(bar, "negative" if middle < 0 else "positive")
    return row.add(f" {numbers.single(made.high)}", "dim")
