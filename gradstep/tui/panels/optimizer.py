"""The panel *Optimizer*: parameter groups, hyperparameters, learning rates, and state of the selected parameter."""

from __future__ import annotations

from typing import NamedTuple

from gradstep.tui.panels.actions import Actions
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.copying import Copied
from gradstep.tui.render.drawing import GUTTER, Drawing, empty, widest, window
from gradstep.tui.render.lines import Line, Row, Span, clean, wrap
from gradstep.tui.render.sparks import merged, spark, stretch
from gradstep.values import numbers
from gradstep.values.views import Request
from gradstep.values.views.training import GroupRow, LookOptimizer, OptimizerView, SlotRow, other_line

_SPARK = 32
"""Maximum width of the history of the learning rate, in cells."""


class OptimizerRow(NamedTuple):
    """A row of the panel, and the expression of the tensor that it is about; empty for none."""

    line: Line
    shows: str = ""


def draw(view: OptimizerView | None, width: int, height: int, first: int = 0, at: int = -1) -> Drawing:
    """Draw the panel from its row `first` on, the cursor on row `at` (-1: none)."""
    if view is None:
        return empty(width, height, "No optimizer yet: it appears once it is built.")
    rows = entries(view, width)
    start, end = window(len(rows), first, height)
    lines = [_marked(rows[i].line) if i == at else rows[i].line for i in range(start, end)]
    groups = f", {numbers.count(len(view.groups), 'group')}" if view.groups else ""
    return Drawing(f"{clean(view.name)}{groups}", lines, len(rows), start, end - start)


def entries(view: OptimizerView, width: int) -> list[OptimizerRow]:
    """Return every row."""
    rows: list[OptimizerRow] = []
    if view.missing:
        rows += _words(f"✗ in no parameter group, so no step updates it: {_listed(view.missing)}", width, "bad")
    if view.twice:
        rows += _words(
            f"✗ in the parameter groups twice, so a step updates it twice: {_listed(view.twice)}", width, "bad"
        )
    if view.schedulers:
        when = {"step": " after every step", "epoch": " at the end of every epoch"}.get(view.schedule, "")
        rows += _words(f"{', '.join(view.schedulers)} updates lr{when}", width, "dim")
    for group in view.groups:
        rows += _group(group, width, len(view.groups) > 1)
    rows.append(OptimizerRow(Row(width).line()))
    if view.path:
        rows.append(OptimizerRow(Row(width).left(GUTTER, f"state of {clean(view.path)}", "bright").line()))
    rows += _words(view.note, width, "dim") if view.note else []
    rows += _slots(view.slots, width)
    for other in view.others:
        rows += _words(other_line(other), width, "dim")
    return rows


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6]) + (f", … {len(names):,} in all" if len(names) > 6 else "")


def _group(group: GroupRow, width: int, several: bool) -> list[OptimizerRow]:
    parts = f"{numbers.count(group.parameters, 'tensor')}, {group.elements:,} elements"
    head = (
        Row(width).left(GUTTER, f"group {group.number}" if several else "parameters", "bright").add(f"  {parts}", "dim")
    )
    if group.selected and several:
        head.add("  has the selected parameter", "dim")
    rows = [OptimizerRow(head.line())]
    if group.rate is not None:
        row = Row(width).left(GUTTER + 2, "lr ", "dim").add(numbers.short(group.rate), "bright")
        history = [point.rate for point in group.rates]
        if len(set(history)) > 1 and width - row.at > 12:
            cells = min(_SPARK, len(history), width - row.at - 4)
            row.add("  ")
            for text, tone in merged(spark(stretch(history, cells))):
                row.add(text, tone)
            ends = f"  {numbers.short(min(history))} to {numbers.short(max(history))}"
            if row.at + len(ends) < width:
                row.add(ends, "dim")
        rows.append(OptimizerRow(row.line()))
    return rows + _hyper(group, width)


