"""Running a forward once more on the side: what it writes is put back, so that a look or a rollback leaves no mark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

import torch

from gradstep.engine.debuggee.batches import leaves
from gradstep.engine.held import Held
from gradstep.engine.saving import Saved, Saver


@contextmanager
def aside(held: Held, weights: bool) -> Iterator[None]:
    """Put everything that a forward may write back at the end of the block: it runs code of the user's.

    Args:
        held: the workload.
        weights: whether the block writes the weights in any case.
    """
    writes = weights or held.writes_weights()
    batches = [*leaves(held.point.batch), *leaves(held.batches.batch)]
    kept = Saver(offload=held.offload).tensors(
        [*held.buffers(), *(held.parameters if writes else held.renormalised), *batches]
    )
    slots = [slots.get(key) for _, slots, key in held.buffer_slots]
    training = [module.training for module in held.modules]
    requires = [parameter.requires_grad for _, parameter in held.parameters]
    objects = {name: deepcopy(thing.state_dict()) for name, thing in held.workload.state.items()}
    now, grad_mode = held.keeper.capture(), torch.is_grad_enabled()
    try:
        yield
    finally:
        for (_, holder, key), buffer in zip(held.buffer_slots, slots, strict=True):
            holder[key] = buffer
        kept.restore()
        for module, mode in zip(held.modules, training, strict=True):
            module.training = mode
        for (_, parameter), required in zip(held.parameters, requires, strict=True):
            parameter.requires_grad_(required)
        torch.set_grad_enabled(grad_mode)
        try:
            for name, thing in held.workload.state.items():
                thing.load_state_dict(objects[name])
        finally:  # whatever a user's own load_state_dict raises or draws
            held.keeper.restore(now)


def begin_as(held: Held, first: Saved) -> None:
    """Put what the last forward began with in place."""
    first.weights.restore()
    first.tensors.restore()
    for (_, holder, key), buffer in zip(held.buffer_slots, first.slots, strict=False):
        holder[key] = buffer
    for module, mode in zip(held.modules, first.training, strict=False):
        module.training = mode
    for (_, parameter), required in zip(held.parameters, first.requires_grad, strict=False):
        parameter.requires_grad_(required)
    if first.randomness is not None:
        held.keeper.restore(first.randomness)
