"""Rerun a forward with no side effects: everything it writes is restored afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gradstep.engine.held import Held
from gradstep.engine.state.batch import input_rows
from gradstep.engine.state.saved import Saver
from gradstep.engine.state.writing import writing
from gradstep.values.commands import Forward


@contextmanager
def aside(held: Held, weights: bool) -> Iterator[None]:
    """Restore everything that a forward may write at the end of the block.

    Args:
        held: the workload.
        weights: True when the block itself writes the weights.
    """
    what, saver = writing(held, Forward()), Saver(offload=held.offload)
    saved = saver.save(held, what._replace(weights=held.parameters) if weights else what)
    saved.copies = saved.copies.plus(saver.copy(input_rows(held.point.batch)))
    try:
        yield
    finally:
        torch.set_grad_enabled(saved.grad_mode)
        saved.restore(held)