def _hyper(group: GroupRow, width: int) -> list[OptimizerRow]:
    """Return the hyperparameters as rows, wrapped between them."""
    rows: list[OptimizerRow] = []
    row = Row(width).to(GUTTER + 2)
    for key, value in group.hyper:
        name, text = clean(key), clean(value).replace("-", numbers.MINUS)
        if row.at > GUTTER + 2 and row.at + len(name) + len(text) + 3 > width:
            rows.append(OptimizerRow(row.line()))
            row = Row(width).to(GUTTER + 2)
        row.add(f"{name} ", "dim").add(text).add("  ")
    return [*rows, OptimizerRow(row.line())] if group.hyper else rows


def _slots(slots: tuple[SlotRow, ...], width: int) -> list[OptimizerRow]:
    shapes = [numbers.shape(slot.shape) if slot.dtype and not slot.text else "" for slot in slots]
    names = min(widest([slot.key for slot in slots]), max(8, width // 3))
    shape = GUTTER + 2 + names + 2 + widest(shapes)
    rows = []
    for slot, size in zip(slots, shapes, strict=True):
        row = Row(width).left(GUTTER + 2, clean(slot.key), "bright" if slot.selected else "text", names)
        if slot.text:
            row.left(GUTTER + names + 4, clean(slot.text))
        else:
            row.right(shape, size, "dim").left(shape + 2, "norm ", "dim")
            row.add(numbers.norm(slot.norm) or "none", "text" if numbers.tone_of(slot.norm) != "odd" else "odd")
            if row.at + len(slot.dtype) + 2 < width:
                row.add(f"  {slot.dtype}", "dim")
        rows.append(OptimizerRow(row.line(), slot.name if slot.dtype else ""))
    return rows


def _words(text: str, width: int, tone: str) -> list[OptimizerRow]:
    return [
        OptimizerRow(Row(width).left(GUTTER, part, tone).line())
        for part in wrap(clean(text), max(1, width - GUTTER - 1))
    ]


def _marked(line: Line) -> Line:
    """Return a row with the mark of the cursor; every row begins with blanks."""
    first, *rest = line.spans or (Span(" "),)
    return Line((Span("▶", "now"), Span(first.text[1:], first.tone), *rest), here=True)


class OptimizerPanel(Panel[OptimizerView]):
    """The optimizer, with a cursor on a row."""

    title = "Optimizer"
    help_text = "The parameter groups with their hyperparameters, and the optimizer's state for the selected parameter."
    shows = OptimizerView

    def __init__(self) -> None:
        super().__init__("optimizer")
        self.at = -1

    def press(self, key: str, actions: Actions) -> bool:
        """Show the state tensor under the cursor, or edit the learning rate."""
        if key == "choose" and self.chosen:
            actions.show(self.chosen)
        elif key == "edit":
            actions.edit("set lr = ")
        else:
            return False
        return True

    def request(self) -> Request:
        """Return the request for its view."""
        return LookOptimizer()

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        return draw(self.view, width, height, self.first, self.at if self.focused else -1)

    def move(self, rows: int) -> None:
        """Move the cursor."""
        last = self.rows - 1
        self.at = max(0, min(max(self.at, 0) + rows, last))
        self.first = max(min(self.first, self.at), self.at - self.body + 1)

    def click_row(self, row: int) -> None:
        """Move the cursor to the row."""
        if 0 <= row + self.first < self.rows:
            self.at = row + self.first

    def copied(self) -> Copied | None:
        """Return the row under the cursor."""
        rows = entries(self.view, max(self.size.width, 20)) if self.view is not None else []
        return Copied("the row", rows[self.at].line.plain.strip()) if 0 <= self.at < len(rows) else None

    @property
    def chosen(self) -> str:
        """The state tensor under the cursor as an expression; empty for none."""
        rows = entries(self.view, max(self.size.width, 20)) if self.view is not None else []
        return rows[self.at].shows if 0 <= self.at < len(rows) else ""
