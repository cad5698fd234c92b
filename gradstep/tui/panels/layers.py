"""The panel *Layers*: one row a module, with the norms by which vanishing and exploding gradients are seen."""

from __future__ import annotations

import math

from gradstep.tui.keys.in_keys import in_keys
from gradstep.tui.keys.keyboard import DEFAULT_KEYS, Keyboard
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.drawing import GUTTER, Drawing, empty, widest, window
from gradstep.tui.render.lines import Line, Row, cell_len, clean, fit_end, text_line
from gradstep.tui.render.sparks import Decades, bar, decades_of, gauge, power
from gradstep.values import numbers
from gradstep.values.views import Request
from gradstep.values.views.training import LayerRow, LayersView, LookLayers

USUAL = 1e-3
"""What an update over its weights is, roughly, where training goes well (cs231n.github.io/neural-networks-3)."""
_RATIOS = Decades(-6, 0)
_GAUGE = 13
"""Cells of the gauge: two a decade, `USUAL` in the middle."""


def draw(
    view: LayersView | None, width: int, height: int, first: int = 0, keyboard: Keyboard = DEFAULT_KEYS
) -> Drawing:
    """Draw the modules from row `first` on."""
    if view is None:
        return empty(width, height, "No model yet: its layers show here as soon as it is built.")
    if not view.rows:
        return empty(width, height, clean(view.note))
    foot = height >= 6 and width >= 24
    start, end = window(len(view.rows), first, height - 1 - foot)
    columns = _Columns(view, width)
    lines = [columns.header(), *(columns.line(row) for row in view.rows[start:end])]
    if foot:
        told = said(view, width - GUTTER - 1, keyboard)
        lines += [Line()] * (height - 1 - len(lines)) + [text_line(told, width, "dim")]
    about = f"{numbers.count(len(view.rows), 'module')} in forward order"
    return Drawing(about, lines[: max(height, 0)], len(view.rows), start, end - start)


def said(view: LayersView, room: int, keyboard: Keyboard = DEFAULT_KEYS) -> str:
    """Return what the columns are of, and what is not known yet; the longest text that fits."""
    if view.updated is None:
        texts = ["update/weight shows after the next `step`; about 1e−3 (│) is usual", "update/weight: run `step`"]
    else:
        texts = [
            f"update/weight of iteration {view.updated}; about 1e−3 (│) is usual",
            f"update of iteration {view.updated}",
        ]
    if any(row.weight is None and row.zeros is None for row in view.rows):
        texts.insert(0, f"{texts[0]}; zeros are counted from the next `forward`")
    frozen = [f"{row.path}.{name}".lstrip(".") for row in view.rows for name in row.partly]
    if frozen:
        texts.insert(0, f"{texts[0]}; frozen: {numbers.listed(frozen)}")
    texts = [in_keys(text, keyboard) for text in texts]
    return next((text for text in texts if len(text) <= room), texts[-1])


class _Columns:
    """Where each column stands: what there is no room for is left out, the bar takes what is left."""

    def __init__(self, view: LayersView, width: int) -> None:
        self.width = width
        rows = view.rows
        self.scale = decades_of([row.grad for row in rows])
        end = width - 1
        self.zeros = self.gauge = self.weight = 0
        if any(row.zeros is not None for row in rows):
            self.zeros, end = end, end - 7
        if width >= 54:
            self.gauge, end = end - _GAUGE, end - _GAUGE - 1
        self.ratio = end
        self.title = "update/weight" if width >= 66 else "upd/wgt"
        end -= widest([numbers.norm(row.ratio) for row in rows], len(self.title)) + 2
        most = max(8, width // 3)
        self.typed = max(cell_len(_name(row)) for row in rows) <= max(most, 14)
        named = GUTTER + min(max(cell_len(self.name(row)) for row in rows), max(most, 14 if self.typed else 8))
        grad = widest([numbers.norm(row.grad) for row in rows], 5)
        weight = widest([numbers.norm(row.weight) for row in rows], 6)
        self.weight = named + 1 + weight if end - named - grad - weight >= 14 else 0
        self.named = named
        self.grad = (self.weight or named) + 2 + grad
        self.bar = self.grad + 1
        self.cells = max(0, end - self.bar)

    def name(self, layer: LayerRow) -> str:
        """Return a module's name: with its class where all of them have room for it."""
        return _name(layer) if self.typed or not layer.path else clean(layer.path)

    def header(self) -> Line:
        row = Row(self.width).left(GUTTER, "module", "dim", self.named - GUTTER)
        if self.weight:
            row.right(self.weight, "weight", "dim")
        row.right(self.grad, ".grad", "dim")
        if self.scale is not None and self.cells >= 5:
            low, high = power(self.scale.low), power(self.scale.high)
            row.left(self.bar, f"▏{low}", "dim", self.cells)
            if self.cells >= len(low) + len(high) + 3:
                row.right(self.bar + self.cells, high, "dim")
        row.right(self.ratio, self.title, "dim")
        if self.gauge:
            low, high = power(_RATIOS.low), power(_RATIOS.high)
            row.left(self.gauge, low, "dim").right(self.gauge + _GAUGE, high, "dim")
        if self.zeros:
            row.right(self.zeros, "zeros", "dim")
        return row.line()

    def line(self, layer: LayerRow) -> Line:
        name = fit_end(self.name(layer), self.named - GUTTER)
        row = Row(self.width).left(GUTTER, name, "bright" if layer.selected else "text", self.named - GUTTER)
        if self.weight:
            row.right(self.weight, numbers.norm(layer.weight), _tone(layer.weight))
        grad = numbers.norm(layer.grad) or ("frozen" if layer.frozen else "none" if layer.weight is not None else "")
        row.right(self.grad, grad, _tone(layer.grad))
        row.left(self.bar, bar(layer.grad, self.scale, self.cells), "dim")
        row.right(self.ratio, numbers.norm(layer.ratio), _tone(layer.ratio))
        if self.gauge and layer.weight is not None:
            near = layer.ratio is not None and 0.1 <= layer.ratio / USUAL <= 10
            gauge(row, self.gauge, layer.ratio, _RATIOS, USUAL, _GAUGE, "good" if near else "bright")
        if self.zeros and layer.zeros is not None:
            row.right(self.zeros, percent(layer.zeros), "text")
        return row.line()


def percent(share: float) -> str:
    """Write a share as a percentage that is 0% and 100% only when it is exactly that."""
    text = f"{share:.0%}"
    if text in ("0%", "100%") and 0 < share < 1:
        return "<1%" if share < 0.5 else ">99%"
    return text


def _name(row: LayerRow) -> str:
    name = f"{row.path} {row.type}" if row.path else row.type
    return clean(f"{name} ({', '.join(row.partly)} frozen)" if row.partly else name)


def _tone(value: float | None) -> str:
    if value is None or value == 0:
        return "dim"
    return "text" if math.isfinite(value) else "odd"


class LayersPanel(Panel[LayersView]):
    """The layers, scrolled by rows."""

    title = "Layers"
    help_text = (
        "One row a module in forward order. Gradient norms that shrink or grow from row to row vanish or explode."
        " update/weight is how far the last step moved a layer: about 1e-3 (│) is usual."
    )
    shows = LayersView

    def __init__(self) -> None:
        super().__init__("layers")

    def request(self) -> Request:
        """Ask for what this panel shows."""
        return LookLayers()

    @property
    def body(self) -> int:
        """Rows for the modules: a header stands above them, and a line below."""
        return max(1, super().body - 2)

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body as it stands now."""
        return draw(self.view, width, height, self.first, self.keyboard)
