"""Columns of slots: what a layout is made of."""

from __future__ import annotations

from typing import NamedTuple


class Slot(NamedTuple):
    """A part of a column: its weight when the height is shared out, and the panels that are its tabs."""

    weight: int
    names: tuple[str, ...]

    @property
    def key(self) -> str:
        """The key that its size is stored under: its first panel that is always available."""
        return next((name for name in self.names if name not in ("script", "output")), "script")


class Column(NamedTuple):
    """A column: its share of the width, its minimum and maximum width in cells, and its slots from the top."""

    share: float
    least: int
    most: int
    slots: tuple[Slot, ...]


def column(share: float, least: int, most: int, *slots: str) -> Column:
    """Return a column; a slot is written as its weight and its panels, the initial tab first: `1 graph *`."""
    rows = [slot.split() for slot in slots]
    return Column(share, least, most, tuple(Slot(int(weight), tuple(names)) for weight, *names in rows))


def rest(*slots: str) -> Column:
    """Return a column that takes the remaining width."""
    return column(1.0, 1, 1 << 20, *slots)


class Layout(NamedTuple):
    """The columns for each size class, and the panel that has the focus initially.

    A *narrow* screen has fewer than 70 columns, a *slim* one fewer than 100 columns or 34 rows, a *wide* one at least
    170 columns. Why is above the columns in all of them. Panels that no slot names are tabs of the slot with `*`.
    `script` is left out while no `.steps` script is open, `output` and `stack` without a training script, and so is a
    slot with nothing else.
    """

    focus: str
    narrow: tuple[Column, ...]
    slim: tuple[Column, ...]
    roomy: tuple[Column, ...]
    wide: tuple[Column, ...]
    matrix: tuple[Column, ...] = ()
    """Used instead of `wide` when Tensor shows a matrix, which needs more width."""
