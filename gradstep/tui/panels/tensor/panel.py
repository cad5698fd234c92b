"""The panel *Tensor*: a window onto two dimensions of the selected tensor and the same window of its `.grad`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import ClassVar

from msgspec.structs import replace

from gradstep.tui.panels.actions import Actions
from gradstep.tui.panels.panel import Panel
from gradstep.tui.panels.tensor import grid as tensor_grid
from gradstep.tui.panels.tensor import table as tensor_table
from gradstep.tui.panels.tensor.display import Display, StableForms
from gradstep.tui.panels.tensor.element import places_of
from gradstep.tui.panels.tensor.foot import BINS, foot_lines, title_words
from gradstep.tui.panels.tensor.grid import axis_of, columns_shown, fold_of
from gradstep.tui.render.copying import Copied, element_copied
from gradstep.tui.render.drawing import GUTTER, Drawing, empty
from gradstep.tui.render.lines import clean
from gradstep.values.expressions import Expression
from gradstep.values.views import Request
from gradstep.values.views.tensor import QUANTITIES, Between, LookTensor, Quantity, TensorView

_CELL = 6
"""Minimum width of a number in a grid, which determines the window of the first request."""
_TALL = 20
"""Minimum height at which all statistics of the slice are shown by default."""
_SPARE = 10
"""Rows that this needs besides those of the slice, header included."""


def draw(view: TensorView | None, width: int, height: int, display: Display | None = None) -> Drawing:
    """Draw the window that the view holds; without a `display` as numbers, and without a cursor."""
    if view is None:
        return empty(width, height, "No tensor yet: a weight appears once the model is built.")
    if not view.name:
        return empty(width, height, "Nothing selected: choose a parameter in Model, or type :show and its name.")
    if view.value is None or view.kind == "none":
        about = f"{clean(view.name)}  of {view.dtype}" if view.dtype else clean(view.name)
        return empty(width, height, clean(view.note) or "There are no numbers to show here.", about=about)
    display = display or Display(StableForms(), first=view.top, left=view.left)
    foot = foot_lines(view, width, height, display)
    room = height - len(foot)
    lines = (tensor_grid.grid_lines if _is_grid(view, display) else tensor_table.table_lines)(
        view, width, room, display
    )
    lines = lines[: max(room, 1)]
    drawn = max(0, min(len(lines), height) - (tensor_grid.HEADS if _is_grid(view, display) else tensor_table.HEADS))
    return Drawing(title_words(view), (lines + foot)[: max(height, 0)], *_window(view, width, display, drawn))


def _window(view: TensorView, width: int, display: Display, drawn: int) -> tuple[int, int, int, int, int]:
    """Return for a window of `drawn` rows: all rows, those above and in it, and the columns at its left and right."""
    down, across = axis_of(view, 0), axis_of(view, 1)
    rows = 1 if down is None else down.count
    first = view.top + tensor_grid.begins(view, width, display)
    seen = min(rows - first, drawn * (fold_of(view, width) if display.heat and view.kind == "vector" else 1))
    if across is None:
        return rows, first, seen, 0, 0
    shown = columns_shown(view, width, display)
    left = max(view.left, min(display.left, across.count - shown))
    return rows, first, seen, left, across.count - left - shown


def _is_grid(view: TensorView, display: Display) -> bool:
    return display.heat or view.kind == "matrix"


class TensorPanel(Panel[TensorView]):
    """A window of the selected tensor, with a cursor on an element; scrolling requests another window."""

    title = "Tensor"
    shows: ClassVar[type[TensorView]] = TensorView
    help_text = (
        "The selected tensor and its .grad through the same window, as numbers or as a heat map. `*` marks what "
        "the last phase changed. In a heat map, − and blue are negative, + and orange positive, the deeper the "
        "larger; NN is NaN. Why and Ledger are about the element at ▶. DIFFERENCE, opened from Compare, is a "
        "tensor at two points and the second minus the first, or the difference alone where there is no room; "
        "{pause} goes back."
    )

    def __init__(self) -> None:
        super().__init__("tensor")
        self.left = 0
        """The column of the slice at the left of the window, as `first` is the row at its top."""
        self.at: list[int] = []
        """The position of the cursor along each dimension of the slice."""
        self.dims: tuple[int, ...] = ()
        self.quantity: Quantity = "value"
        self.heat = False
        self.block: bool | None = None
        """Whether all statistics are shown; None: if there is room."""
        self.element: tuple[int, ...] | None = None
        """The element that Why and Ledger are about: an index into the whole tensor; None for none."""
        self.spot: tuple[int, ...] | None = None
        """The element under the cursor: the same, unless a difference is shown."""
        self.opening: Expression | None = None
        """What is shown while nothing is selected."""
        self.between: Between | None = None
        """The tensor and the two points of a difference, shown in place of the selection; None for none."""
        self._going: tuple[int, ...] = ()
        """Where the cursor goes when the next view arrives."""
        self._forms = StableForms()
        self._height = 0
        """Rows of the body as last drawn; `_width` is its columns."""
        self._width = 0
        self._followed = False
        """True if the cursor moved last, rather than the window without it: a resize then keeps it visible."""

    # -- the request --------------------------------------------------------------------------------------------------
    def request(self) -> Request:
        """Return the request for its view."""
        width, rows = self.size.width, max(1, self.body)
        columns = max(1, (width - 2 * GUTTER - 4) // 2 // (2 if self.heat else _CELL))
        view = self.view
        if view is not None and view.grad is None and not view.grad_state and view.pair is None:
            columns *= 2
        if view is not None and self._folds(view):
            rows *= fold_of(view, width)
        axes = view.axes if view is not None else ()
        shown = self.dims or (view.dims if view is not None else ())
        at = tuple(0 if axis.dim in shown else place for axis, place in zip(axes, self.at, strict=False))
        bins = BINS if self._shows_all else 0
        name = view.name if view is not None else ""
        quantity = self.quantity
        if self.between is not None and quantity == "value":
            quantity = "change"
        return LookTensor(
            rows, columns, self.first, self.left, self.opening, self.dims, at, quantity, bins, True, name, self.between
        )

    def press(self, key: str, actions: Actions) -> bool:
        """Copy the whole slice, or close a difference."""
        if key == "copy_all":
            actions.copy_slice()
            return True
        return key == "pause" and self.between is not None and actions.leave_difference()

    def copied(self) -> Copied | None:
        """Return the element under the cursor."""
        return element_copied(self.view, self.spot) if self.view is not None and self.spot is not None else None

    @property
    def timeless(self) -> bool:
        """True while a difference is shown, which is about two points."""
        return self.between is not None

    @property
    def own_badge(self) -> str:
        """`DIFFERENCE` while one is shown."""
        return "DIFFERENCE" if self.between is not None else ""

    def keys(self) -> Mapping[str, Callable[[], str]]:
        """Return the keys that change how the tensor is shown."""
        return {
            "tensor_heat": self.toggle_heat,
            "tensor_quantity": self.switch_quantity,
            "tensor_statistics": self.toggle_statistics,
            "tensor_dims": self.switch_dims,
            "tensor_back": lambda: self.step_plane(-1),
            "tensor_on": lambda: self.step_plane(1),
        }

    @property
    def due(self) -> bool:
        """True until the statistics arrive: the same request is then made again."""
        return self.view is not None and self.view.due

    def update(self, view: TensorView, before: TensorView | None) -> None:
        """Follow the window; start at the beginning of another selection."""
        if before is None or (before.name, before.shape, _ends(before)) != (view.name, view.shape, _ends(view)):
            self.first, self.left, self.dims = view.top, view.left, ()
            self.at = [0] * len(view.axes)
            for place, start in enumerate((view.top, view.left)):
                self._put(view, place, start)
        axis = axis_of(view, 0)
        self.rows = 1 if axis is None else axis.count
        going, self._going = self._going, ()
        if not (going and self.go(going)):
            self._point()

    def compare(self, between: Between | None, at: tuple[int, ...] = ()) -> None:
        """Show a tensor at two points, with the cursor on an element; None returns to the selection."""
        self.between, self._going = between, at
        self.first = self.left = 0
        self.dims = ()

    # -- drawing ------------------------------------------------------------------------------------------------------
    def draw(self, width: int, height: int) -> Drawing:
        """Draw the body."""
        before, self._height, self._width = (self._width, self._height), height, width
        if self.view is not None:
            self._forms.follow(self.view)
            if before != (width, height) and self._followed:
                self._follow(self.view)
        return draw(self.view, width, height, self._display)

    @property
    def _display(self) -> Display:
        view = self.view
        spot = None if view is None else (self._place(view, 0), self._place(view, 1))
        return Display(self._forms, spot, self.first, self.left, self.heat, self._shows_all, self.keyboard)

    @property
    def _shows_all(self) -> bool:
        if self.block is not None or self.view is None:
            return bool(self.block)
        axis = axis_of(self.view, 0)
        return self.body >= _TALL or self.body >= _SPARE + (1 if axis is None else axis.count)

    def _folds(self, view: TensorView) -> bool:
        return self.heat and view.kind == "vector"

    # -- the cursor ---------------------------------------------------------------------------------------------------
    def move(self, rows: int) -> None:
        """Move the cursor by rows; the window follows it."""
        view = self.view
        if view is None or view.kind == "none":
            return
        step = fold_of(view, self.size.width) if self._folds(view) else 1
        self._move_to(view, 0, self._place(view, 0) + rows * step)

    def sideways(self, columns: int) -> None:
        """Move the cursor by columns of a matrix, or along a vector that is folded; the window follows it."""
        view = self.view
        if view is not None and (view.kind == "matrix" or self._folds(view)):
            place = int(view.kind == "matrix")
            self._move_to(view, place, self._place(view, place) + columns)

    def go(self, index: tuple[int, ...]) -> bool:
        """Move the cursor to an element of the whole tensor; return False if it is not in the selection."""
        view = self.view
        places = None if view is None or len(index) != len(view.whole) else places_of(index, view)
        if view is None or places is None:
            return False
        self.at = places
        self._follow(view)
        self._point()
        return True

    def click_row(self, row: int) -> None:
        """Move the cursor to the row."""
        view = self.view
        if view is not None and view.kind in ("vector", "matrix"):
            fold = fold_of(view, self.size.width) if self._folds(view) else 1
            row -= tensor_grid.HEADS if _is_grid(view, self._display) else tensor_table.HEADS
            if 0 <= row < self._seen(view):
                self._move_to(view, 0, self.first + row * fold)

    def scroll_rows(self, rows: int) -> None:
        """Scroll by rows without the cursor, never past the ends."""
        self._followed = False
        view = self.view
        if view is not None:
            fold = fold_of(view, self.size.width) if self._folds(view) else 1
            axis = axis_of(view, 0)
            last = (axis.count - 1) // fold * fold - (self._seen(view) - 1) * fold if axis is not None else 0
            self.first = max(0, min(self.first + rows * fold, last))

    def _move_to(self, view: TensorView, place: int, to: int) -> None:
        self._put(view, place, to)
        self._follow(view)
        self._point()

    def _follow(self, view: TensorView) -> None:
        """Scroll the cursor into view."""
        self._followed = True
        row, column = self._place(view, 0), self._place(view, 1)
        fold = fold_of(view, self.size.width) if self._folds(view) else 1
        seen = self._seen(view) * fold
        line = row // fold * fold
        self.first = max(0, min(max(self.first // fold * fold, line - seen + fold), line))
        if view.kind == "matrix":
            across = columns_shown(view, self.size.width, self._display)
            self.left = max(0, min(max(self.left, column - across + 1), column))

    def _seen(self, view: TensorView) -> int:
        """Return the number of visible rows of numbers."""
        display = self._display
        heads = tensor_grid.HEADS if _is_grid(view, display) else tensor_table.HEADS
        height = self._height or self.body
        return max(1, height - heads - len(foot_lines(view, self.size.width, height, display)))

    def _place(self, view: TensorView, place: int) -> int:
        """Return the position of the cursor in the slice along the rows (0) or columns (1)."""
        axis = axis_of(view, place)
        return self.at[view.axes.index(axis)] if axis is not None and len(self.at) == len(view.axes) else 0

    def _put(self, view: TensorView, place: int, to: int) -> None:
        axis = axis_of(view, place)
        if axis is not None:
            self.at[view.axes.index(axis)] = max(0, min(to, axis.count - 1))

    def _point(self) -> None:
        """Update the element under the cursor."""
        view = self.view
        self.spot = None
        if view is not None and view.kind != "none":
            inside = {axis.dim: axis.index(place) for axis, place in zip(view.axes, self.at, strict=True)}
            self.spot = tuple(inside.get(dim, at or 0) for dim, at in enumerate(view.place))
        if view is None or view.pair is None:
            self.element = self.spot

    # -- what is shown and how ----------------------------------------------------------------------------------------
    def toggle_heat(self) -> str:
        """Toggle the heat map; return the description."""
        self.heat = not self.heat
        if self.view is not None:
            self._follow(self.view)
        return "a heat map" if self.heat else "numbers"

    def switch_quantity(self) -> str:
        """Switch between values, changes and relative changes; return the description."""
        if self.between is not None:
            self.quantity = "change" if self.quantity == "ratio" else "ratio"
            return "the difference" if self.quantity == "change" else "the difference relative to the first"
        self.quantity = QUANTITIES[(QUANTITIES.index(self.quantity) + 1) % len(QUANTITIES)]
        words = {
            "value": "values",
            "change": "the change of each value in the last phase",
            "ratio": "the relative change of each value in the last phase",
        }
        return words[self.quantity]

    def toggle_statistics(self) -> str:
        """Toggle all statistics of the slice; return the description."""
        self.block = not self._shows_all
        return "statistics of the whole slice" if self.block else "numbers"

    def switch_dims(self) -> str:
        """Show the next two dimensions as rows and columns, each pair both ways; return the description."""
        view = self.view
        if view is None or view.kind != "matrix":
            return "there are no two dimensions to swap"
        kept = [axis.dim for axis in view.axes]
        pairs = [pair for j in range(len(kept)) for i in range(j) for pair in ((kept[i], kept[j]), (kept[j], kept[i]))]
        pairs.sort(key=lambda pair: (-max(pair), -min(pair), pair[0] > pair[1]))
        now = self.dims or view.dims
        at = pairs.index((now[0], now[1])) if now in pairs else -1
        return self.show_dims(*pairs[(at + 1) % len(pairs)])

    def show_dims(self, rows: int, columns: int) -> str:
        """Show these two dimensions as rows and columns, with the cursor on the same element."""
        self.dims = (rows, columns)
        self.first = self.left = 0
        if self.view is not None:
            self._follow(replace(self.view, dims=self.dims))
        return f"rows are dimension {rows}, columns dimension {columns}"

    def step_plane(self, by: int) -> str:
        """Go to the next index of the dimensions that are neither rows nor columns, the last one fastest."""
        view = self.view
        dims = self.dims or (view.dims if view is not None else ())
        others = [i for i, axis in enumerate(view.axes) if axis.dim not in dims] if view is not None else []
        if view is None or not others:
            return "rows and columns are the only dimensions: no index to step"
        counts = [view.axes[i].count for i in others]
        number = 0
        for i, count in zip(others, counts, strict=True):
            number = number * count + self.at[i]
        number = (number + by) % math.prod(counts)
        for i, count in zip(reversed(others), reversed(counts), strict=True):
            number, self.at[i] = divmod(number, count)
        self._point()
        return ", ".join(f"dimension {view.axes[i].dim} at {view.axes[i].index(self.at[i])}" for i in others)


def _ends(view: TensorView) -> tuple[int, int] | None:
    """Return the stops that a difference is between; None if it is not a difference."""
    return None if view.pair is None else (view.pair.first_stop, view.pair.second_stop)
