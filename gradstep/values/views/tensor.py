"""The tensor view: a window onto two dimensions of a tensor, its statistics, and searches in it."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from gradstep.values.expressions import Expression
from gradstep.values.views.drawn import Drawn

Quantity: TypeAlias = Literal["value", "change", "ratio"]
"""What is shown of each element: its value, its change by the last phase, or that change over the value before."""
QUANTITIES: tuple[Quantity, ...] = ("value", "change", "ratio")

Extreme: TypeAlias = Literal["max", "min", "abs", "change", "nan", "inf"]
"""Which element to find: the largest, the smallest, the largest in magnitude, the one that the last phase changed most,
the first NaN, the first infinity."""
EXTREMES: tuple[Extreme, ...] = ("max", "min", "abs", "change", "nan", "inf")


class Between(Struct, frozen=True):
    """A tensor of the state at two points of the timeline, each a stop's number, a branch, or `now`."""

    name: str
    first: str
    second: str


# -- requests ----------------------------------------------------------------------------------------------------------
class LookTensor(Struct, frozen=True, tag=True):
    """Ask for a window of at most `rows` by `columns` onto the selection, `top` and `left` elements in."""

    rows: int = 16
    columns: int = 16
    top: int = 0
    left: int = 0
    opening: Expression | None = None
    """What to show while nothing is selected; does not select it."""
    dims: tuple[int, ...] = ()
    """The dimensions of the whole tensor shown as rows and columns; by default the last two that the slice keeps."""
    at: tuple[int, ...] = ()
    """The index in the slice along each kept dimension, from 0; ignored for rows and columns."""
    quantity: Quantity = "value"
    bins: int = 0
    """Number of histogram bins; 0 for none."""
    hurry: bool = False
    """True to return the window at once: expensive statistics are left for a second request."""
    of: str = ""
    """The selection, as a line, that origin and dimensions apply to; another selection is shown from its start."""
    between: Between | None = None
    """Shown in place of the selection: this tensor at two points, second minus first."""


class LookPlace(Struct, frozen=True, tag=True):
    """Ask where in the selected slice an extreme is; with `grad`, in the same slice of `.grad`."""

    extreme: Extreme
    grad: bool = False
    opening: Expression | None = None
    between: Between | None = None
    """Searched in place of the selection: this difference."""


# -- views -------------------------------------------------------------------------------------------------------------
class Window(Struct, frozen=True):
    """Numbers of a window, row by row."""

    values: tuple[tuple[float, ...], ...]
    """The requested quantity."""
    before: tuple[tuple[float, ...], ...] | None = None
    """The values before the last phase; None when unknown or there was no tensor."""
    changed: tuple[tuple[bool, ...], ...] = ()
    """True where the last phase changed the bits of the element; empty when no element changed."""
    now: tuple[tuple[float, ...], ...] | None = None
    """The values, when another quantity is shown."""
    absent: tuple[tuple[bool, ...], ...] = ()
    """True where the quantity is undefined, such as a ratio to 0; empty when it is defined everywhere."""


class Axis(Struct, frozen=True):
    """A dimension that the selected slice keeps: index `first + step * i` of the whole tensor for each i < count."""

    dim: int
    first: int
    step: int
    count: int

    def index(self, place: int) -> int:
        """Return the index in the whole tensor of an index in the slice."""
        return self.first + self.step * place

    def place(self, index: int) -> int | None:
        """Return the index in the slice of an index in the whole tensor; None when it is not in the slice."""
        place, rest = divmod(index - self.first, self.step)
        return place if not rest and 0 <= place < self.count else None


class Histogram(Struct, frozen=True):
    """Counts of the finite elements in bins of equal width."""

    low: float
    high: float
    counts: tuple[int, ...]
    every: int = 1
    """Sampling stride: 1 when every element was counted; larger for a large slice."""


