"""NaN and infinity inside a phase: which op or node makes them, which only passes them on, and which are meant."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from gradstep.engine.autograd.saved_values import saved_values, settings
from gradstep.engine.numbers.nonfinite import FINITE, NotFinite, is_opaque, not_finite
from gradstep.engine.observe.engine_calls import ENGINE_CALLS
from gradstep.engine.stepping.stop_places import StopPlace
from gradstep.engine.tensor_trees import tensors_in

Kind: TypeAlias = Literal["nan", "inf"]
KINDS: tuple[Kind, ...] = ("nan", "inf")
"""What `break nan` and `break inf` are for."""

_UNSET = frozenset({"empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided"})
"""Ops that return memory as it is: what it holds means nothing."""
_FILLS = frozenset(
    {"__setitem__", "copy_", "fill_", "zero_", "masked_fill_", "masked_scatter_", "index_put_", "index_copy_"}
    | {"index_fill_", "scatter_", "put_"}
)
"""Ops that write what they are given into a tensor, and compute nothing from what it held."""
_ELEMENTWISE = frozenset(
    {"add", "radd", "sub", "rsub", "subtract", "mul", "multiply", "div", "rdiv", "truediv", "rtruediv", "divide"}
    | {"true_divide", "reciprocal", "pow", "rpow", "float_power", "square", "sqrt", "rsqrt", "hypot", "lerp", "fmod"}
    | {"exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "xlogy", "logit", "lgamma", "digamma", "remainder"}
    | {"sinh", "cosh", "tan", "asin", "acos", "arcsin", "arccos", "atanh", "acosh", "addcmul", "addcdiv"}
)
"""Elementwise ops: which elements they made non-finite is known."""
_SOFTMAX = frozenset({"softmax", "log_softmax"})


class _Given(NamedTuple):
    """Something that went into an op or node, or that a node kept."""

    name: str
    holds: NotFinite
    tensor: Tensor | None = None
    """None for a number."""


class NonFiniteWatch:
    """Follows NaN and infinity through a phase, place by place."""

    def __init__(self) -> None:
        self._seen: set[Kind] = set()
        """Kinds that the phase has had: a place that only passes them on does not stop it."""
        self._weight = False
        """True once it has stopped at an infinite weight."""

    def at(self, here: StopPlace, first: bool) -> Mapping[Kind, str]:
        """Return why `break nan` and `break inf` stop at a place, for each that does.

        `nan` stops where a NaN is made, and where arithmetic makes an infinity of finite numbers. An infinity that is
        meant (a mask, a constant) does not stop it, but a NaN made of one does. `inf` stops at every op or node
        that makes an infinity or fills one in. What came into the phase from outside stops once.

        Args:
            here: the place.
            first: True for the first place of the phase.
        """
        if first:
            self._seen.clear()
            self._weight = False
        if here.outputs is None or _base(here) in _UNSET:
            return {}
        outputs = [tensor for _, tensor in tensors_in(here.outputs, "")]
        made = _all_of(outputs)
        if made == FINITE:
            return {}
        found = self._in_module(here, made) if here.kind == "module" else self._found(here, outputs, made)
        self._seen |= {kind for kind in KINDS if made.has(kind)}
        return found

    def _in_module(self, here: StopPlace, made: NotFinite) -> dict[Kind, str]:
        """Report a module that returns a NaN that none of its observed ops made: a compiled or fused one, say."""
        came = _all_of(tensor for _, tensor in tensors_in(here.inputs, ""))
        if not made.nan or came.nan or "nan" in self._seen:
            return {}
        return {"nan": f"{here.path} {here.name} returns nan; its ops were not observed".strip()}

    def _found(self, here: StopPlace, outputs: Sequence[Tensor], made: NotFinite) -> dict[Kind, str]:
        found: dict[Kind, str] = {}
        given = list(_given(here))
        what = here.name if here.number < 0 else f"#{here.number} {here.name}"
        for kind in KINDS:
            if not made.has(kind):
                continue
            word, came = made.word(kind), next((each for each in given if each.holds.has(kind)), None)
            if came is not None and came.tensor is None:
                news, meant = kind == "inf" or kind not in self._seen, True
                text = f"{what} gives {word}: {came.name} is {came.holds.word(kind)}"
            elif came is not None and not _is_new(here, outputs, given, kind):
                weight = kind == "inf" and isinstance(came.tensor, nn.Parameter)  # no mask: a step made it so
                news, meant = kind not in self._seen or (weight and not self._weight), not weight
                text = f"{what} gives {word}: {came.holds.word(kind)} came in with {came.name}"
                self._weight |= weight
            elif (here.name in ENGINE_CALLS and kind in self._seen) or _fills(here):  # one of its nodes made it
                continue
            else:
                computes = here.node is not None or any(each.tensor is not None for each in given)
                news, meant = True, not computes
                text = f"{what} makes {word} of {_material(here, given, kind)}" if computes else f"{what} gives {word}"
            if news:
                found[kind] = text
            if news and kind == "inf" and not meant:
                found.setdefault("nan", text)
        return found


def _given(here: StopPlace) -> Iterator[_Given]:
    """Yield the inputs of an op or node: tensors, non-finite numbers, and what the node saved."""
    one = len(here.inputs) == 1
    named = [(f"{here.kind}.in" if one else f"{here.kind}.in[{i}]", each) for i, each in enumerate(here.inputs)]
    for name, value in (*named[_fills(here) :], *here.keywords.items()):
        for path, tensor in tensors_in(value, name):
            written = here.was is not None and tensor is here.inputs[0]  # it holds the result now
            yield _Given(path, here.was if written and here.was is not None else not_finite(tensor), tensor)
        yield from _numbers(name, value)
    if here.node is not None:
        for kept in saved_values(here.node):
            if kept.tensor is not None:
                yield _Given(f"{kept.name}, which it saved", not_finite(kept.tensor), kept.tensor)
        for name, value in settings(here.node).items():
            yield from _numbers(f"{name}, which it saved,", value)


def _numbers(name: str, value: Any, deep: int = 3) -> Iterator[_Given]:
    """Yield the numbers in an argument that are not finite."""
    if isinstance(value, float) and not math.isfinite(value):
        inf = "" if math.isnan(value) else "inf" if value > 0 else "-inf"
        yield _Given(name, NotFinite(not inf, inf))
    elif deep and isinstance(value, (tuple, list)):
        for item in value:
            yield from _numbers(name, item, deep - 1)


def _is_new(here: StopPlace, outputs: Sequence[Tensor], given: Sequence[_Given], kind: Kind) -> bool:
    """Return whether an op makes some of a kind at places where none came in; False where that can't be told."""
    results = {id(output) for output in outputs}
    tensors = [each.tensor for each in given if each.tensor is not None and id(each.tensor) not in results]
    plain = [*outputs, *tensors]
    if (
        here.kind != "op"
        or here.was not in (None, FINITE)
        or _base(here) not in _ELEMENTWISE
        or any(map(_is_odd, plain))
    ):
        return False
    for output in outputs:
        new = _places(output, kind)
        for tensor in tensors:
            if tensor.is_floating_point() or tensor.is_complex():
                new = new & ~_places(tensor, kind)
        if new.shape == output.shape and new.any():
            return True
    return False


