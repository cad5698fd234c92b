"""The Tensor view: a window onto any two dimensions of a tensor, its statistics, places in it; and their requests."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from gradstep.values.expressions import Expression
from gradstep.values.views.drawn import Drawn

Quantity: TypeAlias = Literal["value", "change", "ratio"]
"""What is seen of each element: what it is, what the last phase added to it, or that over what it was before."""
QUANTITIES: tuple[Quantity, ...] = ("value", "change", "ratio")

Extreme: TypeAlias = Literal["max", "min", "abs", "change", "nan", "inf"]
"""Which element is looked for: the largest, the smallest, the one farthest from zero, the one that the last phase
moved farthest, the first NaN, the first infinite one."""
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
    """What to look at for as long as nothing is selected; selects nothing itself."""
    dims: tuple[int, ...] = ()
    """The dimensions of the whole tensor that are rows and columns; without them the last two that the slice keeps."""
    at: tuple[int, ...] = ()
    """How far in the slice each dimension that it keeps is seen, from 0; of those that are rows or columns it is not
    asked."""
    quantity: Quantity = "value"
    bins: int = 0
    """Into how many the histograms are divided; 0 for none."""
    hurry: bool = False
    """True to have the window now: where the statistics take long they are left for the second time of asking."""
    of: str = ""
    """The selection, as a line, that the place and the dimensions are meant for: another is seen from its start."""
    between: Between | None = None
    """What to look at in place of the selection: this tensor at two points, second minus first."""


class LookPlace(Struct, frozen=True, tag=True):
    """Ask where in the selected slice an extreme is; with `grad`, where in the same slice of `.grad`."""

    extreme: Extreme
    grad: bool = False
    opening: Expression | None = None
    between: Between | None = None
    """Where in the difference of these."""


# -- views -------------------------------------------------------------------------------------------------------------
class Window(Struct, frozen=True):
    """Numbers of a window, row by row."""

    values: tuple[tuple[float, ...], ...]
    """The quantity that was asked for."""
    before: tuple[tuple[float, ...], ...] | None = None
    """The values of the same window before the last phase; None when that is not known or there was nothing."""
    changed: tuple[tuple[bool, ...], ...] = ()
    """True where the last phase changed the bits of the element; empty when nothing did."""
    now: tuple[tuple[float, ...], ...] | None = None
    """The values, where another quantity is seen in their place."""
    absent: tuple[tuple[bool, ...], ...] = ()
    """True where there is no number to see: no ratio to what was 0, or to nothing; empty when there is one in each."""


class Axis(Struct, frozen=True):
    """A dimension that the selected slice keeps: index `first + step * i` of the whole tensor for each i < count."""

    dim: int
    first: int
    step: int
    count: int

    def index(self, place: int) -> int:
        """Return the index in the whole tensor of a place in the slice."""
        return self.first + self.step * place

    def place(self, index: int) -> int | None:
        """Return the place in the slice of an index in the whole tensor; None when the slice leaves it out."""
        place, rest = divmod(index - self.first, self.step)
        return place if not rest and 0 <= place < self.count else None


class Histogram(Struct, frozen=True):
    """How many of the finite elements lie in each of equally wide bins."""

    low: float
    high: float
    counts: tuple[int, ...]
    every: int = 1
    """1 when each element was counted; of a large slice each `every`-th was."""


class Statistics(Struct, frozen=True):
    """What a slice amounts to. Of complex numbers it is their magnitudes."""

    count: int
    minimum: float | None = None
    """Least and greatest of what is not NaN; None when there is none."""
    maximum: float | None = None
    mean: float | None = None
    """Mean, std (unbiased, as `torch.std`; None for one element) and L2 norm are NaN or inf where torch's are."""
    std: float | None = None
    norm: float | None = None
    """None where it makes no sense: integers, bools."""
    zeros: int = 0
    nans: int = 0
    infs: int = 0
    rms: float = 0.0
    """Root of the mean square of the finite elements that are not zero; 0 without any."""
    histogram: Histogram | None = None

    @property
    def greatest(self) -> float:
        """The greatest finite magnitude, as far as the ends tell; 0 for none."""
        ends = [abs(end) for end in (self.minimum, self.maximum) if end is not None and end - end == 0]
        return max(ends, default=0.0)


class Pair(Struct, frozen=True):
    """The two points that a difference is between."""

    first: str
    """What the first is called: `main`, `stop 12`."""
    second: str
    first_stop: int
    second_stop: int
    missing: Literal["", "first", "second"] = ""
    """The point at which there is no such tensor: what is seen are the values of the other."""
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
    """How to draw it; `none` when there is nothing to draw, and `note` says why."""
    top: int = 0
    left: int = 0
    row_labels: tuple[str, ...] = ()
    """Index of each row in the whole tensor, e.g. `3` (a vector has a row for each element)."""
    column_labels: tuple[str, ...] = ()
    """Index of each column; empty for a vector."""
    value: Window | None = None
    grad: Window | None = None
    """None when `.grad` is None, when there is no `.grad`; `grad_state` says which."""
    grad_state: str = ""
    statistics: Statistics | None = None
    """Of the quantity seen, over the selected slice, not of the window and not of the whole tensor."""
    grad_statistics: Statistics | None = None
    note: str = ""
    place: tuple[int | None, ...] = ()
    """Where the window lies in the whole tensor: an index for each dimension, None for those that it spreads over."""
    would: tuple[float, ...] | None = None
    """What a step would make of each row of a vector; None where that is not known, and just after a step."""
    axes: tuple[Axis, ...] = ()
    """The dimensions that the slice keeps."""
    dims: tuple[int, ...] = ()
    """Which of them are rows and columns; one for a vector, none for a number."""
    quantity: Quantity = "value"
    """What the numbers are; `value` also where no change is known."""
    due: bool = False
    """True when statistics were left for the second time of asking."""
    grad_gone: bool = False
    """True when the last phase took `.grad` away: it is None now and was not before."""
    no_grad: str = ""
    """Why a parameter has no `.grad`: how one comes to be, or why the last backward left none."""
    pair: Pair | None = None
    """The points that `value` is the difference of: its `before` is the first, its `now` the second; else None."""


class PlaceView(Struct, frozen=True, tag=True):
    """Where an extreme of the selected slice is."""

    stop: int
    name: str
    """What was searched, e.g. `2.weight[0, 0:10]`, or that with `.grad`."""
    extreme: Extreme
    index: tuple[int, ...] | None = None
    """An index into the whole tensor; None when there is no such element, and `why` says so."""
    value: float | None = None
    """What is there; for `change` by how much it changed."""
    why: str = ""


TensorRequest: TypeAlias = LookTensor | LookPlace
TensorAnswer: TypeAlias = TensorView | PlaceView
