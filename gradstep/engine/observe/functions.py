"""What the custom Functions of a forward were given, and what keeps gradstep's own work out of what is observed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import local
from typing import Any

import torch
from torch import Tensor, nn

from gradstep.engine.observe.stream import Consumer, FunctionEntered

KEPT = 64 << 20
"""Bytes of activations that are kept of one forward, so that its custom Functions can be applied to them once more."""


class _Thread(local):
    unobserved = False


_HERE = _Thread()


@contextmanager
def unobserved() -> Iterator[None]:
    """Have what runs on this thread in the block be gradstep's own: a forward that is stopped there sees none of it."""
    was = _HERE.unobserved
    _HERE.unobserved = True
    try:
        with torch._C.DisableTorchFunction():
            yield
    finally:
        _HERE.unobserved = was


def is_unobserved() -> bool:
    """Return whether what runs on this thread is gradstep's own."""
    return _HERE.unobserved


@dataclass
class Given:
    """What a custom Function was given; the tensors have no graph, and are the very memory that it was given."""

    arguments: tuple[Any, ...]
    needs: tuple[bool, ...]
    """Which of them required grad."""
    versions: tuple[int, ...]
    weights: tuple[bool, ...]
    """Which of them are parameters: checked as they are now."""

    @property
    def written(self) -> tuple[int, ...]:
        """The places of activations that were written in place since, by the Function itself for instance."""
        return tuple(
            i
            for i, each in enumerate(self.arguments)
            if isinstance(each, Tensor) and not self.weights[i] and each._version != self.versions[i]
        )


@dataclass
class Applied:
    """What the custom Functions of one forward were given, by the sequence number of their nodes."""

    given: dict[int, Given] = field(default_factory=dict)
    _bytes: int = 0

    def consumer(self) -> Consumer:
        """Return what notes each call, as it begins, on its thread."""
        return {FunctionEntered: self._note}

    def _note(self, event: FunctionEntered) -> None:
        """Note one call, if it makes a node, and there is room for what it was given."""
        args = event.args
        if not issubclass(event.function, torch.autograd.Function):  # what a transform makes of one
            return
        needs = tuple(isinstance(each, Tensor) and each.requires_grad for each in args)
        if not torch.is_grad_enabled() or not any(needs):
            return
        tensors = [each for each in args if isinstance(each, Tensor)]
        if not all(type(each) in (Tensor, nn.Parameter) and each.layout is torch.strided for each in tensors):
            return
        own = sum(each.numel() * each.element_size() for each in tensors if not isinstance(each, nn.Parameter))
        if self._bytes + own > KEPT:
            return
        self._bytes += own
        with torch._C.DisableTorchFunction(), torch.no_grad():
            arguments = tuple(each.detach() if isinstance(each, Tensor) else each for each in args)
        versions = tuple(each._version if isinstance(each, Tensor) else 0 for each in arguments)
        weights = tuple(isinstance(each, nn.Parameter) for each in args)
        self.given[event.number] = Given(arguments, needs, versions, weights)
