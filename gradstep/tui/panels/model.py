"""The panel *Model*: the module tree, with shape, norm and `.grad` state of each parameter."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gradstep.tui.panels.actions import Actions
from gradstep.tui.panels.breakpoints import mark_of, of_part
from gradstep.tui.panels.panel import Panel
from gradstep.tui.render.copying import Copied
from gradstep.tui.render.drawing import GUTTER, Drawing, cursor, empty, unknown, widest, window
from gradstep.tui.render.lines import Line, Row, clean, fit_middle, fit_parts, text_line
from gradstep.values import numbers
from gradstep.values.commands import Break
from gradstep.values.expressions import name_line
from gradstep.values.outcomes import Stop
from gradstep.values.views import LookModel, ModelRow, ModelView, Request
from gradstep.values.views.inside import Breakpoint

_NARROW = 40
_WIDE = 64
_NAME = 8
"""Cells for the name of a parameter of the deepest module, with its mark."""


def draw(
    view: ModelView | None,
    width: int,
    height: int,
    first: int = 0,
    at: int = -1,
    running: str | None = None,
    breakpoints: tuple[Breakpoint, ...] = (),
) -> Drawing:
    """Draw the tree from its row `first` on, the cursor on row `at` (-1: on the selected row).

    The row whose path is `running` is highlighted; rows with a breakpoint have its mark.
    """
    if view is None:
        return empty(width, height, "No model yet: it appears once it is built.")
    about = numbers.count(view.parameters, "parameter" if width >= _NARROW else "param")
    here = at if at >= 0 else view.selected_row
    foot = height >= 6 and width >= 20 and 0 <= here < view.total
    start, end = window(view.total, first, height - 1 - foot)
    known = range(max(start, view.first), min(end, view.first + len(view.rows)))
    shown = [view.rows[place - view.first] for place in known]
    columns = _Columns(shown, width, view.depth)
    branches = branches_of(view, known)
    drawn = {
        place: columns.line(row, branch, place == here, row.path == running, of_part(breakpoints, row))
        for place, row, branch in zip(known, shown, branches, strict=True)
    }
    lines = [columns.header(), *(drawn.get(place) or unknown(width, place == here) for place in range(start, end))]
    if foot:
        row = row_at(view, here)
        text = "" if row is None else describe(row, width - GUTTER - 1)
        lines += [Line()] * (height - 1 - len(lines)) + [text_line(text, width, "dim")]
    return Drawing(about, lines[: max(height, 0)], view.total, start, end - start)


def row_at(view: ModelView, place: int) -> ModelRow | None:
    """Return a row of the tree; None for one outside of the view's window."""
    return view.rows[place - view.first] if view.first <= place < view.first + len(view.rows) else None


def describe(row: ModelRow, room: int = 1 << 20) -> str:
    """Return a line on a row with what has no column: dtype, device, norm of `.grad`, sharing.

    What does not fit into `room` cells is left out, marked by `…`.
    """
    if row.kind == "module":
        return clean(f"{row.path or 'the model'}: {row.type or row.name}")
    parts = [row.path, row.dtype, row.device]
    if row.value is not None:
        parts.insert(1, f"= {numbers.single(row.value, row.dtype, 6)}")
    if row.shared:
        parts.append(f"shared with {row.shared}")
    if row.grad_norm is not None:
        parts.append(f".grad norm {numbers.norm(row.grad_norm)}")
    return fit_parts([clean(part) for part in parts if part], room)


def branches_of(view: ModelView, places: range) -> list[str]:
    """Return the tree lines before the names of rows in the view's window, like `tree`."""
    later = set(view.later)
    branches: list[str] = []
    for place in range(view.first + len(view.rows) - 1, places.start - 1, -1):
        row = view.rows[place - view.first]
        depth, module = row.depth, row.kind == "module"
        if place in places:
            above = "".join("│ " if level in later else "  " for level in range(1, min(depth, 40)))
            own = ("├ " if depth in later else "└ ") if module else "  "
            branches.append(above + own if depth else "")
        if module:
            later = {level for level in later if level <= depth} | {depth}
    return branches[::-1]


def _state(row: ModelRow) -> str:
    """Return the text of the `.grad` column."""
    return row.grad if row.kind == "parameter" else "buffer" if row.kind == "buffer" else ""


def _mark(changed: bool) -> str:
    return "*" if changed else ""


