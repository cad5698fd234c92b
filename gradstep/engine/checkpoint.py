"""A checkpoint: everything the next phase can depend on at one point, and putting it back in place."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from msgspec import Struct
from torch import Tensor, nn

from gradstep.engine.debuggee.batches import Cursor
from gradstep.engine.images import Image, Images
from gradstep.engine.observe.ledger import Accounts
from gradstep.engine.randomness import Randomness
from gradstep.engine.saving import Saved, contents_of, kept_value

if TYPE_CHECKING:
    from gradstep.engine.debuggee.loop import Point
    from gradstep.engine.held import Held

Key: TypeAlias = tuple[str, ...]
"""Which tensor: ("weight", name), ("grad", name), ("buffer", name), ("state", owner, key), ("group", place, key), or of
a batch that was written ("batch", place)."""


class OptimizerKept(Struct, frozen=True):
    """An optimizer and its schedulers: the very dicts and parameters, each beside what it held; no tensor's contents.

    Tensors stand in what was held as themselves: their contents are images.
    """

    optimizer: torch.optim.Optimizer
    schedulers: tuple[Any, ...]
    state: tuple[tuple[Any, Any, Any], ...]
    """Owner (a parameter), its entries, and what they held."""
    groups: tuple[tuple[dict[str, Any], dict[str, Any], tuple[nn.Parameter, ...]], ...]
    """Group, what was in it, and its parameters."""


class Checkpoint(Struct, frozen=True):
    """Everything at one point. What did not change since the point before is shared with it."""

    images: dict[Key, Image | None]
    optimizer: OptimizerKept
    randomness: Randomness
    cursor: Cursor
    training: tuple[bool, ...]
    requires_grad: tuple[bool, ...]
    grad_mode: bool
    objects: dict[str, Any]
    accounts: Accounts
    point: Point
    """Where the loop stood; its loss has a graph only where a backward has freed that."""


def tensors_of(held: Held) -> Iterator[tuple[Key, Tensor | None]]:
    """Yield every tensor of the state, and None where there is none; a shared one comes once for each of its places."""
    for name, parameter in held.parameters:
        yield ("weight", name), parameter
        yield ("grad", name), parameter.grad
    for name, slots, key in held.buffer_slots:
        yield ("buffer", name), slots.get(key)
    for owner, entries in held.optimizer.state.items():
        for key, value in entries.items() if isinstance(entries, dict) else ():
            if isinstance(value, Tensor):
                yield ("state", held.names.get(owner, ""), str(key)), value
    for place, group in enumerate(held.optimizer.param_groups):
        for key, value in group.items():
            if isinstance(value, Tensor):
                yield ("group", str(place), key), value
    for place, (tensor, _) in enumerate(held.batches.written):
        yield ("batch", str(place)), tensor


def name_of(key: Key) -> str:
    """Return what a tensor of the state is called: `2.weight`, `2.weight.grad`, `2.weight.state.exp_avg`."""
    match key:
        case ("grad", name):
            return f"{name}.grad"
        case ("state", owner, entry):
            return f"{owner}.state.{entry}"
        case ("group", place, entry):
            return f"group[{place}].{entry}"
        case ("batch", _):
            return "batch"
        case _:
            return key[1]


def take(held: Held, images: Images, before: Checkpoint | None, saved: Saved | None) -> Checkpoint:
    """Return a checkpoint of a held workload as it is now.

    Args:
        held: what to keep.
        images: what its tensors hold.
        before: the checkpoint of the point before, to share with.
        saved: what the act in between may have written; None for anything.
    """
    old = before if saved is not None else None
    wrote = saved if saved is not None else Saved()
    seen = {key: None if tensor is None else images.current(tensor) for key, tensor in tensors_of(held)}
    return Checkpoint(
        seen,
        _optimizer(held) if old is None or wrote.optimizer is not None else old.optimizer,
        held.keeper.capture() if old is None or wrote.randomness is not None else old.randomness,
        held.batches.cursor(),
        tuple([module.training for module in held.modules]) if old is None or wrote.training else old.training,
        tuple([p.requires_grad for _, p in held.parameters])
        if old is None or wrote.requires_grad
        else old.requires_grad,
        torch.is_grad_enabled(),
        {name: deepcopy(thing.state_dict()) for name, thing in held.stateful().items()},
        held.ledger.copy(),
        held.point,
    )


def put_back(held: Held, images: Images, checkpoint: Checkpoint) -> None:
    """Put a held workload back to where it was: the same objects with the old contents.

    The graph of the loss is not part of that: where there was one alive, its forward has to be run again.
    """
    images.load(image for image in checkpoint.images.values() if image is not None)
    for (name, parameter), requires_grad in zip(held.parameters, checkpoint.requires_grad, strict=True):
        image = checkpoint.images[("grad", name)]
        grad = None if image is None else image.tensor
        if parameter.grad is not grad:
            parameter.grad = grad
        if parameter.requires_grad != requires_grad:
            parameter.requires_grad_(requires_grad)
    for name, slots, key in held.buffer_slots:
        image = checkpoint.images[("buffer", name)]
        slots[key] = None if image is None else image.tensor
    _put_optimizer(held, checkpoint.optimizer)
    held.batches.restore(checkpoint.cursor)
    for module, training in zip(held.modules, checkpoint.training, strict=True):
        if module.training != training:  # assigning to a module costs more than asking it
            module.training = training
    torch.set_grad_enabled(checkpoint.grad_mode)
    held.ledger.restore(checkpoint.accounts)
    held.point = checkpoint.point
    try:
        for name, thing in held.stateful().items():
            thing.load_state_dict(deepcopy(checkpoint.objects[name]))
    finally:  # whatever a user's own load_state_dict raises or draws
        held.keeper.restore(checkpoint.randomness)


def _optimizer(held: Held) -> OptimizerKept:
    optimizer = held.optimizer
    return OptimizerKept(
        optimizer,
        tuple(held.schedulers),
        tuple([(owner, entries, contents_of(entries)) for owner, entries in optimizer.state.items()]),
        tuple(
            [
                (group, {k: kept_value(v) for k, v in group.items() if k != "params"}, tuple(group["params"]))
                for group in optimizer.param_groups
            ]
        ),
    )


def _put_optimizer(held: Held, kept: OptimizerKept) -> None:
    held.use_optimizer(kept.optimizer, kept.schedulers)
    state = held.optimizer.state
    state.clear()
    for owner, entries, were in kept.state:
        contents = contents_of(were)  # what is put back may be written: the checkpoint keeps its own
        if isinstance(entries, dict):
            entries.clear()
            entries.update(contents)
            contents = entries
        state[owner] = contents
    for group, were, parameters in kept.groups:
        listed = group["params"]
        listed[:] = parameters
        group.clear()
        group["params"] = listed
        group.update({k: kept_value(v) for k, v in were.items()})
    held.optimizer.param_groups[:] = [group for group, _, _ in kept.groups]