class Statistics(Struct, frozen=True):
    """Statistics of a slice; of complex numbers, of their magnitudes."""

    count: int
    minimum: float | None = None
    """Minimum and maximum, ignoring NaN; None when there is no number."""
    maximum: float | None = None
    mean: float | None = None
    """Mean, std (unbiased, as `torch.std`; None for one element) and L2 norm are NaN or inf where torch's are."""
    std: float | None = None
    norm: float | None = None
    """None where undefined: integers, bools."""
    zeros: int = 0
    nans: int = 0
    infs: int = 0
    rms: float = 0.0
    """Root mean square of the finite non-zero elements; 0 without any."""
    histogram: Histogram | None = None

    @property
    def greatest(self) -> float:
        """The larger magnitude of minimum and maximum, if finite; 0 for none."""
        ends = [abs(end) for end in (self.minimum, self.maximum) if end is not None and end - end == 0]
        return max(ends, default=0.0)


class Pair(Struct, frozen=True):
    """The two points of a difference."""

    first: str
    """Name of the first: `main`, `stop 12`."""
    second: str
    first_stop: int
    second_stop: int
    missing: Literal["", "first", "second"] = ""
    """The point that lacks the tensor: the values shown are those of the other."""
    first_statistics: Statistics | None = None
    second_statistics: Statistics | None = None


class TensorView(Drawn, frozen=True, tag=True):
    """A window onto the selected tensor and the same window onto its `.grad`."""

    stop: int
    name: str
    """The selection as a line, e.g. `2.weight[0, 0:10]`; empty when nothing is selected."""
    path: str = ""
    """The parameter or buffer selected, e.g. `2.weight`."""
    whole: tuple[int, ...] = ()
    """Shape of the whole tensor."""
    shape: tuple[int, ...] = ()
    """Shape of the selected slice."""
    dtype: str = ""
    kind: Literal["number", "vector", "matrix", "none"] = "none"
    """How to draw it; `none` when there is nothing, and `note` says why."""
    top: int = 0
    left: int = 0
    row_labels: tuple[str, ...] = ()
    """Index of each row in the whole tensor, e.g. `3`; a vector has a row for each element."""
    column_labels: tuple[str, ...] = ()
    """Index of each column; empty for a vector."""
    value: Window | None = None
    grad: Window | None = None
    """None when `.grad` is None, or the tensor has no `.grad`; `grad_state` says which."""
    grad_state: str = ""
    statistics: Statistics | None = None
    """Of the quantity shown, over the selected slice, not the window or the whole tensor."""
    grad_statistics: Statistics | None = None
    note: str = ""
    place: tuple[int | None, ...] = ()
    """Position of the window in the whole tensor: an index for each dimension, None for rows and columns."""
    would: tuple[float, ...] | None = None
    """The value of each element of a vector after the next step; None when unknown, and right after a step."""
    axes: tuple[Axis, ...] = ()
    """The dimensions that the slice keeps."""
    dims: tuple[int, ...] = ()
    """The rows and columns among them; one for a vector, none for a number."""
    quantity: Quantity = "value"
    """The quantity shown; `value` also when no change is known."""
    due: bool = False
    """True when statistics were left for a second request."""
    grad_gone: bool = False
    """True when the last phase set `.grad` to None."""
    no_grad: str = ""
    """Why a parameter has no `.grad`: how to get one, or why the last backward did not produce one."""
    pair: Pair | None = None
    """The two points, when `value` is a difference: its `before` is the first, its `now` the second."""


class PlaceView(Struct, frozen=True, tag=True):
    """Where an extreme of the selected slice is."""

    stop: int
    name: str
    """The searched slice, e.g. `2.weight[0, 0:10]`, or its `.grad`."""
    extreme: Extreme
    index: tuple[int, ...] | None = None
    """Index in the whole tensor; None when there is no such element, and `why` says so."""
    value: float | None = None
    """The element's value; for `change`, its change."""
    why: str = ""


TensorRequest: TypeAlias = LookTensor | LookPlace
TensorAnswer: TypeAlias = TensorView | PlaceView
