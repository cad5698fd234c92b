"""Custom Functions: each `apply` of one as a forward runs, which no `TorchFunctionMode` sees, and what it was given."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from threading import get_ident, local
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from gradstep.engine.observe.compiled import replaced

KEPT = 64 << 20
"""Bytes of activations that are kept of one forward, so that its custom Functions can be applied to them once more."""


_UNOBSERVED = local()


@contextmanager
def unobserved() -> Iterator[None]:
    """Have what runs on this thread in the block be gradstep's own: a forward that is stopped there sees none of it."""
    was = is_unobserved()
    _UNOBSERVED.on = True
    try:
        with torch._C.DisableTorchFunction():
            yield
    finally:
        _UNOBSERVED.on = was


def is_unobserved() -> bool:
    """Return whether what runs on this thread is gradstep's own."""
    return getattr(_UNOBSERVED, "on", False)


def tap_functions(told: Callable[[int, tuple[Any, ...], FrameType], None]) -> AbstractContextManager[None]:
    """Report each `apply` on this thread: the sequence number its node will have, the arguments, the calling frame.

    `apply` may be bound before (`act = Act.apply`), so it is not replaced itself but what each call of it goes through
    right before its node is made (torch/autograd/function.py, `Function.apply`). Within a vmap it takes another way.
    """
    utils: Any = torch._functorch.utils
    passes = getattr(utils, "unwrap_dead_wrappers", None)
    if passes is None:  # another torch
        return nullcontext()
    number, thread = torch.autograd._get_sequence_nr, get_ident()  # type: ignore[attr-defined]

    def tapped(args: tuple[Any, ...]) -> Any:
        if get_ident() == thread and not is_unobserved():
            told(number(), args, sys._getframe(1))
        return passes(args)

    return replaced(utils, "unwrap_dead_wrappers", tapped)


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

    def note(self, number: int, args: tuple[Any, ...], _: FrameType) -> None:
        """Note one call, if it makes a node, and there is room for what it was given."""
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
        self.given[number] = Given(arguments, needs, versions, weights)
