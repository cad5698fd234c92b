"""The panel *Ledger*: the history of one element of `.grad`, a row per command since it was last cleared."""

from __future__ import annotations

from collections.abc import Sequence

from gradstep.tui.keys.in_keys import in_keys
from gradstep.tui.keys.keyboard import DEFAULT_KEYS, Keyboard
from gradstep.tui.panels.actions import Actions
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.drawing import GUTTER, Drawing, cursor, empty, paragraph, widest
from gradstep.tui.render.lines import Line, Row, clean
from gradstep.values import numbers
from gradstep.values.views import Request
from gradstep.values.views.ledger import LedgerRow, LedgerView, LookLedger

_SIGNS = {"backward": "+ ", "step": "· "}
_WIDE = 56
"""Minimum width for separate columns of what a backward adds and of the sum."""
_HEADS = ("event", "adds", "sum", "norm", "loss")


def draw(view: LedgerView | None, width: int, height: int, back: int = 0, keyboard: Keyboard = DEFAULT_KEYS) -> Drawing:
    """Draw the newest rows, scrolled back by `back`, with the sum below them."""
    if view is None or not view.name:
        return empty(width, height, clean(view.note) if view is not None else "Nothing is loaded yet.")
    about = clean(view.name)
    if view.rows and view.rows[0].kind == "start" and view.total is None:
        hint = "No .grad yet: run `forward`, then `backward`. Each backward adds a row here."
        return empty(width, height, view.note or in_keys(hint, keyboard), about=about)
    table = _Table(view, width)
    every = [line for text in _notes(view) for line in paragraph(text, width, "dim")]
    room = max(1, height - 2)
    notes = every[: max(0, room - len(view.rows))]
    room -= len(notes)
    last = max(room, len(view.rows) - max(0, back))
    shown = view.rows[max(0, last - room) : last]
    lines = [table.header(), *(table.line(row, row is view.rows[-1]) for row in shown), table.total(), *notes]
    start, cut = max(0, last - room), len(every) - len(notes)
    return Drawing(about, lines[: max(height, 0)], len(view.rows), start, len(shown), cut=cut)


def _notes(view: LedgerView) -> list[str]:
    """Return the reasons why numbers are missing, each once."""
    return list(dict.fromkeys(clean(note) for note in (view.note, *(row.note for row in view.rows)) if note))


def _text(row: LedgerRow) -> str:
    times = f" ×{row.used}" if row.used > 1 else ""
    used = f", used{times}" if row.kind in ("backward", "earlier") and row.used else ""
    return _SIGNS.get(row.kind, "") + clean(row.text) + used


class _Table:
    """Columns of numbers, aligned at the decimal point; the last ones are left out if they don't fit."""

    def __init__(self, view: LedgerView, width: int) -> None:
        self._view, self._width = view, width
        rows = view.rows
        values = [*(row.amount for row in rows), *(row.after for row in rows), view.total]
        self._form = numbers.form_of(values, view.dtype)
        cells = [*map(self._cells, rows), ("= .grad", "", self._value(view.total), numbers.norm(view.norm), "")]
        wanted = [widest([line[i] for line in cells], len(head)) for i, head in enumerate(_HEADS)]
        self._two = width >= _WIDE
        self._ends: list[tuple[int, int]] = []
        end = GUTTER + min(wanted[0], max(12, width - 1 - GUTTER - wanted[1] - wanted[3] - 6))
        self._names = end - GUTTER
        for i in range(1, 5):
            if i == 2 and not self._two:
                continue
            cell = max(wanted[1], wanted[2]) if i == 1 and not self._two else wanted[i]
            if end + 3 + cell <= width - 1:
                end += 3 + cell
                self._ends.append((i, end))

    def header(self) -> Line:
        row = Row(self._width).left(GUTTER, _HEADS[0], "dim")
        for i, end in self._ends:
            row.right(end, "element" if i == 1 and not self._two else _HEADS[i], "dim")
        return row.line()

    def line(self, row: LedgerRow, newest: bool) -> Line:
        cells = self._cells(row)
        drawn = cursor(Row(self._width, newest), newest)
        drawn.left(GUTTER, cells[0], "text" if row.kind == "backward" else "dim", self._names)
        for i, end in self._ends:
            value = row.amount if row.kind == "backward" else row.after
            tone = numbers.tone_of(value if i == 1 else row.after) if i < 3 else "dim"
            drawn.right(end, cells[i] if self._two or i != 1 else self._single(row), tone)
        return drawn.line()

    def total(self) -> Line:
        view = self._view
        row = Row(self._width).left(GUTTER, "= .grad", "bright", self._names)
        for i, end in self._ends:
            if i == 2 or (i == 1 and not self._two):
                row.right(end, self._value(view.total), "bright")
            elif i == 3:
                row.right(
                    end, "none" if view.total is None and view.norm is None else numbers.norm(view.norm), "bright"
                )
        return row.line()

    def _cells(self, row: LedgerRow) -> Sequence[str]:
        adds = numbers.signed(row.amount, self._form) if row.kind == "backward" else ""
        unknown = row.kind in ("earlier", "backward") and row.after is None
        after = "·" if unknown else self._value(row.after)
        norm = "none" if row.kind == "cleared" and row.after is None else numbers.norm(row.norm)
        loss = f"{numbers.loss(row.loss)}" if row.loss is not None else ""
        return _text(row), adds, after, norm, loss

    def _single(self, row: LedgerRow) -> str:
        cells = self._cells(row)
        return "" if row.kind == "step" else cells[1] if row.kind == "backward" else cells[2]

    def _value(self, value: float | None) -> str:
        return "none" if value is None else numbers.signed(value, self._form)


class LedgerPanel(Panel[LedgerView]):
    """The history of `.grad` of the element under the cursor of Tensor."""

    title = "Ledger"
    help_text = (
        "The history of one element of .grad: each backward adds to it, zero_grad clears it, and a step uses it "
        "without changing it. The newest row is at the bottom."
    )
    shows = LedgerView

    def __init__(self) -> None:
        super().__init__("ledger")
        self.element: tuple[int, ...] | None = None
        """The element that it is about: an index into the whole tensor, None for the first of the selection."""

    def press(self, key: str, actions: Actions) -> bool:
        """Edit the element of `.grad`."""
        if key != "edit":
            return False
        actions.edit_element(grad=True)
        return True

    def request(self) -> Request:
        """Return the request for its view."""
        return LookLedger(self.element)

    def update(self, view: LedgerView, before: LedgerView | None) -> None:  # noqa: ARG002
        """Scroll to the newest rows."""
        self.first = 0

    def move(self, rows: int) -> None:
        """Scroll; up is back to older rows."""
        self.scroll_rows(-rows)

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        return draw(self.view, width, height, self.first, self.keyboard)
