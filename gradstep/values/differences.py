"""Differences of tensors, runs and saved states, tolerances, and all of them as text."""

from __future__ import annotations

from msgspec import Struct

from gradstep.values.numbers import count, short

DTYPES = ("float16", "bfloat16", "float32", "float64")
"""The dtypes that a workload can be cast to."""
_FEW = 1000
"""Differences of fewer ulps than this are also given in ulps."""


class Tolerance(Struct, frozen=True):
    """Differences to ignore, as in `torch.testing.assert_close`: |second - first| <= atol + rtol * |first|.

    NaN equals NaN. Without a tolerance, bits are compared.
    """

    rtol: float | None = None
    """None, with `atol`, for the defaults of `assert_close` for the dtypes compared."""
    atol: float | None = None
    dtypes: tuple[str, ...] = ()
    """The dtypes that the two sides were cast to, if any: the less precise one sets the defaults for every tensor."""


class TensorDifference(Struct, frozen=True):
    """The difference of two tensors of one name, second minus first."""

    name: str
    what: str = ""
    """Why there is no number: a tensor is missing or the shapes differ."""
    largest: float | None = None
    """The largest absolute difference of an element; NaN where only one side has a NaN."""
    at: tuple[int, ...] = ()
    """The index of that element; `first` and `second` are its values."""
    first: float | None = None
    second: float | None = None
    ulps: int | None = None
    """That difference in units in the last place; None where undefined, as between two dtypes."""
    relative: float | None = None
    """Norm of the difference divided by the norm of the first."""
    differing: int = 0
    """Number of elements that differ."""
    elements: int = 0
    rtol: float | None = None
    """The tolerance; None, with `atol`, where bits were compared."""
    atol: float | None = None


class FirstDifference(Struct, frozen=True):
    """The first command after which two runs differ."""

    lines: tuple[str, str]
    """The command on each side, as a line; empty for a side without a counterpart."""
    places: tuple[str, str]
    """The location of each: `a.steps:4`, `stop 12 of main`."""
    iteration: int
    tensor: TensorDifference | None
    """The first tensor of the state that differs; None when only tensors inside the phase differ."""
    inside: TensorDifference | None = None
    """The first module output of the forward, or gradient that arrived at a node of the backward, that differs."""


class RunComparison(Struct, frozen=True):
    """The result of running two sides in parallel."""

    names: tuple[str, str]
    passed: int
    """Number of commands after which both were the same."""
    parting: FirstDifference | None = None
    otherwise: tuple[str, ...] = ()
    """How the sides' commands differed before they diverged, as text."""
    goes_on: str = ""
    """The side that has more commands, and the first of them; empty when both end."""
    fork: int = 0
    """The stop from which they were compared; 0 for the start."""
    tolerance: Tolerance | None = None
    """The tolerance; None where bits were compared."""


class FileComparison(Struct, frozen=True):
    """The differences of two saved states."""

    names: tuple[str, str]
    tensors: tuple[TensorDifference, ...]
    """Tensors that differ, in file order."""
    others: tuple[str, ...]
    """Differences that are not tensors, as text."""
    same: int
    """Number of tensors that are the same."""


_TOLD = 3
"""Most lines printed of `otherwise`."""


# -- as text -----------------------------------------------------------------------------------------------------------
def difference_words(apart: TensorDifference) -> str:
    """Return the difference of a tensor as text."""
    if apart.largest is None:
        return f"differs: {apart.what}"
    words = f"differs by up to {short(apart.largest, 3)}"
    if apart.elements > 1:
        words += f" at {list(apart.at)}"
    if apart.first is not None and apart.second is not None:
        words += f" ({short(apart.first, 9)} and {short(apart.second, 9)}{_ulps(apart.ulps)})"
    if apart.elements > 1:
        if apart.relative is not None:
            words += f", {short(apart.relative, 3)} of its norm"
        words += f"; {apart.differing:,} of {count(apart.elements, 'element')}"
    return words + _beyond(apart)


def _ulps(ulps: int | None) -> str:
    return f", {count(ulps, 'ulp')}" if ulps is not None and ulps < _FEW else ""


def _beyond(apart: TensorDifference) -> str:
    return "" if apart.rtol is None else f", beyond rtol {apart.rtol:g}, atol {apart.atol:g}"


def comparison_words(sides: RunComparison) -> str:
    """Return where two sides diverge, or that they do not."""
    parting = sides.parting
    since = f" from stop {sides.fork} on" if sides.fork else ""
    same = f"the same for {count(sides.passed, 'command')}{since}"
    shown = [*sides.otherwise[:_TOLD], *(["and more"] if len(sides.otherwise) > _TOLD else [])]
    if parting is None and not sides.passed and sides.fork:
        return f"the same up to stop {sides.fork}; then {sides.goes_on}" if sides.goes_on else "this is the same stop"
    if parting is None:
        same += f", {tolerance_words(sides.tolerance)}" if sides.tolerance is not None else ""
        return "\n".join([same + (f"; then {sides.goes_on}" if sides.goes_on else ""), *shown])
    line = next(filter(None, parting.lines))
    places = ", ".join(dict.fromkeys(filter(None, parting.places)))
    before = f"{same}, then they diverge at" if sides.passed else f"they diverge at once{since}, at"
    lines = [f"{before} `{line}` ({places})", *shown]
    let_pass = "" if sides.tolerance is None else f", {tolerance_words(sides.tolerance)}"
    if parting.tensor is not None:
        lines.append(f"  iteration {parting.iteration}: {parting.tensor.name} {difference_words(parting.tensor)}")
    else:
        lines.append(f"  iteration {parting.iteration}: the state after it is the same" + let_pass)
    if parting.inside is not None:
        lines.append(f"  first inside it: {parting.inside.name} {difference_words(parting.inside)}")
    return "\n".join(lines)


def file_comparison_words(kept: FileComparison, most: int = 20) -> str:
    """Return the differences of two files as text, with `most` tensors at most."""
    if not kept.tensors and not kept.others:
        return f"the same: {count(kept.same, 'tensor')} and everything else"
    total = len(kept.tensors) + kept.same
    lines = [f"{len(kept.tensors)} of {count(total, 'tensor')} differ"]
    lines[0] += f", and {count(len(kept.others), 'other thing')}:" if kept.others else ""
    lines += [f"  {line}" for line in kept.others]
    for place, apart in enumerate(kept.tensors[:most]):
        first = "first: " if not place and len(kept.tensors) > 1 else ""
        lines.append(f"  {first}{apart.name} {difference_words(apart)}")
    if len(kept.tensors) > most:
        lines.append(f"  and {len(kept.tensors) - most} more: --json lists all")
    return "\n".join(lines)


def tolerance_words(tolerance: Tolerance) -> str:
    """Return a tolerance as text."""
    if tolerance.rtol is None and tolerance.atol is None:
        return "within the tolerances of torch.testing.assert_close for the dtypes compared"
    return f"within rtol {tolerance.rtol or 0:g}, atol {tolerance.atol or 0:g}"
