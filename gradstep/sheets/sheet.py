"""The parts of a sheet: the layout of a view, before it is drawn as text or HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from gradstep.values import numbers

Tone: TypeAlias = Literal["", "dim", "bright", "odd", "bad", "good"]
"""`odd` is for NaN and inf, which must stand out."""


class Cell(NamedTuple):
    """A cell of a table. Texts may hold the debuggee's strings; they are escaped when drawn."""

    text: str = ""
    tone: Tone = ""
    heat: float = 0.0
    """From −1 to 1: the value over the greatest magnitude in the table."""
    bar: float | None = None
    """A bar of this share of the cell, 0 to 1, in place of the text."""


class Table(NamedTuple):
    """Rows of cells below a head."""

    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left: tuple[int, ...] = (0,)
    """Columns that are aligned to the left."""
    title: str = ""
    here: int = -1
    """The row that is marked, -1 for none."""


class Beside(NamedTuple):
    """Tables side by side, where there is room."""

    tables: tuple[Table, ...]


class Words(NamedTuple):
    """A paragraph."""

    text: str
    tone: Tone = ""


class Preformatted(NamedTuple):
    """Lines in a monospaced font, drawn exactly as they are."""

    lines: tuple[str, ...]


class Picture(NamedTuple):
    """A picture: SVG or an `img` for HTML, already escaped, and lines that replace it in plain text."""

    html: str
    lines: tuple[str, ...]


Block: TypeAlias = Table | Beside | Words | Preformatted | Picture


class Sheet(NamedTuple):
    """The layout of a view: a title, a subtitle, and its parts from the top; without a title only the parts."""

    title: str
    about: str
    blocks: tuple[Block, ...]


def heat_cell(value: float | None, form: numbers.Form, most: float) -> Cell:
    """Return a number as a cell whose heat is its share of the greatest magnitude beside it."""
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