class _Columns:
    """The positions of the columns, for the visible rows."""

    def __init__(self, rows: Sequence[ModelRow], width: int, depth: int) -> None:
        self.width = width
        self.shapes = [numbers.shape(row.shape) if row.kind != "module" else "" for row in rows]
        grad = widest([_state(row) + _mark(row.grad_changed) for row in rows], 5)
        self.grad = width - 1 - grad
        self.norm = self.grad - (1 if width < _NARROW else 3)
        norm = widest([numbers.norm(row.norm) for row in rows], 4)
        self.device = self.dtype = 0
        end = self.norm - norm - (1 if width < _NARROW else 3)
        if width >= _WIDE:
            self.device = end
            self.dtype = self.device - widest([row.device for row in rows], 6) - 2
            end = self.dtype - widest([row.dtype for row in rows], 5) - 2
        self.shape = end
        shapes = widest(self.shapes, 5) + 1
        self.indent = 2 if GUTTER + 2 * depth + _NAME <= self.shape - shapes or width >= _WIDE else 1
        """Cells a level; 1 where a deep tree would leave no room for names."""
        if width < _NARROW and self.shape < GUTTER + max(20 * (grad > 6), self.indent * depth + 5 + shapes):
            # long .grad states, or a deep tree, on a narrow screen: leave out the norm
            self.shape, self.norm = self.norm, 0
        self.names = max(0, self.shape - shapes)

    def header(self) -> Line:
        row = (
            Row(self.width).left(GUTTER, "module", "dim", max(0, self.names - GUTTER)).right(self.shape, "shape", "dim")
        )
        if self.dtype:
            row.right(self.dtype, "dtype", "dim").right(self.device, "device", "dim")
        if self.norm:
            row.right(self.norm, "norm", "dim")
        return row.left(self.grad, ".grad", "dim").line()

    def line(self, row: ModelRow, branch: str, here: bool, running: bool, stops: Breakpoint | None) -> Line:
        if self.width < _NARROW:
            branch = branch[2:]
        if self.indent == 1:
            branch = branch[::2]
        drawn = cursor(Row(self.width, here), here)
        if stops is not None:
            drawn.left(1, *mark_of(stops))
        drawn.left(GUTTER, branch, "line")
        name = clean(row.name)
        lit = "now" if running else "bright" if here else "text"
        if row.kind == "module":
            kind = clean(row.type) if row.type != row.name else ""
            drawn.add(f"{name} {kind}".strip(), lit)
            return (drawn.right(self.width - 1, "▶ here", "now") if running else drawn).line()
        mark = _mark(row.changed)
        drawn.add(fit_middle(name, max(0, self.names - drawn.at - len(mark))), lit)
        drawn.add(mark, "bright")
        if row.shared:
            return drawn.add(f"  = {clean(row.shared)}", "dim").line()
        drawn.right(self.shape, numbers.shape(row.shape), "dim")
        if self.dtype:
            drawn.right(self.dtype, clean(row.dtype), "dim").right(self.device, clean(row.device), "dim")
        if self.norm:
            odd = row.norm is not None and row.norm - row.norm != 0
            drawn.right(self.norm, numbers.norm(row.norm), "odd" if odd else "text")
        state = _state(row)
        drawn.left(self.grad, state, "dim" if state in {"none", "frozen", "buffer"} else "text")
        return drawn.add(_mark(row.grad_changed), "bright").line()


