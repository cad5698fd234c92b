"""Reading the whole state back from a file: what does not fit is refused before anything is changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from gradstep.engine.bits import same_bits, write
from gradstep.engine.debuggee.batches import Cursor, leaves, move
from gradstep.engine.files.checkpoint_file import ours, unreadable
from gradstep.engine.files.safetensors import damaged, read
from gradstep.engine.files.trees import decode
from gradstep.engine.observe.ledger import Accounts, Entry
from gradstep.engine.randomness import Randomness
from gradstep.values.errors import GradstepError, wrong

if TYPE_CHECKING:
    from gradstep.engine.debuggee.loop import Point
    from gradstep.engine.held import Held


class Found(msgspec.Struct, frozen=True):
    """What a file holds, as it fits a held workload."""

    weights: list[Tensor]
    grads: list[Tensor | None]
    buffers: list[Tensor | None]
    groups: list[dict[str, Any]]
    state: list[tuple[torch.nn.Parameter, dict[Any, Any]]]
    objects: dict[str, Any]
    randomness: Randomness
    cursor: Cursor
    training: list[bool]
    requires_grad: list[bool]
    accounts: Accounts
    point: Point
    losses: tuple[Any, Any]
    written: list[tuple[str, Tensor, Tensor]]
    """Tensors of a list of batches that were written: name, the tensor, and what it held."""


def find(held: Held, path: Path) -> Found:
    """Read a file and check that it fits; nothing is changed.

    Raises:
        GradstepError: it can't be read, is damaged, or is of another workload or optimizer.
    """
    try:
        tensors, texts = read(path)
        state = json.loads(ours(path, texts)["state"])
        return _found(held, state, tensors, path)
    except GradstepError:
        raise
    except OSError as error:
        raise unreadable(path, error) from None
    except (LookupError, ValueError, TypeError, AttributeError, msgspec.MsgspecError) as error:
        raise damaged(path, f"what it says can't be understood ({type(error).__name__}: {error})") from None


def put(held: Held, found: Found) -> None:
    """Put what a file holds in the place of what is there; parameters and buffers stay the same objects."""
    for (_, parameter), weight, grad, requires in zip(
        held.parameters, found.weights, found.grads, found.requires_grad, strict=True
    ):
        parameter.data.copy_(weight)
        parameter.grad = None if grad is None else grad.to(parameter.device)
        parameter.requires_grad_(requires)
    lent = {_memory(leaf) for _, leaf in leaves([held.batches.batch, *(held.batches.sequence or ())])}
    for _, leaf, value in found.written:
        leaf.data.copy_(value)
    for (_, slots, key), buffer in zip(held.buffer_slots, found.buffers, strict=True):
        there = slots[key]
        # a forward may have put a batch, or a view of one, in the buffer's place: that is not to be written
        if buffer is None or there is None or _memory(there) in lent:
            slots[key] = None if buffer is None else buffer.to(held.device)
        elif not same_bits(there, buffer):  # an expanded buffer can't be written, and never was
            write(there, buffer)
    for group, values in zip(held.optimizer.param_groups, found.groups, strict=True):
        for key, value in values.items():
            group[key] = value
    held.optimizer.state.clear()
    for owner, entries in found.state:
        held.optimizer.state[owner] = entries
    held.batches.restore(found.cursor)
    for module, training in zip(held.modules, found.training, strict=True):
        module.training = training
    held.ledger.restore(found.accounts)
    held.losses[:], held.loss_rates[:] = [tuple(each) for each in found.losses[0]], list(found.losses[1])
    held.point = found.point
    try:
        for name, thing in held.stateful().items():
            thing.load_state_dict(found.objects[name])
    finally:
        held.keeper.restore(found.randomness)


def _found(held: Held, state: dict[str, Any], tensors: dict[str, Tensor], path: Path) -> Found:
    _fits(held, state, tensors, path)
    point = type(held.point)(**{field: decode(value, tensors) for field, value in state["point"].items()})
    by_name = dict(held.parameters)
    taken, within = state["cursor"]
    sequence = held.batches.sequence
    if sequence is not None:
        if not 0 <= within <= len(sequence):
            raise damaged(path, f"batch {within} is held, and the workload has {len(sequence)}")
        batch = move(sequence[within - 1], held.device) if taken else None
    else:
        batch = move(decode(state["batch"], tensors), held.device)
    written = state.get("written", ())  # files of before have none
    start = None if state["epoch"] is None else _random(held, state["epoch"], tensors)
    if len(state["training"]) != len(held.modules):
        raise damaged(path, f"it is of a model of {len(state['training'])} modules, and there are {len(held.modules)}")
    return Found(
        [decode(state["weights"][name], tensors) for name, _ in held.parameters],
        [decode(state["grads"][name], tensors) for name, _ in held.parameters],
        [decode(state["buffers"][name], tensors) for name, _, _ in held.buffer_slots],
        [{key: decode(value, tensors) for key, value in values.items()} for _, values in state["groups"]],
        [
            (by_name[name], {key: _placed(decode(value, tensors), by_name[name]) for key, value in entries.items()})
            for name, entries in state["state"]
        ],
        {name: decode(value, tensors) for name, value in state["objects"].items()},
        _random(held, state["randomness"], tensors),
        Cursor(taken, within, batch, start),
        state["training"],
        state["requires_grad"],
        Accounts({name: Entry(*entry) for name, entry in state["ledger"].items()}, {}),
        point,
        decode(state["losses"], tensors),
        [(name, dict(leaves(sequence[place]))[name], decode(kept, tensors)) for place, name, kept in written]
        if sequence is not None
        else [],
    )


def _fits(held: Held, state: dict[str, Any], tensors: dict[str, Tensor], path: Path) -> None:
    """Check that a file is of this workload and optimizer."""
    for kind, named in (("weights", held.parameters), ("buffers", held.buffers())):
        there = state[kind]
        for name, tensor in named:
            if name not in there:
                raise _foreign(path, f"it has no {name}")
            kept = decode(there[name], tensors)
            if kept is not None and kind == "weights" and (kept.shape != tensor.shape or kept.dtype != tensor.dtype):
                what = (
                    f"{name} is {tuple(kept.shape)} {kept.dtype} in it, and {tuple(tensor.shape)} {tensor.dtype} here"
                )
                raise _foreign(path, what)
        if more := set(there) - {name for name, *_ in (held.parameters if kind == "weights" else held.buffer_slots)}:
            raise _foreign(path, f"it has {min(more)}, which is not here")
    kind = type(held.optimizer).__name__
    if state["optimizer"] != kind:
        remedy = f"give `optimizer {state['optimizer'].lower()}` first; nothing was changed"
        raise wrong("this file can't be restored", f"{path} is of {state['optimizer']}, this is {kind}", remedy)
    groups = [[held.names.get(p, "") for p in group["params"]] for group in held.optimizer.param_groups]
    if [names for names, _ in state["groups"]] != groups:
        raise _foreign(path, "its optimizer has other groups of parameters")
    if set(state["objects"]) != set(held.stateful()):
        raise _foreign(path, f"its objects with a state are {', '.join(state['objects']) or 'none'}")


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.layout is torch.strided else id(tensor)


def _placed(value: Any, parameter: Tensor) -> Any:
    """Return an entry of an optimizer's state where torch keeps it: beside the parameter, single numbers on the cpu."""
    if isinstance(value, Tensor) and value.dim() and value.device != parameter.device:
        return value.to(parameter.device)
    return value


def _random(held: Held, kept: dict[str, Any], tensors: dict[str, Tensor]) -> Randomness:
    here = [generator for generator, _ in held.keeper.capture().devices]
    states = [decode(state, tensors) for state in kept["devices"]]
    numpy = decode(kept["numpy"], tensors)
    assert isinstance(numpy.get("state"), (dict, np.ndarray))
    return Randomness(
        decode(kept["torch"], tensors),
        tuple(zip(here, states, strict=False)),  # of a machine with other devices, as many as fit
        decode(kept["python"], tensors),
        numpy,
    )


def _foreign(path: Path, what: str) -> GradstepError:
    return wrong("this file is of another workload", f"{path}: {what}", "nothing was changed", path.name)
