"""The arguments of a forward's custom Functions; and `unobserved`, which hides gradstep's own work from consumers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from threading import local
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from gradstep.engine.observe.stream import Consumer, FunctionEntered

KEPT = 64 << 20
"""Bytes of activations to keep of one forward, so that its custom Functions can be applied to them again."""


class _Thread(local):
    unobserved = False


THREAD = _Thread()
"""Whether this thread is in `unobserved`."""


@contextmanager
def unobserved() -> Iterator[None]:
    """Hide what runs on this thread in the block from what observes, and from the dispatch modes of the user's code."""
    was = THREAD.unobserved
    THREAD.unobserved = True
    try:
        modes = torch._C._len_torch_dispatch_stack()
        with torch._C.DisableTorchFunction(), _disable_current_modes() if modes else nullcontext():
            yield
    finally:
        THREAD.unobserved = was


def is_unobserved() -> bool:
    """Return whether this thread is in `unobserved`."""
    return THREAD.unobserved


@dataclass
class FunctionArguments:
    """The arguments of a custom Function; the tensors are detached, and share memory with the originals."""

    arguments: tuple[Any, ...]
    needs: tuple[bool, ...]
    """Which of them required grad."""
    versions: tuple[int, ...]
    weights: tuple[bool, ...]
    """Which of them are parameters: these are used with their present values."""

    @property
    def written(self) -> tuple[int, ...]:
        """The indices of activations that were written in place since, for instance by the Function itself."""
        return tuple(
            i
            for i, each in enumerate(self.arguments)
            if isinstance(each, Tensor) and not self.weights[i] and each._version != self.versions[i]
        )


@dataclass
class Applied:
    """The arguments of the custom Functions of one forward, by the sequence number of their nodes."""

    given: dict[int, FunctionArguments] = field(default_factory=dict)
    _bytes: int = 0

    def consumer(self) -> Consumer:
        """Return the consumer that records each call."""
        return {FunctionEntered: self._note}

    def _note(self, event: FunctionEntered) -> None:
        """Record a call that makes a node, within `KEPT`."""
        args = event.args
        if not issubclass(event.function, torch.autograd.Function):  # made by a transform
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
        self.given[event.number] = FunctionArguments(arguments, needs, versions, weights)
