"""The blocks of a sheet: the layout of a view, before it is drawn as text or HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from gradstep.values import numbers

Tone: TypeAlias = Literal["", "dim", "bright", "odd", "bad", "good"]
"""`odd` is for NaN and inf."""


class Cell(NamedTuple):
    """A cell of a table. The text may contain strings of the debuggee; it is escaped when drawn."""

    text: str = ""
    tone: Tone = ""
    heat: float = 0.0
    """From −1 to 1: the value divided by the greatest magnitude in the table."""
    bar: float | None = None
    """The length of a bar in place of the text, as a share of the cell from 0 to 1."""


class Table(NamedTuple):
    """Rows of cells below a header."""

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left: tuple[int, ...] = (0,)
    """Columns that are left-aligned."""
    title: str = ""
    here: int = -1
    """The marked row, -1 for none."""


class Beside(NamedTuple):
    """Tables side by side if there is room."""

    tables: tuple[Table, ...]


class Words(NamedTuple):
    """A paragraph."""

    text: str
    tone: Tone = ""


class Preformatted(NamedTuple):
    """Lines in a monospaced font, with their whitespace."""

    lines: tuple[str, ...]


class Picture(NamedTuple):
    """An image: escaped SVG or `img` for HTML, and lines that replace it in plain text."""

    html: str
    lines: tuple[str, ...]


Block: TypeAlias = Table | Beside | Words | Preformatted | Picture


class Sheet(NamedTuple):
    """The layout of a view: a title, a subtitle, and blocks from top to bottom; without a title only the blocks."""

    title: str
    about: str
    blocks: tuple[Block, ...]


def heat_cell(value: float | None, form: numbers.Form, most: float) -> Cell:
    """Return a number as a cell whose heat is its share of the greatest magnitude, `most`."""
    if value is None:
        return Cell("·", "dim")
    if value - value != 0:
        return Cell(numbers.signed(value, form), "odd")
    return Cell(numbers.signed(value, form), "dim" if value == 0 else "", value / most if most else 0.0)


def greatest(values: Sequence[float | None]) -> float:
    """Return the greatest finite magnitude, 0 for none."""
    return max((abs(v) for v in values if v is not None and v - v == 0), default=0.0)


def norm_cell(value: float | None) -> Cell:
    """Return a norm as a cell."""
    return Cell(numbers.norm(value), "odd" if value is not None and value - value != 0 else "")
