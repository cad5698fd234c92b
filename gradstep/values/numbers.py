"""Formatting of numbers: with sign, with equal decimals down a column, NaN and inf by name."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

MINUS = "−"


class Form(NamedTuple):
    """The format of a column of numbers."""

    decimals: int
    scientific: bool = False


def form_of(values: Iterable[float | None], dtype: str = "", digits: int = 4) -> Form:
    """Choose one format for a column: about `digits` decimals for its largest value.

    Args:
        values: the column; None, NaN and inf are ignored.
        dtype: integers and bools get no decimals.
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
    # small numbers get more decimals, so that the largest keeps three significant digits
    return Form(max(1, digits + 1 - max(1, whole), 3 - whole))


def form_scale(greatest: float, visible: Iterable[float | None], digits: int = 4) -> float:
    """Return the magnitude to choose a form for: the largest, or that of the visible numbers if all would round to 0.

    Of the gradient of a large embedding, only the rows of the tokens in the batch come near the largest.
    """
    seen = max((abs(v) for v in visible if v is not None and math.isfinite(v)), default=0.0)
    form = form_of([greatest], digits=digits)
    return seen if not form.scientific and 0 < seen < 0.5 * 10.0**-form.decimals else greatest


def signed(value: float | None, form: Form) -> str:
    """Return a number with its sign; an exact zero is a bare 0, None a middle dot."""
    if value is None:
        return "·"
    if value == 0:
        return _sign(value) + "0"
    if not math.isfinite(value):
        return _not_finite(value, sign=True)
    return _sign(value, "+") + _digits(abs(value), form)


def tone_of(value: float | None) -> str:
    """Return the tone of a number: blue below zero, orange above, reverse when not finite."""
    if value is None or value == 0:
        return "dim"
    if not math.isfinite(value):
        return "odd"
    return "negative" if value < 0 else "positive"


def written(value: float, decimals: int, least: float, most: float, mantissa: int, sign: bool = False) -> str:
    """Return a single number as text.

    Args:
        value: the number.
        decimals: digits after the point.
        least: non-zero numbers below this get an exponent.
        most: numbers from here on get an exponent.
        mantissa: digits after the point with an exponent.
        sign: whether a plus is written.
    """
    if not math.isfinite(value):
        return _not_finite(value, sign)
    scientific = value != 0 and not least <= abs(value) < most
    return _sign(value, "+" * sign) + _digits(abs(value), Form(mantissa if scientific else decimals, scientific))


def norm(value: float | None, decimals: int = 3) -> str:
    """Return a norm as text; an exact zero is a bare 0, None is empty."""
    if value is None:
        return ""
    return "0" if value == 0 else written(value, decimals, 0.5 * 10.0**-decimals, 1e6, max(1, decimals - 1))


def loss(value: float | None, sign: bool = False) -> str:
    """Return a loss as text, or with `sign` a change of it; empty for None."""
    return "" if value is None else written(value, 4, 1e-3, 1e7, 4, sign)


def single(value: float | None, dtype: str = "", digits: int = 4, plus: bool = True) -> str:
    """Return a single element or statistic as text; with `plus`, positive ones get a sign, too."""
    text = signed(value, form_of([value], dtype, digits))
    return text if plus else text.removeprefix("+")


def short(value: float, digits: int = 6) -> str:
    """Return a number with at most `digits` significant digits, as for a learning rate: 0.001, 3e−05."""
    return f"{value:.{digits}g}".replace("-", MINUS)


def shape(sizes: tuple[int, ...] | None) -> str:
    """Return a shape as text: `256×784`, `()` for a scalar; `j` for -1, a jagged dimension."""
    if sizes is None:
        return ""
    return "×".join("j" if each < 0 else str(each) for each in sizes) if sizes else "()"


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun: `1 node`, `12 nodes`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return a list of at most `most` names as text: `a, b and c`, `a, b, c and 4 more`."""
    shown = [*names[:most], *([f"{len(names) - most:,} more"] if len(names) > most else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""


def size(count: int) -> str:
    """Return a number of bytes with three digits: `640 B`, `16 KiB`, `1.25 MiB`."""
    if count < 1024:
        return f"{count} B"
    value, unit = count / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if value < 1000:
            break
        value, unit = value / 1024, larger
    return f"{value:.3g} {unit}"


def read_bytes(text: str) -> int:
    """Parse a number of bytes: `1GiB`, `512 MiB`, `200MB`, `4096`; `off` is 0.

    Raises:
        ValueError: it is not a number of bytes; the message says so.
    """
    if text.strip().lower() == "off":
        return 0
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(i?)B?|B)?", text.strip(), re.IGNORECASE)
    if not found:
        raise ValueError(f"{text!r} is not a number of bytes: write 1GiB, 512MiB, or off")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** (" KMGT".index(unit.upper()) if unit else 0))


def read_share(text: str) -> float:
    """Parse a share: `20%` is 0.2; `off`, no limit, is infinity.

    Raises:
        ValueError: it is not a share; the message says so.
    """
    if text.strip().lower() == "off":
        return math.inf
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a share: write 20%, or off")
    return float(found[1]) / 100


def _sign(value: float, plus: str = "") -> str:
    return MINUS if math.copysign(1.0, value) < 0 else plus


def _not_finite(value: float, sign: bool) -> str:
    return "NaN" if math.isnan(value) else _sign(value, "+" * sign) + "inf"


def _digits(value: float, form: Form) -> str:
    if form.scientific:
        return f"{value:.{form.decimals}e}".replace("e-", f"e{MINUS}")
    return f"{value:.{form.decimals}f}"
