"""The panel *Stack*: the frames of a script, and below them the variables of the selected one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import PurePath
from typing import NamedTuple

from gradstep.tui.panels.actions import Actions
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.copying import Copied
from gradstep.tui.render.drawing import GUTTER, Drawing, cursor, empty, widest, window
from gradstep.tui.render.lines import Line, Row, clean, fit
from gradstep.values import numbers
from gradstep.values.commands import SelectFrame
from gradstep.values.views import Request
from gradstep.values.views.stack import LookStack, StackFrame, StackView, Variable

_FOLDED = 3
"""Frames of libraries in a row from which they are one row."""
_GAP = 2


class FrameRow(NamedTuple):
    """A row of the stack: one frame, or frames of libraries that are folded."""

    first: int
    """The number of the frame, or of the innermost one that is folded."""
    frames: int = 1


def frame_rows(view: StackView, unfolded: bool = False) -> tuple[FrameRow, ...]:
    """Return the rows of the stack: the selected frame, and those of the script, are never folded."""
    rows: list[FrameRow] = []
    numbered = list(enumerate(view.frames))
    for library, group in groupby(numbered, lambda each: each[1].library and each[0] != view.selected):
        places = [number for number, _ in group]
        if library and not unfolded and len(places) >= _FOLDED:
            rows.append(FrameRow(places[0], len(places)))
        else:
            rows += [FrameRow(number) for number in places]
    return tuple(rows)


def draw(view: StackView | None, rows: Sequence[FrameRow], width: int, height: int, first: int, at: int) -> Drawing:
    """Draw frames and variables from row `first` on, the cursor on row `at`; a heading lies between them.

    Args:
        view: the view.
        rows: the rows of the stack.
        width: cells.
        height: rows.
        first: the first visible row; the heading counts as one.
        at: the row of the cursor.
    """
    if view is None or not view.frames:
        return empty(width, height, clean(view.note) if view is not None else "The script has not begun.")
    frames = _Frames(view, rows, width)
    columns = _Columns(view.rows, width)
    total = len(rows) + 1 + view.total
    start, end = window(total, first, height)
    lines = []
    for place in range(start, end):
        if place < len(rows):
            lines.append(frames.line(rows[place], place == at))
        elif place == len(rows):
            lines.append(columns.heading(view))
        else:
            number = place - len(rows) - 1 - view.first
            known = 0 <= number < len(view.rows)
            lines.append(columns.line(view.rows[number], place == at) if known else Line())
    about = f"{numbers.count(len(view.frames), 'frame')}, #{view.selected} selected"
    return Drawing(about, lines, total, start, end - start)


def frame_words(frame: StackFrame) -> str:
    """Return the function, the file and the line of a frame."""
    return clean(f"{_function(frame)}  {PurePath(frame.source.file).name}:{frame.source.line}")


def _function(frame: StackFrame) -> str:
    return clean(frame.source.function or "<module>")


class _Frames:
    """The columns of the frames: number, function, file and line, text of the line."""

    def __init__(self, view: StackView, rows: Sequence[FrameRow], width: int) -> None:
        self._view, self._width = view, width
        shown = [view.frames[row.first] for row in rows if row.frames == 1]
        self._number = GUTTER + len(str(len(view.frames) - 1)) + 1
        self._name = self._number + 1
        names = min(widest(list(map(_function, shown)), 4), max(8, width // 3))
        self._file = self._name + names + _GAP
        files = min(widest([_file(frame) for frame in shown], 4), max(8, width // 3))
        self._text = self._file + files + _GAP

    def line(self, row: FrameRow, here: bool) -> Line:
        drawn = cursor(Row(self._width, here), here).left(1, "→" if row.first == self._view.selected else " ", "now")
        if row.frames > 1:
            text = f"… {row.frames} frames of {_packages(self._view.frames[row.first : row.first + row.frames])}"
            return drawn.left(self._name, text, "dim").line()
        frame, selected = self._view.frames[row.first], row.first == self._view.selected
        tone = "now" if selected else "dim" if frame.library else "bright"
        drawn.right(self._number, f"#{row.first}", "now" if selected else "dim")
        drawn.left(self._name, fit(_function(frame), self._file - self._name - 1), tone)
        drawn.left(self._file, fit(_file(frame), self._text - self._file - 1), "dim" if frame.library else "text")
        return drawn.left(self._text, fit(clean(frame.source.text), self._width - self._text - 1), "dim").line()


def _file(frame: StackFrame) -> str:
    return clean(f"{PurePath(frame.source.file).name}:{frame.source.line}")


def _packages(frames: Sequence[StackFrame]) -> str:
    found: dict[str, None] = {}
    for frame in frames:
        parts = PurePath(frame.source.file).parts
        places = [i for i, part in enumerate(parts) if part in ("site-packages", "dist-packages")]
        found[parts[places[-1] + 1] if places and places[-1] + 1 < len(parts) else "libraries"] = None
    return numbers.listed(list(found), 2)


class _Columns:
    """The columns of the variables that fit; of what is not a tensor, the value takes their place."""

    _ORDER = ("norm", "dtype", "grad", "device")

    def __init__(self, rows: Sequence[Variable], width: int) -> None:
        self._width = width
        tensors = [row for row in rows if row.shape is not None]
        order = list(self._ORDER)
        if len({row.device for row in tensors}) > 1:  # what differs between them comes first
            order = ["norm", "device", "dtype", "grad"]
        names = min(widest([_label(row) for row in rows], 7), max(8, width // 3))
        self._kind = GUTTER + names + _GAP
        kinds = min(widest([_kind(row) for row in rows], 5), max(6, width // 4))
        self._value = self._kind + kinds + _GAP
        self._at: dict[str, int] = {}
        at = self._value
        for name in order:
            cells = widest([_TEXTS[name](row) for row in tensors])
            if not cells or at + max(cells, len(_HEADS[name])) > width - 1:
                continue
            cells = max(cells, len(_HEADS[name]))
            self._at[name], at = at, at + cells + _GAP
        self._names = names

    def heading(self, view: StackView) -> Line:
        what = "locals" if view.frames[view.selected].source.function else "globals"
        row = Row(self._width).left(GUTTER, what, "dim").left(self._kind, "type", "dim")
        for name, at in self._at.items():
            row.left(at, _HEADS[name], "dim")
        return row.line()

    def line(self, row: Variable, here: bool) -> Line:
        drawn = cursor(Row(self._width, here), here)
        drawn.left(GUTTER, fit(_label(row), self._kind - GUTTER - 1), "bright" if here else "text")
        drawn.left(
            self._kind, fit(_kind(row), self._value - self._kind - 1), "text" if row.shape is not None else "dim"
        )
        if row.shape is None:
            return drawn.left(self._value, fit(clean(row.text), self._width - self._value - 1)).line()
        for name, at in self._at.items():
            odd = name == "norm" and ("NaN" in _norm(row) or "∞" in _norm(row))
            drawn.left(at, _TEXTS[name](row), "odd" if odd else "text" if name == "norm" else "dim")
        return drawn.line()


def _label(row: Variable) -> str:
    mark = ("▾ " if row.opened else "▸ ") if row.opens else "  "
    return clean("  " * row.depth + mark + row.name)


def _kind(row: Variable) -> str:
    return clean(row.kind) if row.shape is None else numbers.shape(row.shape) or "()"


def _norm(row: Variable) -> str:
    return f"= {clean(row.text)}" if row.text else numbers.norm(row.norm)


def _grad(row: Variable) -> str:
    return clean(row.grad_fn) or ("requires grad" if row.requires_grad else "")


_HEADS = {"norm": "norm", "grad": "grad_fn", "dtype": "dtype", "device": "device"}
_TEXTS: dict[str, Callable[[Variable], str]] = {
    "norm": _norm,
    "grad": _grad,
    "dtype": lambda row: clean(row.dtype),
    "device": lambda row: clean(row.device),
}


class StackPanel(Panel[StackView]):
    """The frames and the variables, with one cursor."""

    title = "Stack"
    help_text = (
        "Where the script is: its frames, innermost first, each with the line that it runs or calls from; frames of "
        "libraries are dim, and folded where there are many. {choose} selects a frame: Source shows its line, and "
        "expressions read its variables, as after :up, :down and :frame 1. Below are its variables: {choose} shows a "
        "tensor in Tensor, and opens a container or an object."
    )
    shows = StackView

    def __init__(self) -> None:
        super().__init__("stack")
        self.at = 0
        self._unfolded = False
        self._opened: tuple[str, ...] = ()
        self._from = 0
        """The first variable that is requested."""
        self._rows: tuple[FrameRow, ...] = ()

    def request(self) -> Request:
        """Return the request for the frames, and for more variables than are visible."""
        return LookStack(self._from, self._count, self._opened)

    @property
    def _count(self) -> int:
        return max(40, 3 * self.size.height)

    @property
    def _total(self) -> int:
        return len(self._rows) + 1 + (self.view.total if self.view is not None else 0)

    @property
    def variable(self) -> Variable | None:
        """The variable under the cursor; None on a frame, and while it has not arrived."""
        number = self.at - len(self._rows) - 1 - (self.view.first if self.view is not None else 0)
        return self.view.rows[number] if self.view is not None and 0 <= number < len(self.view.rows) else None

    def update(self, view: StackView, before: StackView | None) -> None:
        """Keep the cursor on its variable where the frame is the same; else go to the selected frame."""
        kept = len(self._rows) if before is not None and _same_frame(view, before) else -1
        self._lay_out(view)
        if kept < 0:
            self.at, self._from = next((i for i, row in enumerate(self._rows) if row.first == view.selected), 0), 0
        elif self.at > kept:
            self.at += len(self._rows) - kept
        self.at = max(0, min(self.at, self._total - 1))
        self._reveal()

    def _lay_out(self, view: StackView) -> None:
        self._rows = frame_rows(view, self._unfolded)

    def press(self, key: str, actions: Actions) -> bool:
        """Select the frame under the cursor, show the tensor, or open what has items."""
        if key != "choose" or self.view is None or not self._rows:
            return False
        variable = self.variable
        if self.at < len(self._rows):
            row = self._rows[self.at]
            if row.frames > 1:
                self._unfolded = True
                self._lay_out(self.view)
            else:
                actions.run(SelectFrame(row.first))
        elif variable is not None and variable.opens:
            others = tuple(path for path in self._opened if path != variable.path)
            self._opened = others if variable.opened else (*self._opened, variable.path)
        elif variable is not None and variable.shape is not None and variable.path:
            actions.show(variable.path)
        elif variable is not None:
            none = f"{variable.name} means something else in expressions" if variable.shape is not None else ""
            actions.say(none or f"{variable.name} is not a tensor, and has no items")
        return True

    @property
    def cache_key(self) -> object:
        """The cursor, and what is unfolded."""
        return self.at, self._unfolded

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        return draw(self.view, self._rows, width, height, self.first, self.at)

    def move(self, rows: int) -> None:
        """Move the cursor; the heading between frames and variables is skipped."""
        at = max(0, min(self.at + rows, self._total - 1))
        if at == len(self._rows):
            at += 1 if rows > 0 and at + 1 < self._total else -1
        self.at = max(0, at)
        self._reveal()
        self._ask_from()

    def scroll_rows(self, rows: int) -> None:
        """Scroll; variables that the view does not hold are requested."""
        super().scroll_rows(rows)
        self._ask_from()

    def _ask_from(self) -> None:
        view, top = self.view, self.first - len(self._rows) - 1
        if view is not None and not view.first <= max(0, top) <= max(0, view.first + len(view.rows) - self.body):
            self._from = max(0, top - self._count // 3)

    def click_row(self, row: int) -> None:
        """Move the cursor to the row."""
        if 0 <= row + self.first < self._total and row + self.first != len(self._rows):
            self.at = row + self.first

    def copied(self) -> Copied | None:
        """Return the frame, or the variable's value, under the cursor."""
        if self.view is None or not self._rows:
            return None
        if self.at < len(self._rows):
            return Copied("a frame", frame_words(self.view.frames[self._rows[self.at].first]))
        variable = self.variable
        return None if variable is None else Copied(variable.name, variable_words(variable))

    def resized(self) -> None:
        """Scroll the cursor into view."""
        self._reveal()

    def _reveal(self) -> None:
        self.first = max(0, min(self.first, self.at, self._total - self.body), self.at - self.body + 1)


def variable_words(row: Variable) -> str:
    """Return everything that is known of a variable, in one line."""
    if row.shape is None:
        return clean(f"{row.name}: {row.kind} {row.text}".strip())
    norm = f"norm {_norm(row)}" if row.norm is not None and not row.text else _norm(row)
    parts = (_kind(row), row.dtype, row.device, norm, _grad(row))
    return clean(f"{row.name}: {'  '.join(filter(None, parts))}")


def _same_frame(view: StackView, before: StackView) -> bool:
    if len(view.frames) != len(before.frames) or view.selected != before.selected or not view.frames:
        return False
    one, other = view.frames[view.selected].source, before.frames[before.selected].source
    return (one.file, one.function) == (other.file, other.function)
