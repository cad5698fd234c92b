"""How Tensor displays its view: as numbers or a heat map, scrolled to where, and in which number forms."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from gradstep.tui.keys.keyboard import DEFAULT_KEYS, Keyboard
from gradstep.tui.render import heat
from gradstep.tui.render.lines import clean
from gradstep.values import numbers
from gradstep.values.numbers import Form
from gradstep.values.views.tensor import Pair, Statistics, TensorView, Window

WORDS = {"value": "", "change": "change of ", "ratio": "change ÷ before of "}


class NumberColumn(NamedTuple):
    """The form of the numbers of a column, and their maximum width in cells."""

    form: Form
    width: int

    def text(self, value: float | None) -> str:
        """Write a number; a middle dot for None."""
        return numbers.signed(value, self.form)


class StableForms:
    """Keeps the form of each column, so that numbers don't move while values change a little."""

    def __init__(self) -> None:
        self._of = ""
        self._decades: dict[str, int] = {}
        self._scales: dict[str, tuple[float, str]] = {}

    def follow(self, view: TensorView) -> None:
        """Reset if the view shows something else."""
        pair = (view.pair.first, view.pair.second) if view.pair is not None else ""
        of = f"{view.path} {view.quantity} {view.dtype} {pair}"
        if of != self._of:
            self._of, self._decades, self._scales = of, {}, {}

    def column(self, name: str, greatest: float, dtype: str, digits: int) -> NumberColumn:
        """Return the form of a column, given its current largest magnitude.

        A form is kept until a number is too long for it, or two digits shorter than it could be.
        """
        if greatest > 0:
            decade = math.floor(math.log10(greatest))
            kept = self._decades.get(name)
            if kept is None or not kept - 1 <= decade <= kept:
                kept = self._decades[name] = decade
            greatest = 2 * 10.0**kept
        form = numbers.form_of([greatest], dtype, digits)
        return NumberColumn(form, max(4, len(numbers.signed(-greatest if greatest else -1.0, form))))

    def scale(self, name: str, known: Statistics | None, seen: Iterable[float]) -> tuple[float, str]:
        """Return the magnitude of the deepest shade of a heat map, and what it is."""
        if known is not None:
            self._scales[name] = heat.scale_of(known.greatest, known.rms)
        return self._scales.get(name) or (peak(None, seen), "max shown")


class Side(NamedTuple):
    """One of the tensors shown side by side: a tensor and its `.grad`, or two tensors and their difference."""

    name: str
    window: Window | None
    """Its window; None if there is no such tensor."""
    known: Statistics | None
    state: str = ""
    """The text after the name: the state of `.grad`."""
    instead: str = "none"
    """The text in place of the numbers, if there are none."""


class Display(NamedTuple):
    """How to draw a view."""

    forms: StableForms
    spot: tuple[int, int] | None = None
    """Row and column of the slice under the cursor."""
    first: int = 0
    """The row of the slice at the top of the window; `left` is the column at its left."""
    left: int = 0
    heat: bool = False
    block: bool = False
    """True to show all statistics of the slice below the numbers."""
    keyboard: Keyboard = DEFAULT_KEYS


def peak(known: Statistics | None, seen: Iterable[float]) -> float:
    """Return the largest finite magnitude of a slice; until its statistics arrive, that of the visible part."""
    if known is not None:
        return known.greatest
    return max((abs(value) for value in seen if math.isfinite(value)), default=0.0)


def dtype_of(view: TensorView) -> str:
    """Return the dtype of the numbers shown; empty for ratios, which are not integers."""
    return "" if view.quantity == "ratio" else view.dtype


def own_name(view: TensorView) -> str:
    """Return the title of the first column."""
    return WORDS[view.quantity] + (clean(view.path.rsplit(".", 1)[-1]) or "value")


def sides_of(view: TensorView) -> list[Side]:
    """Return the sides shown; a difference comes last."""
    if view.pair is not None:
        return _pair_sides(view, view.pair)
    own = Side(own_name(view), view.value, view.statistics)
    if view.grad is None and not view.grad_state:
        return [own]
    return [own, Side(".grad", view.grad, view.grad_statistics, view.grad_state, clean(view.no_grad) or "none")]


def _pair_sides(view: TensorView, pair: Pair) -> list[Side]:
    """Return both tensors and their difference; if one is missing, the values are the other's."""
    # no element is marked as changed
    seen = None if view.value is None else replace(view.value, changed=())
    first, second, moved = seen, seen, None
    if not pair.missing and seen is not None:
        assert seen.before is not None
        assert seen.now is not None
        first, second, moved = Window(seen.before), Window(seen.now), seen
    return [
        Side(pair.first, None if pair.missing == "first" else first, pair.first_statistics),
        Side(pair.second, None if pair.missing == "second" else second, pair.second_statistics),
        Side(difference_name(view, pair), moved, None if pair.missing else view.statistics, instead="no difference"),
    ]


def difference_name(view: TensorView, pair: Pair) -> str:
    """Return the title of a difference: `slow − main`, or of the relative one."""
    name = f"{clean(pair.second)} − {clean(pair.first)}"
    return f"({name}) ÷ {clean(pair.first)}" if view.quantity == "ratio" else name


def cells_of(window: Window | None) -> list[list[float | None]]:
    """Return the numbers of a window, row by row; None where there is none."""
    if window is None:
        return []
    if not window.absent:
        return [list(row) for row in window.values]
    pairs = zip(window.values, window.absent, strict=True)
    return [[None if gone else value for value, gone in zip(*pair, strict=True)] for pair in pairs]


def value_at(window: Window | None, i: int, j: int) -> float | None:
    """Return a number of a window; None for none."""
    cells = cells_of(window)
    return cells[i][j] if 0 <= i < len(cells) and 0 <= j < len(cells[i]) else None


def flat(window: Window | None) -> list[float]:
    """Return the numbers of a window."""
    return [] if window is None else [value for row in window.values for value in row]
