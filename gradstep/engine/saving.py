"""What a phase may write, kept from just before it: to roll it back when it raises, and to say what it changed."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gradstep.engine.batches import Cursor
from gradstep.engine.bits import Copies
from gradstep.engine.randomness import Randomness

Grad = tuple[str, nn.Parameter, Tensor | None, Tensor | None]
"""Name, parameter, its `.grad` object before the phase, and the copy of that."""


@dataclass
class TensorsSaved:
    """Tensors that are written in place, beside their copies."""

    names: list[str] = field(default_factory=list)
    live: list[Tensor] = field(default_factory=list)
    copies: list[Tensor] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)

    def restore(self) -> None:
        """Write the copies back in place, versions included, so that a live graph neither refuses nor is fooled.

        This is the one way that keeps both (`.data.copy_` and the version counters rewound).
        """
        for tensor, kept in zip(self.live, self.copies, strict=True):
            tensor.data.copy_(kept)
        if self.live:
            torch._C._autograd._unsafe_set_version_counter(tuple(self.live), tuple(self.versions))


@dataclass
class OptimizerSaved:
    """An optimizer's state and hyper-parameters; tensors in place, everything else as a deep copy."""

    tensors: TensorsSaved
    state: dict[Tensor, dict[str, Any]]
    """Each parameter's state; for tensors the very tensor, for the rest a copy."""
    groups: list[dict[str, Any]]

    def restore(self, optimizer: torch.optim.Optimizer) -> None:
        """Put the state back: the same tensors with the old contents, and what came since gone."""
        self.tensors.restore()
        for parameter in list(optimizer.state):
            if parameter not in self.state:
                del optimizer.state[parameter]
        for parameter, entries in self.state.items():
            held = optimizer.state[parameter]
            held.clear()
            held.update({k: v if isinstance(v, Tensor) else copy.deepcopy(v) for k, v in entries.items()})
        for group, saved in zip(optimizer.param_groups, self.groups, strict=True):
            for key in [k for k in group if k != "params" and k not in saved]:
                del group[key]
            group.update(saved)


@dataclass
class Saved:
    """Everything kept from before one phase. What is None or empty can't be written by that phase."""

    phase: str
    tensors: TensorsSaved = field(default_factory=TensorsSaved)
    grads: list[Grad] = field(default_factory=list)
    grad_versions: list[tuple[Tensor, int]] = field(default_factory=list)
    optimizer: OptimizerSaved | None = None
    randomness: Randomness | None = None
    cursor: Cursor | None = None
    training: list[bool] | None = None
    objects: dict[str, Any] = field(default_factory=dict)


class Saver:
    """Takes what a phase may write into memory that is used again for the next."""

    def __init__(self) -> None:
        self._copies = Copies()

    def tensors(self, named: Iterable[tuple[str, Tensor]]) -> TensorsSaved:
        """Copy tensors that may be written in place."""
        pairs = [(name, tensor) for name, tensor in named if tensor.layout is torch.strided and not tensor.is_meta]
        names, live = [name for name, _ in pairs], [tensor for _, tensor in pairs]
        return TensorsSaved(names, live, self._copies.take(names, live), [tensor._version for tensor in live])

    def grads(
        self, named: Sequence[tuple[str, nn.Parameter]], contents: bool
    ) -> tuple[list[Grad], list[tuple[Tensor, int]]]:
        """Keep each `.grad`: with `contents` a copy of it, else only the object (enough where it is set to None)."""
        held = [(f"{name}.grad", parameter, parameter.grad) for name, parameter in named]
        if not contents:
            return [(name, parameter, grad, grad) for name, parameter, grad in held], []
        dense = [(name, grad) for name, _, grad in held if grad is not None and grad.layout is torch.strided]
        made = self._copies.take([name for name, _ in dense], [grad for _, grad in dense])
        kept = dict(zip((name for name, _ in dense), made, strict=True))
        grads: list[Grad] = []
        for name, parameter, grad in held:
            sparse = grad is not None and name not in kept
            grads.append(
                (name, parameter, grad, grad.detach().clone() if sparse and grad is not None else kept.get(name))
            )
        return grads, [(grad, grad._version) for _, grad in dense]

    def optimizer(self, optimizer: torch.optim.Optimizer, names: dict[Tensor, str]) -> OptimizerSaved:
        """Keep an optimizer's state and hyper-parameters."""
        named = list(state_tensors(optimizer, names))
        state = {
            parameter: {k: v if isinstance(v, Tensor) else copy.deepcopy(v) for k, v in entries.items()}
            for parameter, entries in optimizer.state.items()
        }
        groups = [
            {k: v for k, v in group.items() if k != "params" and not isinstance(v, Tensor)}
            for group in optimizer.param_groups
        ]
        hyper = [
            (f"group[{i}].{k}", v)
            for i, group in enumerate(optimizer.param_groups)
            for k, v in group.items()
            if isinstance(v, Tensor)
        ]
        return OptimizerSaved(self.tensors([*named, *hyper]), state, groups)


def state_tensors(optimizer: torch.optim.Optimizer, names: dict[Tensor, str]) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of an optimizer's state, named like `2.weight.state.exp_avg`."""
    for parameter, entries in optimizer.state.items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                yield f"{names.get(parameter, 'parameter')}.state.{key}", value


def put_grads_back(saved: Saved) -> None:
    """Give every parameter the `.grad` object it had, with the contents it had."""
    for _, parameter, grad, kept in saved.grads:
        if grad is None:
            parameter.grad = None
            continue
        if parameter.grad is not grad:
            parameter.grad = grad
        if kept is not None and kept is not grad:
            if grad.layout is torch.strided:
                grad.data.copy_(kept)
            else:
                parameter.grad = kept
    if saved.grad_versions:
        tensors, versions = zip(*saved.grad_versions, strict=True)
        torch._C._autograd._unsafe_set_version_counter(tensors, versions)