def _places(tensor: Tensor, kind: Kind) -> Tensor:
    return tensor.isnan() if kind == "nan" else tensor.isinf()


def _is_odd(tensor: Tensor) -> bool:
    """Return whether the elements of a tensor do not stand where its shape says."""
    return is_opaque(tensor) or tensor.layout is not torch.strided


def _material(here: StopPlace, given: Sequence[_Given], kind: Kind) -> str:
    """Return what a NaN or an infinity was made of."""
    came = next((each for each in given if each.holds.inf), None)
    if came is None or kind == "inf":
        return "finite numbers"
    rows = f": a row of it is {came.holds.inf} throughout" if _has_masked_row(here, came.tensor) else ""
    return f"{came.holds.inf}, which came in with {came.name}{rows}"


def _has_masked_row(here: StopPlace, tensor: Tensor | None) -> bool:
    """Return whether a softmax was given a row of nothing but -inf, which is 0 ÷ 0."""
    dim = here.keywords.get("dim", here.inputs[1] if len(here.inputs) > 1 else None)
    if tensor is None or _base(here) not in _SOFTMAX or not isinstance(dim, int) or _is_odd(tensor):
        return False
    return bool(tensor.isneginf().all(dim).any())


def _fills(here: StopPlace) -> bool:
    """Return whether an op writes what it is given into its first argument, and computes nothing from that."""
    return here.kind == "op" and here.name.rpartition(".")[2] in _FILLS


def _base(here: StopPlace) -> str:
    """Return what an op is called without where it is from, and whether it writes in place."""
    name = here.name.rpartition(".")[2]
    return (name.removeprefix("__i") if name.startswith("__i") else name).strip("_")


def _all_of(tensors: Iterator[Tensor] | Sequence[Tensor]) -> NotFinite:
    """Return what several tensors hold together that is not finite."""
    held = [not_finite(tensor) for tensor in tensors]
    signs = {each.inf for each in held} - {""}
    return NotFinite(any(each.nan for each in held), "" if not signs else "-inf" if signs == {"-inf"} else "inf")
