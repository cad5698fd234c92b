"""Where a forward begins in a loop without modules: at its first operation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType

import torch

from gradstep.engine.observe.functions import unobserved
from gradstep.engine.observe.observer import observe
from gradstep.engine.observe.stream import OpStarts
from gradstep.engine.script.tape import READS
from gradstep.engine.tensor_trees import tensors_in

_NO_FORWARD = READS | {"__get__", "__set__", "__delete__", "detach", "requires_grad_", "retain_grad", "numpy"}
"""Operations on a tensor that requires grad from which no forward is computed, by name."""


class FirstOperation:
    """Watches for the first operation on what requires grad.

    Args:
        begins: called with the frame that calls it, before it runs.
    """

    def __init__(self, begins: Callable[[FrameType], None]) -> None:
        self._begins = begins
        self._watching = ExitStack()

    def watch(self) -> None:
        """Begin to watch on this thread."""
        self.close()
        self._watching.enter_context(observe({OpStarts: self._starts}))

    def close(self) -> None:
        """Stop watching."""
        self._watching.close()

    def taken_over(self) -> ExitStack:
        """Return what watches, for the forward that begins to close at its end."""
        return self._watching.pop_all()

    def _starts(self, event: OpStarts) -> None:
        if getattr(event.func, "__name__", "") in _NO_FORWARD or not torch.is_grad_enabled():
            return
        with unobserved():
            begins = any(tensor.requires_grad for _, tensor in tensors_in((event.args, event.kwargs), ""))
        if begins:
            self._begins(event.frame)
