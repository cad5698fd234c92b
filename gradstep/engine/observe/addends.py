"""What a backward adds to each `.grad`, as the engine adds it: taken at AccumulateGrad, after every other hook."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.utils.hooks import RemovableHandle

from gradstep.engine.observe.account import Amount, Index

CAP = 64 << 20
"""Bytes that may be kept of addends in all. Above it only the selected parameter is recorded; of one that is larger by
itself, only the selected element."""
MOST = 256
"""Backwards that are kept apart for one parameter; older ones are added up."""


class Wish(NamedTuple):
    """What is looked at: the reason to record at all."""

    name: str
    element: Index


class Recorded(NamedTuple):
    """What one backward did to one `.grad`."""

    found: Amount | None
    """What was there before it, where the account does not know that; None where it does, or there was none."""
    parts: tuple[Amount, ...]
    most: int
    """How many backwards may be kept apart."""


class Addends:
    """Records while its block lasts; the hooks are gone after it, for AccumulateGrad outlives the graph."""

    def __init__(self) -> None:
        self.wish: Wish | None = None
        """None until someone looks: then nothing is recorded, and nothing is paid."""
        self._seen: dict[str, tuple[weakref.ref[Tensor], int]] = {}
        self._handles: list[RemovableHandle] = []
        self._parts: dict[str, list[Amount]] = {}
        self._found: dict[str, Amount | None] = {}
        self._parameters: dict[str, nn.Parameter] = {}
        self._most = 1

    def watch(self, parameters: Sequence[tuple[str, nn.Parameter]]) -> Addends:
        """Return whose addends the next block records, as far as they fit."""
        self._parameters = {}
        if self.wish is None:
            return self
        self._parameters = {name: p for name, p in parameters if p.requires_grad}
        if sum(map(_size, self._parameters.values())) > CAP:
            self._parameters = {name: p for name, p in self._parameters.items() if name == self.wish.name}
        every = sum(map(_size, self._parameters.values()))
        self._most = MOST if every > CAP else max(1, min(MOST, CAP // max(1, every)))
        return self

    def __enter__(self) -> None:
        """Hook every parameter, and keep what `.grad` is where that is news."""
        self._parts, self._found = {name: [] for name in self._parameters}, {}
        for name, parameter in self._parameters.items():
            self._found[name] = self._news(name, parameter)
            node = get_gradient_edge(parameter).node
            self._handles.append(node.register_prehook(self._taker(name, self._element(parameter))))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove every hook."""
        while self._handles:
            self._handles.pop().remove()

    def recorded(self, name: str) -> Recorded | None:
        """Return what the last block saw of a parameter whose `.grad` was written; None when it did not look."""
        if name not in self._parts:
            return None
        grad, hooks = self._parameters[name].grad, self._parameters[name]._post_accumulate_grad_hooks
        if grad is not None and not hooks:  # they run after the sum and may write it
            self._seen[name] = (weakref.ref(grad), grad._version)
        return Recorded(self._found[name], tuple(self._parts[name]), self._most)

    def _news(self, name: str, parameter: nn.Parameter) -> Amount | None:
        """Return what `.grad` is, unless it is as the last recorded backward left it."""
        grad = parameter.grad
        if grad is None:
            return None
        seen = self._seen.get(name)
        if seen is not None and seen[0]() is grad and seen[1] == grad._version:
            return None
        return Amount.of(grad, self._element(parameter))

    def _element(self, parameter: Tensor) -> Index | None:
        return self.wish.element if self.wish is not None and _size(parameter) > CAP else None

    def _taker(self, name: str, element: Index | None) -> Any:
        parts = self._parts[name]

        def take(grads: tuple[Tensor | None, ...]) -> None:
            # a hook that an interrupt kept from being removed tells nothing any more
            if grads[0] is not None and self._parts.get(name) is parts:
                parts.append(Amount.of(grads[0], element))

        return take


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
