"""The panel *Layers*: the norms that reveal vanishing and exploding gradients, one row per module."""

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

TYPICAL = 1e-3
"""The typical ratio of update to weight norm in healthy training (cs231n.github.io/neural-networks-3)."""
_RATIOS = Decades(-6, 0)
_GAUGE = 13
"""Width of the gauge: two cells per decade, `TYPICAL` in the middle."""


def draw(
    view: LayersView | None, width: int, height: int, first: int = 0, keyboard: Keyboard = DEFAULT_KEYS
) -> Drawing:
    """Draw the modules from row `first` on."""
    if view is None:
        return empty(width, height, "No layers yet: they appear once the model is built.")
    if not view.rows:
        return empty(width, height, clean(view.note))
    foot = height >= 6 and width >= 24
    start, end = window(len(view.rows), first, height - 1 - foot)
    columns = _Columns(view, width)
    lines = [columns.header(), *(columns.line(row) for row in view.rows[start:end])]
    if foot:
        text = note(view, width - GUTTER - 1, keyboard)
        lines += [Line()] * (height - 1 - len(lines)) + [text_line(text, width, "dim")]
    about = f"{numbers.count(len(view.rows), 'module')} in forward order"
    return Drawing(about, lines[: max(height, 0)], len(view.rows), start, end - start)


def note(view: LayersView, room: int, keyboard: Keyboard = DEFAULT_KEYS) -> str:
    """Return a note on the columns and on what is not known yet; the longest that fits."""
    if view.updated is None:
        texts = ["update/weight appears after the next `step`; about 1e−3 (│) is typical", "update/weight: run `step`"]
    else:
        texts = [
            f"update/weight of iteration {view.updated}; about 1e−3 (│) is typical",
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
    """The positions of the columns that fit; the bar takes the remaining width."""

    def __init__(self, view: LayersView, width: int) -> None:
        self.width, self.due = width, view.due
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
        self.with_class = max(cell_len(_name(row)) for row in rows) <= max(most, 14)
        named = GUTTER + min(max(cell_len(self.name(row)) for row in rows), max(most, 14 if self.with_class else 8))
        grad = widest([numbers.norm(row.grad) for row in rows], 5)
        weight = widest([numbers.norm(row.weight) for row in rows], 6)
        self.weight = named + 1 + weight if end - named - grad - weight >= 14 else 0
        self.named = named
        self.grad = (self.weight or named) + 2 + grad
        self.bar = self.grad + 1
        self.cells = max(0, end - self.bar)

    def name(self, layer: LayerRow) -> str:
        """Return the name of a module, with its class if that fits for all of them."""
        return _name(layer) if self.with_class or not layer.path else clean(layer.path)

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
        ratio = "…" if self.due and layer.ratio is None and layer.weight is not None else numbers.norm(layer.ratio)
        row.right(self.ratio, ratio, _tone(layer.ratio))
        if self.gauge and layer.weight is not None:
            near = layer.ratio is not None and 0.1 <= layer.ratio / TYPICAL <= 10
            gauge(row, self.gauge, layer.ratio, _RATIOS, TYPICAL, _GAUGE, "good" if near else "bright")
        if self.zeros and layer.zeros is not None:
            row.right(self.zeros, percent(layer.zeros), "text")
        return row.line()


def percent(share: float) -> str:
    """Return a percentage that is 0% or 100% only if exact."""
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
    """The layers; without a cursor."""

    title = "Layers"
    help_text = (
        "One row per module, in forward order. Gradient norms that shrink or grow from row to row are vanishing "
        "or exploding. update/weight is the norm of the last update over the norm of the weights: about 1e-3 (│) "
        "is typical."
    )
    shows = LayersView

    def __init__(self) -> None:
        super().__init__("layers")

    def request(self) -> Request:
        """Return the request for its view."""
        return LookLayers(hurry=True)

    @property
    def due(self) -> bool:
        """True until the update of a large model is measured."""
        return self.view is not None and self.view.due

    @property
    def body(self) -> int:
        """Rows for modules, without the header and the note."""
        return max(1, super().body - 2)

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        return draw(self.view, width, height, self.first, self.keyboard)
