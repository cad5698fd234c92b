"""Where two runs part, how far two tensors are apart, and what counts as apart; and all of it in words."""

from __future__ import annotations

from msgspec import Struct

from gradstep.values.numbers import count, short

DTYPES = ("float16", "bfloat16", "float32", "float64")
"""What the floating point numbers of a workload can be cast to."""
_FEW = 1000
"""Units in the last place up to which their number says more than the relative difference."""


class Tolerance(Struct, frozen=True):
    """What is let pass, as by `torch.testing.assert_close`: |second - first| <= atol + rtol * |first|.

    NaN equals NaN. Without one, bits are compared.
    """

    rtol: float | None = None
    """None, both of them, for what `assert_close` takes for the dtypes compared."""
    atol: float | None = None
    dtypes: tuple[str, ...] = ()
    """The dtypes that the two sides compute in, where they are told: the coarser one holds for every tensor."""


class TensorDifference(Struct, frozen=True):
    """How far two tensors of one name are apart: second minus first."""

    name: str
    what: str = ""
    """Why there is no number: one is not there, or of another shape."""
    largest: float | None = None
    """The greatest difference of one element, without its sign; NaN where one side alone has a NaN there."""
    at: tuple[int, ...] = ()
    """Where that is, and what stands there in both."""
    first: float | None = None
    second: float | None = None
    ulps: int | None = None
    """The difference there in units in the last place; None where there are none, as between two dtypes."""
    relative: float | None = None
    """The norm of the difference over the norm of the first."""
    differing: int = 0
    """Elements that are apart."""
    elements: int = 0
    rtol: float | None = None
    """What was let pass; None, both of them, where bits were compared."""
    atol: float | None = None


class FirstDifference(Struct, frozen=True):
    """The first command after which two runs are apart."""

    lines: tuple[str, str]
    """The command on each side, as a line; empty for a side that has none beside the other's."""
    places: tuple[str, str]
    """Where each stands: `a.steps:4`, `stop 12 of main`."""
    iteration: int
    tensor: TensorDifference | None
    """The first tensor of the state that is apart; None where only what passed inside is."""
    inside: TensorDifference | None = None
    """The first that came out of a module of the forward, or arrived at a node of the backward."""


class RunComparison(Struct, frozen=True):
    """What came of running two sides one beside the other."""

    names: tuple[str, str]
    passed: int
    """Commands after which they were the same."""
    parting: FirstDifference | None = None
    otherwise: tuple[str, ...] = ()
    """What one side did otherwise before they parted, in words."""
    goes_on: str = ""
    """The side that has more commands, and the first of them; empty where both end."""
    fork: int = 0
    """The stop from which on they were compared; 0 for the beginning."""
    tolerance: Tolerance | None = None
    """What was let pass; None where bits were compared."""


class FileComparison(Struct, frozen=True):
    """In what two files differ."""

    names: tuple[str, str]
    tensors: tuple[TensorDifference, ...]
    """Those that are apart, in the order of the files."""
    others: tuple[str, ...]
    """What differs that is no tensor, in words."""
    same: int
    """Tensors that are the same."""


_TOLD = 3
"""Lines that are said of what one side did otherwise."""


# -- in words ----------------------------------------------------------------------------------------------------------
def difference_words(apart: TensorDifference) -> str:
    """Return how far a tensor is apart."""
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
    """Return where two sides part, or that they do not."""
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
    before = f"{same}, then they part at" if sides.passed else f"they part at once{since}, at"
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
    """Return in what two files differ: the first tensors, `most` of them."""
    if not kept.tensors and not kept.others:
        return f"the same: {count(kept.same, 'tensor')} and all else"
    total = len(kept.tensors) + kept.same
    lines = [f"{len(kept.tensors)} of {count(total, 'tensor')} differ"]
    lines[0] += f", and {count(len(kept.others), 'other thing')}:" if kept.others else ""
    lines += [f"  {line}" for line in kept.others]
    for place, apart in enumerate(kept.tensors[:most]):
        first = "first: " if not place and len(kept.tensors) > 1 else ""
        lines.append(f"  {first}{apart.name} {difference_words(apart)}")
    if len(kept.tensors) > most:
        lines.append(f"  and {len(kept.tensors) - most} more: --json has all of them")
    return "\n".join(lines)


def tolerance_words(tolerance: Tolerance) -> str:
    """Return what is let pass."""
    if tolerance.rtol is None and tolerance.atol is None:
        return "within the tolerances of torch.testing.assert_close for the dtypes compared"
    return f"within rtol {tolerance.rtol or 0:g}, atol {tolerance.atol or 0:g}"