class ModelPanel(Panel[ModelView]):
    """The module tree, with a cursor that selects."""

    title = "Model"
    help_text = (
        "The module tree, with the shape, norm and .grad of each parameter: none, zero, fresh, x3 for the sum of "
        "three backwards, stale once a step has used it. `*` marks what the last phase changed: after a name the "
        "tensor itself, after a state its .grad."
    )
    shows = ModelView
    _AHEAD, _STRIDE = 60, 30

    def __init__(self) -> None:
        super().__init__("model")
        self.at = -1
        self.sought = ""
        """The path of the row that the cursor moves to once that has arrived; else empty."""
        self._lit: str | None = None
        """The path of the module or parameter stopped at; None between phases and outside the model."""
        self._stop = -1
        self._arrived = False
        """True until the cursor has moved to it."""
        self._inside = False
        self._left = False
        """True after a phase stopped inside has ended, until the cursor is back on the selected row."""
        self.breakpoints: Callable[[], tuple[Breakpoint, ...]] = tuple
        """Returns the breakpoints, for the marks on rows."""

    def follow(self, stop: Stop) -> None:
        """Have the cursor move to the module or parameter stopped at, and back to the selected row after the phase."""
        position = stop.position
        owned = position is not None and (position.parameter or position.stack)
        self._lit = (position.parameter or position.path) if position is not None and owned else None
        self._left = position is None and (self._inside or self._left)
        self._inside = position is not None
        self._arrived = self._arrived or (position is not None and stop.number != self._stop)
        self._stop = stop.number

    def request(self) -> Request:
        """Return the request for the visible rows and some more, in strides, so that not every move needs another."""
        first = max(0, self.first - self._AHEAD) // self._STRIDE * self._STRIDE
        return LookModel(0 if self.sought else first, self.body + 2 * self._AHEAD + self._STRIDE, self.sought)

    def update(self, view: ModelView, before: ModelView | None) -> None:
        """Move the cursor to a new selection, to where a phase is stopped, and to the row it was to move to."""
        left, self._left = self._left, False
        moves = before is None or before.selected_row != view.selected_row or (left and view.selected_row >= 0)
        if moves:
            self.at = view.selected_row
        if self.sought and view.near == self.sought:
            self.sought, moves = "", True
            self.at = view.at if view.at >= 0 else self.at
        if self._arrived:
            self._arrived, moves = False, True
            self._seek(self._lit)
        if moves:
            self._reveal()

    @property
    def cache_key(self) -> object:
        """The cursor position, and what else the drawing depends on besides the view."""
        return self.at, self._lit, self.breakpoints()

    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        return draw(self.view, width, height, self.first, self.at, self._lit, self.breakpoints())

    @property
    def body(self) -> int:
        """Rows for the tree, without the header and the line on the cursor's row."""
        return max(1, super().body - 2)

    def move(self, rows: int) -> None:
        """Move the cursor."""
        if self.view is not None and self.view.rows:
            self.at = max(0, min(max(self.at, 0) + rows, self.view.total - 1))
            self.sought = ""
            self._reveal()

    def click_row(self, row: int) -> None:
        """Move the cursor to the row."""
        if self.view is not None and 0 <= row - 1 + self.first < self.view.total:
            self.at, self.sought = row - 1 + self.first, ""

    def press(self, key: str, actions: Actions) -> bool:
        """Select the parameter or buffer under the cursor, toggle a breakpoint there, or edit it."""
        row = self.here
        if key == "choose" and self.chosen:
            actions.select(self.chosen)
        elif key == "break" and row is not None and row.kind == "parameter":
            actions.toggle_break(Break("grad", row.path))
        elif key == "break" and row is not None and row.kind == "module":
            actions.toggle_break(Break("module", row.path) if row.path else Break("phase", "forward"))
        elif key == "edit" and row is not None and row.kind != "module":
            actions.edit(f"set {name_line(row.path)} = ")
        else:
            return False
        return True

    @property
    def here(self) -> ModelRow | None:
        """The row under the cursor; None for none, or until it arrives."""
        return row_at(self.view, self.at) if self.view is not None else None

    @property
    def chosen(self) -> str:
        """The path of the parameter or buffer under the cursor if it is not selected yet, else empty."""
        row = self.here
        return "" if row is None or self.sought or row.kind == "module" or row.selected else row.path

    @property
    def selected(self) -> str:
        """The path of the selected parameter or buffer; empty for none."""
        return self.view.selected if self.view is not None else ""

    @property
    def pointed(self) -> str:
        """The path of the row under the cursor, or of the one it is to move to; empty for the whole model."""
        return self.sought or (self.here.path if self.here is not None else "")

    def point(self, path: str) -> bool:
        """Move the cursor to a module, parameter or buffer; return whether it moves."""
        before = self.at, self.sought
        self._seek(path or None)
        moves = before != (self.at, self.sought)
        if moves:
            self._reveal()
            self.redraw()
        return moves

    def _seek(self, path: str | None) -> None:
        """Move the cursor to a row: at once if it is in the view, else when the view that has it arrives."""
        view = self.view
        if view is None or path is None:
            return
        place = next((place for place, row in enumerate(view.rows, view.first) if row.path == path), -1)
        if place >= 0 or not path:
            self.at, self.sought = max(place, 0), ""
        elif len(view.rows) < view.total:
            self.sought = path

    def copied(self) -> Copied | None:
        """Return the path of the row under the cursor."""
        return Copied("the name", self.pointed) if self.pointed else None

    def resized(self) -> None:
        """Scroll the cursor into view."""
        self._reveal()

    def _reveal(self) -> None:
        if self.at >= 0:
            self.first = max(min(self.first, self.at), self.at - self.body + 1)
