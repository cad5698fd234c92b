"""Weights and gradients that the script writes itself, outside of the phases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from gradstep.engine.bits import same_bits
from gradstep.engine.observe.functions import unobserved


class Written(NamedTuple):
    """The names of what was written between the end of a phase and the beginning of the next."""

    weights: tuple[str, ...] = ()
    grads: tuple[str, ...] = ()
    """The parameters whose `.grad` was written or replaced, and is not cleared."""
    to_none: tuple[str, ...] = ()
    """The parameters whose `.grad` was set to None."""
    to_zeros: tuple[str, ...] = ()
    """The parameters whose `.grad` was filled with zeros."""


_NOTHING = Written()


class Writes:
    """Finds what was written between the end of a phase and the beginning of the next.

    A write through `.data` leaves the version counter as it is: where there is no optimizer, contents are compared.
    """

    def __init__(self) -> None:
        self._names: Mapping[Tensor, str] = {}
        self._seen: list[tuple[Tensor, int, Tensor | None, int]] = []
        self._copies: Mapping[str, Tensor] = {}

    def mark(self, names: Mapping[Tensor, str], copies: Mapping[str, Tensor] | None = None) -> None:
        """Note the parameters as they are now.

        Args:
            names: the parameters.
            copies: their contents, by name, where those are to be compared.
        """
        self._names, self._copies = names, copies or {}
        self._seen = [(each, each._version, g := each.grad, 0 if g is None else g._version) for each in names]

    def touched(self) -> tuple[str, ...]:
        """Return the parameters whose `.grad` was written or replaced since `mark`."""
        now = ((weight, weight.grad, old, version) for weight, _, old, version in self._seen)
        differing = (
            weight for weight, g, old, version in now if g is not old or (g is not None and g._version != version)
        )
        return tuple([self._names[weight] for weight in differing])

    def found(self) -> Written:
        """Return what was written since `mark`; the next call finds nothing before another `mark`."""
        if not self._seen:
            return _NOTHING
        names, seen, copies, self._seen, self._copies = self._names, self._seen, self._copies, [], {}
        weights = [
            names[weight]
            for weight, version, _, _ in seen
            if weight._version != version or (copies and _differs(weight, copies, names[weight]))
        ]
        grads: list[str] = []
        to_none: list[str] = []
        to_zeros: list[str] = []
        for weight, _, grad, version in seen:
            now = weight.grad
            if _is_other(now, grad, version):
                (to_none if now is None else grads if _any(now) else to_zeros).append(names[weight])
        return Written(tuple(weights), tuple(grads), tuple(to_none), tuple(to_zeros))


def _is_other(now: Tensor | None, grad: Tensor | None, version: int) -> bool:
    return now is not grad or (now is not None and now._version != version)


def _differs(weight: Tensor, copies: Mapping[str, Tensor], name: str) -> bool:
    return name in copies and not same_bits(weight.detach(), copies[name])


def _any(grad: Tensor) -> bool:
    """Return whether any element is not zero."""
    with unobserved():
        return grad.is_sparse or grad.is_meta or bool(grad.detach().any())
