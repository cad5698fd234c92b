"""Running a forward once more on the side: what it writes is put back, so that a look or a rollback leaves no mark."""

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
    """Put everything that a forward may write back at the end of the block: it runs code of the user's.

    Args:
        held: the workload.
        weights: whether the block writes the weights in any case.
    """
    what, saver = writing(held, Forward()), Saver(offload=held.offload)
    saved = saver.save(held, what._replace(weights=held.parameters) if weights else what)
    saved.copies = saved.copies.plus(saver.copy(input_rows(held.point.batch)))
    try:
        yield
    finally:
        torch.set_grad_enabled(saved.grad_mode)
        saved.restore(held)
