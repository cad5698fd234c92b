"""Rerun a forward with no side effects: everything it writes is restored afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from gradstep.engine.held import Held
from gradstep.engine.state.batch import input_rows
from gradstep.engine.state.saved import Saver
from gradstep.engine.state.writing import writing
from gradstep.engine.yielding import Waits, never, yielding
from gradstep.values.commands import Forward


@contextmanager
def aside(held: Held, weights: bool, waits: Waits = never) -> Iterator[None]:
    """Restore everything that a forward may write at the end of the block.

    Args:
        held: the workload.
        weights: True when the block itself writes the weights.
        waits: called before each tensor is copied; once it returns True, the block does not run.

    Raises:
        YieldedError: `waits` returned True.
    """
    what, saver = writing(held, Forward()), Saver(_Lent(held, waits))
    saved = saver.save(held, what._replace(weights=held.parameters) if weights else what)
    saved.copies = saved.copies.plus(saver.copy(input_rows(held.point.batch)))
    try:
        yield
    finally:
        torch.set_grad_enabled(saved.grad_mode)
        saved.restore(held)


@dataclass
class _Lent:
    """Copies tensors one after the other, until a command waits."""

    held: Held
    waits: Waits

    def take(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return a copy of each tensor."""
        return [self.held.lend(tensor) for tensor in yielding(tensors, self.waits)]
