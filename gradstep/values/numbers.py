"""Numbers as everywhere: sign always, the same decimals down a column, NaN and inf by name."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

MINUS = "−"


class Form(NamedTuple):
    """How a column of numbers is written."""

    decimals: int
    scientific: bool = False


def form_of(values: Iterable[float | None], dtype: str = "", digits: int = 4) -> Form:
    """Choose one form for a column: about `digits` digits after the point for its greatest value.

    Args:
        values: the column; None, NaN and inf have no say.
        dtype: integers and bools are written without a point.
        digits: decimals of numbers below 10.
    """
    if dtype.startswith(("int", "uint", "bool")):
        return Form(0)
    greatest = max((abs(v) for v in values if v is not None and math.isfinite(v)), default=0.0)
    if greatest == 0.0:
        return Form(digits)
    if greatest >= 1e5 or greatest < 1e-4:
        return Form(max(1, digits - 1), scientific=True)
    whole = math.floor(math.log10(greatest)) + 1
    # small numbers get more decimals, or less than three digits would be left of the greatest
    return Form(max(1, digits + 1 - max(1, whole), 3 - whole))


def signed(value: float | None, form: Form) -> str:
    """Write a number with its sign; an exact zero is a bare 0, no number at all a middle dot."""
    if value is None:
        return "·"
    if value == 0:
        return _sign(value) + "0"
    if not math.isfinite(value):
        return _not_finite(value, sign=True)
    return _sign(value, "+") + _digits(abs(value), form)


def tone_of(value: float | None) -> str:
    """Name the tone of a number: blue below zero, orange above, reverse when it is not finite."""
    if value is None or value == 0:
        return "dim"
    if not math.isfinite(value):
        return "odd"
    return "negative" if value < 0 else "positive"


def written(value: float, decimals: int, least: float, most: float, mantissa: int, sign: bool = False) -> str:
    """Write a number that stands by itself.

    Args:
        value: the number.
        decimals: digits behind the point.
        least: what is smaller, and no zero, is written with an exponent.
        most: from here on it is, too.
        mantissa: digits behind the point where there is an exponent.
        sign: whether a plus is written.
    """
    if not math.isfinite(value):
        return _not_finite(value, sign)
    scientific = value != 0 and not least <= abs(value) < most
    return _sign(value, "+" * sign) + _digits(abs(value), Form(mantissa if scientific else decimals, scientific))


def norm(value: float | None, decimals: int = 3) -> str:
    """Write a norm, of which an exact zero is a bare 0; empty when there is none."""
    if value is None:
        return ""
    return "0" if value == 0 else written(value, decimals, 0.5 * 10.0**-decimals, 1e6, max(1, decimals - 1))


def loss(value: float | None, sign: bool = False) -> str:
    """Write a loss, or a change of it with its sign; empty when there is none."""
    return "" if value is None else written(value, 4, 1e-3, 1e7, 4, sign)


def single(value: float | None, dtype: str = "", digits: int = 4, plus: bool = True) -> str:
    """Write one element or statistic by itself; `plus` puts a sign before positive ones too."""
    text = signed(value, form_of([value], dtype, digits))
    return text if plus else text.removeprefix("+")


def short(value: float, digits: int = 6) -> str:
    """Write a number with at most `digits` significant digits: 0.001, 3e−05, as of a learning rate or a comparison."""
    return f"{value:.{digits}g}".replace("-", MINUS)


def shape(sizes: tuple[int, ...] | None) -> str:
    """Write a shape: `256×784`, and `()` for a scalar; `j` for -1, a dimension whose size differs from row to row."""
    if sizes is None:
        return ""
    return "×".join("j" if each < 0 else str(each) for each in sizes) if sizes else "()"


def count(number: int, noun: str, plural: str = "") -> str:
    """Write a count with its noun: `1 node`, `12 nodes`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """Write names as a list of at most `most`: `a, b and c`, `a, b, c and 4 more`; empty for none."""
    shown = [*names[:most], *([f"{len(names) - most:,} more"] if len(names) > most else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""


def size(count: int) -> str:
    """Write a number of bytes with three digits: `640 B`, `16 KiB`, `1.25 MiB`."""
    if count < 1024:
        return f"{count} B"
    value, unit = count / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if value < 1000:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g} {unit}"


def read_bytes(text: str) -> int:
    """Read a number of bytes: `1GiB`, `512 MiB`, `200MB`, `4096`; `off` is none.

    Raises:
        ValueError: it is no number of bytes; the text says so.
    """
    if text.strip().lower() == "off":
        return 0
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(i?)B?|B)?", text.strip(), re.IGNORECASE)
    if not found:
        raise ValueError(f"{text!r} is no number of bytes: write 1GiB, 512MiB, or off")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** (" KMGT".index(unit.upper()) if unit else 0))


def _sign(value: float, plus: str = "") -> str:
    return MINUS if math.copysign(1.0, value) < 0 else plus


def _not_finite(value: float, sign: bool) -> str:
    return "NaN" if math.isnan(value) else _sign(value, "+" * sign) + "inf"


def _digits(value: float, form: Form) -> str:
    if form.scientific:
        return f"{value:.{form.decimals}e}".replace("e-", f"e{MINUS}")
    return f"{value:.{form.decimals}f}"
