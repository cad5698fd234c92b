"""What a phase may write, kept from just before it: to roll it back when it raises, and to say what it changed."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from msgspec import Struct, field
from torch import Tensor, nn

from gradstep.engine.bits import same_bits, write
from gradstep.engine.debuggee.batches import Cursor
from gradstep.engine.memory import copies_of
from gradstep.engine.randomness import Randomness

Grad = tuple[str, nn.Parameter, Tensor | None, Tensor | None]
"""Name, parameter, its `.grad` object before the phase, and the copy of that."""


class TensorsSaved(Struct):
    """Tensors that are written in place, beside their copies."""

    names: list[str] = []
    live: list[Tensor] = []
    copies: list[Tensor] = []
    versions: list[int] = []

    def plus(self, more: TensorsSaved) -> TensorsSaved:
        """Return these and those of another."""
        return TensorsSaved(
            self.names + more.names, self.live + more.live, self.copies + more.copies, self.versions + more.versions
        )

    def written(self) -> TensorsSaved:
        """Return those that do not hold what they did."""
        rows = zip(self.names, self.live, self.copies, self.versions, strict=True)
        kept = [row for row in rows if not same_bits(row[1], row[2])]
        return TensorsSaved(*map(list, zip(*kept, strict=True))) if kept else TensorsSaved()

    def restore(self) -> None:
        """Write the copies back in place, versions included, so that a live graph neither refuses nor is fooled.

        This is the one way that keeps both (`.data.copy_` and the version counters rewound).
        """
        for tensor, kept in zip(self.live, self.copies, strict=True):
            if not same_bits(tensor, kept):  # an expanded buffer can't be written, and never was
                write(tensor, kept)
        if self.live:
            torch._C._autograd._unsafe_set_version_counter(tuple(self.live), tuple(self.versions))


class OptimizerSaved(Struct):
    """An optimizer's state and hyper-parameters; the very dicts, lists and tensors, each beside what it held."""

    tensors: TensorsSaved
    state: list[tuple[Any, Any, Any]]
    """Owner (a parameter), its entries, and what they were."""
    groups: list[tuple[dict[str, Any], dict[str, Any], list[nn.Parameter]]]
    """Group, what was in it, and its parameters."""

    def restore(self, optimizer: torch.optim.Optimizer) -> None:
        """Put the state back: the same tensors with the old contents, and what came since gone."""
        self.tensors.restore()
        optimizer.state.clear()
        for owner, entries, were in self.state:
            optimizer.state[owner] = _refilled(entries, were) if isinstance(entries, dict) else were
        optimizer.param_groups[:] = [_refilled(group, were) for group, were, _ in self.groups]
        for group, _, parameters in self.groups:
            group["params"][:] = parameters


class Saved(Struct):
    """Everything kept from before one phase. What is None or empty can't be written by that phase."""

    tensors: TensorsSaved = field(default_factory=TensorsSaved)
    weights: TensorsSaved = field(default_factory=TensorsSaved)
    """The parameters, where a forward runs code that could write them."""
    grads: list[Grad] = []
    grad_versions: list[tuple[Tensor, int]] = []
    optimizer: OptimizerSaved | None = None
    randomness: Randomness | None = None
    cursor: Cursor | None = None
    training: list[bool] = []
    grad_mode: bool | None = None
    requires_grad: list[bool] = []
    objects: dict[str, Any] = {}
    slots: list[Tensor | None] = []
    """The buffer objects: a forward may put new ones in their place."""
    known: bool = True
    """False where what was before the phase was not kept, or is not any more: it may have written anything."""


