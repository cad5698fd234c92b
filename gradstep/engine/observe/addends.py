"""The addends of each `.grad`: recorded at AccumulateGrad, after every other hook."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from gradstep.engine.observe.account import Amount, Index
from gradstep.engine.observe.stream import GradientArrives

CAP = 64 << 20
"""Bytes of addends to keep in all. Above it only the selected parameter is recorded; of a larger one, only the selected
element."""
MOST = 256
"""Backwards of one parameter that are kept as separate lines; older ones are folded."""


class AddendsRequest(NamedTuple):
    """The parameter and element that a view shows."""

    name: str
    element: Index


class BackwardAddends(NamedTuple):
    """The effect of one backward on one `.grad`."""

    found: Amount | None
    """`.grad` before the backward, where other code has written it since the last; else None."""
    parts: tuple[Amount, ...]
    most: int
    """How many backwards to keep as separate lines."""


class Addends:
    """Records the addends of each backward."""

    def __init__(self) -> None:
        self.request: AddendsRequest | None = None
        """None until a view asks for the ledger: nothing is recorded before, at no cost."""
        self._seen: dict[str, tuple[weakref.ref[Tensor], int]] = {}
        self._parts: dict[str, list[Amount]] = {}
        self._found: dict[str, Amount | None] = {}
        self._parameters: dict[str, Tensor] = {}
        self._names: dict[Tensor, str] = {}
        self.leaves: list[Tensor] = []
        """The parameters whose addends are recorded."""
        self._most = 1

    def begin(self, parameters: Mapping[Tensor, str]) -> None:
        """Record what the next backward adds to parameters, within `CAP`."""
        self._parameters, self._parts = {}, {}
        self.leaves.clear()
        if self.request is None:
            return
        self._parameters = {name: p for p, name in parameters.items() if p.requires_grad}
        if sum(map(_size, self._parameters.values())) > CAP:
            self._parameters = {name: p for name, p in self._parameters.items() if name == self.request.name}
        every = sum(map(_size, self._parameters.values()))
        self._most = MOST if every > CAP else max(1, min(MOST, CAP // max(1, every)))
        self._parts = {name: [] for name in self._parameters}
        self._found = {name: self._news(name, parameter) for name, parameter in self._parameters.items()}
        self._names = {parameter: name for name, parameter in self._parameters.items()}
        self.leaves += self._parameters.values()

    def arrives(self, event: GradientArrives) -> None:
        """Record one addend."""
        if event.gradient is not None:
            self._parts[self._names[event.leaf]].append(Amount.of(event.gradient, self._element(event.leaf)))

    def so_far(self, name: str) -> tuple[Amount, ...]:
        """Return what the running backward has added to a `.grad`; empty where that is not recorded."""
        return tuple(self._parts.get(name, ()))

    def recorded(self, name: str) -> BackwardAddends | None:
        """Return what the last backward added to a `.grad` that it wrote; None where that was not recorded."""
        if name not in self._parts:
            return None
        grad, hooks = self._parameters[name].grad, self._parameters[name]._post_accumulate_grad_hooks
        if grad is not None and not hooks:  # they run after the sum and may write it
            self._seen[name] = (weakref.ref(grad), grad._version)
        return BackwardAddends(self._found[name], tuple(self._parts[name]), self._most)

    def _news(self, name: str, parameter: Tensor) -> Amount | None:
        """Return `.grad`, unless it is unchanged since the last recorded backward."""
        grad = parameter.grad
        if grad is None:
            return None
        seen = self._seen.get(name)
        if seen is not None and seen[0]() is grad and seen[1] == grad._version:
            return None
        return Amount.of(grad, self._element(parameter))

    def _element(self, parameter: Tensor) -> Index | None:
        return self.request.element if self.request is not None and _size(parameter) > CAP else None


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
