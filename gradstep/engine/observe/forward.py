"""What is recorded of a forward: which module made which node, what the model returned, zeros, source lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gradstep.engine.autograd.graph import Owners
from gradstep.engine.observe.functions import unobserved
from gradstep.engine.observe.observer import observe
from gradstep.engine.observe.source_lines import Lines
from gradstep.engine.observe.stream import Consumer, EngineEntered, ModuleEntered, ModuleLeft


@dataclass
class Watched:
    """What was recorded of one forward."""

    owners: Owners = field(default_factory=Owners)
    numbers: range = range(0)
    """The sequence numbers of the nodes that it made; empty when it was not observed."""
    lines: Lines | None = None
    """The source lines of the operations; None when they were not recorded."""
    output: Any = None
    """The last output of the root module; None before it."""
    zeros: dict[str, list[tuple[Tensor, int]]] = field(default_factory=dict)
    """By module and call: how many elements of the output were not zero, and how many it has."""
    runs_backward: bool = False
    """True when the forward called autograd's engine, for instance by `torch.autograd.grad`."""
    recorded: bool = False
    """False for a forward that was not watched: which module made which node is unknown."""


ZEROING = (nn.ReLU, nn.ReLU6, nn.Threshold, nn.Hardsigmoid, nn.Hardswish, nn.Hardshrink, nn.Softshrink)
"""Torch's modules that return exact zeros for a whole range of inputs: a unit that is always in it is dead."""


def is_zeroing(module: nn.Module) -> bool:
    """Return whether a module may zero units: one of `ZEROING`, or one that is not torch's with relu in its name."""
    own = type(module).__module__.startswith("torch.")
    return isinstance(module, ZEROING) or (not own and "relu" in type(module).__name__.lower())


@contextmanager
def watch_forward(
    paths: dict[nn.Module, str],
    root: nn.Module,
    count_zeros: bool = False,
    lines: bool = False,
    more: Sequence[Consumer] = (),
) -> Iterator[Watched]:
    """Record the modules that run and what the root returns while the block lasts.

    Args:
        paths: the dotted name of each module of the model; others (a loss module) are passed over.
        root: the model.
        count_zeros: count the zeros in the outputs of modules that may zero units; costs a pass over each.
        lines: record the source lines of operations; costs a quarter of a small forward.
        more: other consumers of what happens in the block; one subscription costs less than two.
    """
    seen = Watched(recorded=True)
    number = torch.autograd._get_sequence_nr  # type: ignore[attr-defined]

    def entered(event: ModuleEntered) -> None:
        path = paths.get(event.module)
        if path is not None:
            seen.owners.enter(path, number(), _shape(event.given))

    def left(event: ModuleLeft) -> None:
        module = event.module
        if module in paths:
            seen.owners.leave(number(), event.given, event.output)
            if module is root:
                seen.output = event.output
            if count_zeros and is_zeroing(module):
                _count(seen.zeros.setdefault(paths[module], []), event.output)

    def differentiates(_: EngineEntered) -> None:
        seen.runs_backward = True

    consumers: list[Consumer] = [{EngineEntered: differentiates, **seen.owners.applied.consumer()}]
    if lines:
        seen.lines = Lines()
        consumers.append(seen.lines.consumer(paths))
    with observe(*consumers, *more, everywhere=[{ModuleEntered: entered, ModuleLeft: left}]):
        began = number()
        try:
            yield seen
        finally:
            seen.numbers = range(began, number())


def _shape(given: object) -> tuple[int, ...] | None:
    """Return the shape of the first tensor among a module's arguments."""
    several = given if isinstance(given, tuple) else (given,)
    with torch._C.DisableTorchFunction():  # reading a shape is not an operation of the forward
        return next((tuple(each.shape) for each in several if isinstance(each, Tensor) and not each.is_nested), None)


def _count(counts: list[tuple[Tensor, int]], output: object) -> None:
    """Append how many elements of an output are not zero; the count stays on the device until a view reads it."""
    if type(output) is not Tensor or output.is_meta or output.layout is not torch.strided or not output.numel():
        return
    if not torch._C._functorch.is_functorch_wrapped_tensor(output):
        with unobserved(), torch.no_grad():
            counts.append((output.count_nonzero(), output.numel()))