class Taker(Protocol):
    """What makes the copies."""

    def take(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Return a copy of each tensor, whatever its layout."""
        ...


class Saver:
    """Takes copies of what a phase may write; without a taker they last for as long as somebody holds them."""

    def __init__(self, copies: Taker | None = None, offload: bool = False) -> None:
        self._take = partial(copies_of, offload=offload) if copies is None else copies.take

    def tensors(self, named: Iterable[tuple[str, Tensor]]) -> TensorsSaved:
        """Copy tensors that may be written in place."""
        pairs = [(name, tensor) for name, tensor in named if tensor.layout is torch.strided and not tensor.is_meta]
        names, live = [name for name, _ in pairs], [tensor for _, tensor in pairs]
        return TensorsSaved(names, live, self._take(live), [tensor._version for tensor in live])

    def grads(self, saved: Saved, named: Sequence[tuple[str, nn.Parameter]], contents: bool) -> None:
        """Keep each `.grad`: with `contents` a copy of it, else only the object (enough where it is set to None)."""
        if not contents:
            saved.grads = [(f"{name}.grad", p, p.grad, p.grad) for name, p in named]
            return
        there = [(name, p.grad) for name, p in named if p.grad is not None]
        made = self._take([grad for _, grad in there])
        kept: dict[str, Tensor] = dict(zip([name for name, _ in there], made, strict=True))
        saved.grads = [(f"{name}.grad", p, p.grad, kept.get(name)) for name, p in named]
        saved.grad_versions = [(grad, grad._version) for _, grad in there if grad.layout is torch.strided]

    def optimizer(
        self, optimizer: torch.optim.Optimizer, names: dict[Tensor, str], contents: bool = True
    ) -> OptimizerSaved:
        """Keep an optimizer's state and hyper-parameters; without `contents` no tensor of it is copied."""
        named = list(state_tensors(optimizer, names)) if contents else []
        state = [(owner, entries, contents_of(entries)) for owner, entries in optimizer.state.items()]
        groups = [
            (group, {k: v if k == "params" else kept_value(v) for k, v in group.items()}, list(group["params"]))
            for group in optimizer.param_groups
        ]
        hyper = [
            (f"group[{i}].{k}", v)
            for i, group in enumerate(optimizer.param_groups)
            for k, v in group.items()
            if isinstance(v, Tensor)  # few and small: kept in any case
        ]
        return OptimizerSaved(self.tensors([*named, *hyper]), state, groups)


def state_tensors(optimizer: torch.optim.Optimizer, names: dict[Tensor, str]) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of an optimizer's state, named like `2.weight.state.exp_avg`."""
    for parameter, entries in optimizer.state.items():
        # torch's are dicts all; others keep a plain count under a name of their own
        for key, value in entries.items() if isinstance(entries, dict) else ():
            if isinstance(value, Tensor):
                yield f"{names.get(parameter, 'parameter')}.state.{key}", value


_PLAIN = frozenset({float, int, bool, str, type(None)})


def kept_value(value: Any) -> Any:
    """Return what has to be kept of a value: a tensor itself (its contents are kept apart), of others a copy."""
    return value if type(value) in _PLAIN or isinstance(value, Tensor) else copy.deepcopy(value)


def contents_of(entries: Any) -> Any:
    """Return what has to be kept of an optimizer's state of one parameter."""
    return {k: kept_value(v) for k, v in entries.items()} if isinstance(entries, dict) else copy.deepcopy(entries)


def _refilled(entries: dict[Any, Any], were: dict[Any, Any]) -> dict[Any, Any]:
    entries.clear()
    entries.update(were)
    return entries


def put_grads_back(saved: Saved) -> None:
    """Give every parameter the `.grad` object it had, with the contents it had."""
    for _, parameter, grad, kept in saved.grads:
        if grad is None:
            parameter.grad = None
            continue
        if parameter.grad is not grad:
            parameter.grad = grad
        if kept is not None and kept is not grad:
            write(grad, kept)  # sparse ones too, so that the object stays the same
    if saved.grad_versions:
        tensors, versions = zip(*saved.grad_versions, strict=True)
        torch._C._autograd._unsafe_set_version_counter(tensors, versions)


@contextmanager
def without_grads(parameters: Sequence[tuple[str, nn.Parameter]]) -> Iterator[None]:
    """Put every `.grad` aside: a backward inside the block, one within a forward too, adds to none of them."""
    grads = [(parameter, parameter.grad) for _, parameter in parameters]
    try:
        for parameter, _ in grads:
            parameter.grad = None
        yield
    finally:
        for parameter, grad in grads:
            parameter.grad = grad
