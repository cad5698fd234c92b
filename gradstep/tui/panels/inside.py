"""The panel *Inside*: inputs and outputs of the module, op or node that a phase is stopped at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gradstep.tui.panels.actions import Actions
from gradstep.tui.panels.bars.position import flowing_side, place_words
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.drawing import GUTTER, Drawing, cursor, empty, paragraph, widest, window
from gradstep.tui.render.lines import Line, Row, clean, fit, text_line
from gradstep.values import numbers
from gradstep.values.views import Request
from gradstep.values.views.inside import InsideView, LookInside, Passed

_GAP = 2


def draw(view: InsideView | None, width: int, height: int, first: int = 0, at: int = -1) -> Drawing:
    """Draw the tensors from row `first` on, the cursor on row `at`; below them other facts."""
    if view is None or (view.position is None and not (view.inputs or view.outputs)):
        note = clean(view.note) if view is not None else "Nothing is loaded yet."
        return empty(width, height, note, about=_module(view) if view is not None else "")
    rows = rows_of(view)
    said = _facts(view, width)
    facts = said[: max(0, height - 2 - min(len(rows), 4))]
    room = max(1, height - 1 - len(facts))
    start, end = window(len(rows), first, room)
    position = view.position
    columns = _Columns(rows[start:end], width, position is not None and position.kind != "node")
    lines = [columns.header("passed" if position is not None else "in the last backward")]
    lines += [columns.line(rows[i], i == at, rows[i] in view.outputs) for i in range(start, end)]
    about = place_words(position) if position is not None else _module(view)
    shown = [*lines, *facts][: max(height, 0)]
    return Drawing(about, shown, len(rows), start, end - start, cut=len(said) - len(facts))


def rows_of(view: InsideView) -> tuple[Passed, ...]:
    """Return the tensors in the order they are passed; after a backward, the gradients of outputs come first."""
    return (*view.inputs, *view.outputs) if view.position is not None else (*view.outputs, *view.inputs)


def _module(view: InsideView) -> str:
    return clean(f"{view.module} {view.call}/{view.calls}" if view.call else view.module)


def _facts(view: InsideView, width: int) -> list[Line]:
    """Return the parameters used, the modes, and why an output does not require grad."""
    position = view.position
    if position is None:
        return [line for text in (view.note, _KEPT) if text for line in paragraph(clean(text), width, "dim")]
    texts = []
    if view.parameters:
        verb = "adds to" if position.kind == "node" else "uses"
        names = ", ".join(view.parameters[:6]) + (" and others" if len(view.parameters) > 6 else "")
        texts.append((f"{verb}: {names}" + (" .grad" if position.kind == "node" else ""), "text"))
    refused: dict[str, list[str]] = {}
    for row in view.outputs:
        if row.why_not:
            refused.setdefault(row.why_not, []).append(row.name)
    for why, (first, *others) in refused.items():
        who = f"{first} and {numbers.count(len(others), 'other')} do" if others else f"{first} does"
        texts.append((f"{who} not require grad: {why}", "bright"))
    if position.kind != "node":
        grad = "on" if view.grad_mode else "off: no graph is recorded"
        texts.append((f"grad mode {grad}; autocast {view.autocast or 'off'}", "dim"))
    texts += [(text, "bright") for text in view.edits]
    if view.note:
        texts.append((view.note, "dim"))
    return [line for text, tone in texts for line in paragraph(clean(text), width, tone)]


def describe(row: Passed, room: int) -> str:
    """Return a line on a tensor with everything that may have no column; at most `room` cells."""
    if row.text:
        return fit(clean(f"{row.name}: {row.text}"), room)
    parts = [row.name, row.place, row.dtype]
    parts += [f"{name} {text}" for name, write in _STATISTICS.items() if (text := write(row))]
    parts += [f"{row.zeros:,} zeros"] if row.zeros else []
    return fit(clean("  ".join(filter(None, parts))), room)


def _written(value: float | None, dtype: str = "", plus: bool = True) -> str:
    return "" if value is None else numbers.single(value, dtype, plus=plus)


_STATISTICS: dict[str, Callable[[Passed], str]] = {
    "min": lambda row: _written(row.minimum, row.dtype),
    "max": lambda row: _written(row.maximum, row.dtype),
    "mean": lambda row: _written(row.mean),
    "std": lambda row: _written(row.std, plus=False),
}


class _Columns:
    """The columns that fit: name and shape first, then those of `_ORDER`."""

    _ORDER = ("norm", "grad", "min", "max", "mean", "std", "zeros", "dtype")

    def __init__(self, rows: Sequence[Passed], width: int, forward: bool) -> None:
        self.width = width
        self._texts: dict[str, Callable[[Passed], str]] = {
            "norm": lambda row: numbers.norm(row.norm),
            "grad": lambda row: "" if row.text else "yes" if row.requires_grad else "no",
            **_STATISTICS,
            "zeros": lambda row: "" if row.zeros is None else f"{row.zeros:,}",
            "dtype": lambda row: clean(row.dtype),
        }
        names = widest([_label(row) for row in rows], 6)
        shapes = widest([numbers.shape(row.shape) for row in rows if not row.text], 5)
        at = self.shape = min(GUTTER + names + _GAP + shapes, width - 1)
        self.names = max(0, self.shape - shapes - 1 - GUTTER)
        self.ends: dict[str, int] = {}
        for name in self._ORDER:
            if name == "grad" and not forward:
                continue  # in a backward all of them agree
            cells = widest([self._texts[name](row) for row in rows], len(_HEADS.get(name, name)))
            if at + _GAP + cells > width - 1:
                break
            at = self.ends[name] = at + _GAP + cells

    def header(self, name: str) -> Line:
        row = Row(self.width).left(GUTTER, name, "dim", self.names).right(self.shape, "shape", "dim")
        for name, end in self.ends.items():
            row.right(end, _HEADS.get(name, name), "dim")
        return row.line()

    def line(self, row: Passed, here: bool, leaves: bool) -> Line:
        drawn = cursor(Row(self.width, here), here)
        drawn.left(GUTTER, _label(row), "bright" if leaves or here else "text", self.names if not row.text else None)
        if row.text:
            return drawn.add("  ").add(clean(row.text), "dim").line()
        drawn.right(self.shape, numbers.shape(row.shape), "dim")
        odd = bool(row.nans or row.infs)
        for name, end in self.ends.items():
            tone = {"min": numbers.tone_of(row.minimum), "max": numbers.tone_of(row.maximum)}.get(name, "text")
            tone = numbers.tone_of(row.mean) if name == "mean" else tone
            bad = odd and name in ("norm", "min", "max", "mean", "std")
            drawn.right(end, self._texts[name](row), "odd" if bad and name == "norm" else tone)
        return drawn.line()


_KEPT = (
    "What retain_grad() would leave in .grad of these activations; for an input that is used elsewhere too, it is the "
    "gradient of all its uses."
)
_HEADS = {"grad": "needs grad"}
"""Titles of columns that differ from the name."""


def _label(row: Passed) -> str:
    """Return the label of a tensor; of a gradient with its node, without the module."""
    return clean(f"{row.name}  {row.place.partition(' of ')[0]}" if row.place else row.name)


class InsidePanel(Panel[InsideView]):
    """Inputs and outputs, with a cursor."""

    title = "Inside"
    help_text = (
        "At a stop inside a phase: the inputs and outputs of the module, op or node, with norm, min, max, mean, "
        "std and zeros; whether they require grad, and if not, why; and the parameters that it uses. {choose} "
        "opens the tensor under the cursor in Tensor. After a complete backward: the gradients of the outputs and "
        "inputs of the module under the cursor of Model, for which that backward is run once more."
    )
    shows = InsideView

    def __init__(self) -> None:
        super().__init__("inside")
        self.at = 0
        self.number: int | None = None
        """Between phases, a node of the module call that it is about."""
        self.path = ""
        """Between phases, the module that it is about."""

    def press(self, key: str, actions: Actions) -> bool:
        """Show the tensor under the cursor, or edit the gradient at the node."""
        position = actions.stop.position
        if key == "choose" and self.chosen:
            actions.show(self.chosen)
        elif key == "edit" and position is not None and position.kind == "node":
            side = flowing_side(position)
            actions.edit(f"set {self.chosen if self.chosen.startswith(side) else side} = ")
        else:
            return False
        return True

    def request(self) -> Request:
        """Return the request for inputs and outputs."""
        return LookInside(self.number, self.path)

    def update(self, view: InsideView, before: InsideView | None) -> None:
        """Start at the first tensor of another position."""
        if before is None or (before.position, _module(before)) != (view.position, _module(view)):
            self.at = self.first = 0

    @property
    def tensors(self) -> tuple[Passed, ...]:
        """The tensors in the order shown."""
        return () if self.view is None else rows_of(self.view)

    @property
    def chosen(self) -> str:
        """The tensor under the cursor as an expression; empty for none."""
        rows = self.tensors if self.view is not None and self.view.position is not None else ()
        return rows[self.at].name if 0 <= self.at < len(rows) and not rows[self.at].text else ""

    @property
    def cache_key(self) -> object:
        """The cursor position, and what else the drawing depends on besides the view."""
        return self.at

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body, with a line on the tensor under the cursor."""
        rows = self.tensors
        foot = height >= 7 and 0 <= self.at < len(rows)
        drawing = draw(self.view, width, height - foot, self.first, self.at)
        if not foot:
            return drawing
        lines = drawing.lines + [Line()] * (height - 1 - len(drawing.lines))
        lines.append(text_line(describe(rows[self.at], width - GUTTER - 1), width, "dim"))
        return drawing._replace(lines=lines)

    def move(self, rows: int) -> None:
        """Move the cursor."""
        self.at = max(0, min(self.at + rows, len(self.tensors) - 1))
        seen = max(1, self.body - 4)
        self.first = max(min(self.first, self.at), self.at - seen + 1, 0)

    def click_row(self, row: int) -> None:
        """Move the cursor to the row."""
        if 0 <= row - 1 + self.first < len(self.tensors):
            self.at = row - 1 + self.first
