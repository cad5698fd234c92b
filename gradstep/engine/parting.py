"""Where two runs part: the first tensor of the state that differs after a command, and inside it the module or node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from gradstep.engine.batches import leaves
from gradstep.engine.bits import same_bits
from gradstep.engine.checkpoint import name_of, tensors_of
from gradstep.engine.graph import leaf_tensor
from gradstep.engine.held import Held
from gradstep.values.commands import Backward, Forward, PointCommand


class Passed(NamedTuple):
    """One tensor that came out of a module or a node."""

    name: str
    tensor: Tensor


class Difference(NamedTuple):
    """How far two tensors of one name are apart."""

    name: str
    largest: float | None
    """The greatest difference of one element; None where shapes differ, or one is not there."""
    relative: float | None
    """The norm of the difference over the norm of the first."""
    what: str = ""


def state_of(held: Held) -> dict[str, Tensor | None]:
    """Return every tensor of the state by name, and the loss."""
    found = {name_of(key): tensor for key, tensor in tensors_of(held)}
    loss = held.point.loss
    return {"loss": None if loss is None else loss.detach(), **found}


def first_difference(
    one: dict[str, Tensor | None], other: dict[str, Tensor | None], tolerance: float
) -> Difference | None:
    """Return the first tensor that differs by more than a tolerance, relative to its norm; 0 compares bits."""
    for name in dict.fromkeys((*one, *other)):
        found = difference(name, one.get(name), other.get(name), tolerance)
        if found is not None:
            return found
    return None


def difference(name: str, one: Tensor | None, other: Tensor | None, tolerance: float) -> Difference | None:
    """Return how far two tensors are apart; None where that is within the tolerance."""
    if one is None or other is None:
        if one is None and other is None:
            return None
        return Difference(name, None, None, "it is none on one side")
    if one.shape != other.shape:
        return Difference(name, None, None, f"its shape is {tuple(one.shape)} and {tuple(other.shape)}")
    if one.device == other.device and same_bits(one.detach(), other.detach()):
        return None
    a, b = one.detach().cpu().double(), other.detach().cpu().double()
    moved = b - a
    size, norm = float(torch.linalg.vector_norm(moved)), float(torch.linalg.vector_norm(a))
    relative = size / norm if norm else (0.0 if size == 0 else float("inf"))
    both_nan = bool((a.isnan() == b.isnan()).all()) and not bool(moved[~a.isnan()].any())
    if tolerance and (relative <= tolerance or both_nan):
        return None
    largest = float(moved.abs().max()) if moved.numel() else 0.0
    return Difference(name, largest, relative)


@contextmanager
def watched(held: Held, command: PointCommand) -> Iterator[list[Passed]]:
    """Note what comes out of each module of a forward, or of each node of a backward, in the order in which it does."""
    seen: list[Passed] = []
    with ExitStack() as stack:
        if isinstance(command, Forward):
            stack.callback(register_module_forward_hook(_module_hook(held, seen), always_call=False).remove)
        elif isinstance(command, Backward):
            graph = held.graph()
            for place, node in enumerate(graph.nodes if graph is not None else ()):
                if leaf_tensor(node) is None:
                    owner = graph.owners[place] if graph is not None else None
                    name = f"node #{place} {node.name()}" + (f" of {owner}" if owner else "")
                    stack.callback(node.register_hook(_node_hook(name, seen)).remove)
        yield seen


def _module_hook(held: Held, seen: list[Passed]) -> Callable[[nn.Module, Any, Any], None]:
    def hook(module: nn.Module, _: Any, output: Any) -> None:
        path = held.paths.get(module)
        if path is not None:
            kind = f"{path or 'the model'} {type(module).__name__}"
            seen.extend(Passed(f"module {kind}", tensor.detach().clone()) for _, tensor in leaves(output))

    return hook


def _node_hook(name: str, seen: list[Passed]) -> Callable[[Any, Any], None]:
    def hook(inputs: tuple[Tensor | None, ...], _: Any) -> None:
        for place, tensor in enumerate(inputs):
            if tensor is not None:
                seen.append(Passed(f"{name}, input {place}", tensor.detach().clone()))

    return hook


def first_inside(one: list[Passed], other: list[Passed], tolerance: float) -> Difference | None:
    """Return the first module or node whose results differ; None where all are the same."""
    for a, b in zip(one, other, strict=False):
        if a.name != b.name:
            return Difference(a.name, None, None, f"on the other side it is {b.name}")
        found = difference(a.name, a.tensor, b.tensor, tolerance)
        if found is not None:
            return found
    if len(one) != len(other):
        more = (one if len(one) > len(other) else other)[min(len(one), len(other))]
        return Difference(more.name, None, None, "it is there on one side only")
    return None
