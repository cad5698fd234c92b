"""The tensor at fault when torch refuses to compute with two dtypes, or on two devices."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from msgspec.structs import replace
from torch import Tensor, nn

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.numbers.readable import dtype_name
from gradstep.engine.problems import DEVICES_DIFFER, DTYPES_DIFFER
from gradstep.engine.tensor_trees import batch_tensors, tensors_in
from gradstep.values.outcomes import Problem

_OWN = ("_parameters", "_buffers", "_modules")


def with_cause(problem: Problem, held: Debuggee, batch: Any) -> Problem:
    """Return a problem of two dtypes or devices with the tensor at fault in its remedy; any other problem unchanged.

    Args:
        problem: what a phase raised.
        held: the workload.
        batch: the batch that the phase ran on.
    """
    if re.search(DTYPES_DIFFER, problem.what):
        remedy = _remedy(held, batch, "dtype", dtype_name)
    elif re.search(DEVICES_DIFFER, problem.what):
        remedy = _remedy(held, batch, "device", lambda tensor: str(tensor.device))
    else:
        return problem
    return replace(problem, remedy=remedy) if remedy else problem


def _remedy(held: Debuggee, batch: Any, what: str, of: Callable[[Tensor], str]) -> str:
    """Return the remedy; empty when the batch is at fault, or the model has no parameters to compare with."""
    numbers = [(name, p) for name, p in held.parameters if p.is_floating_point() or p.is_complex()]
    if not numbers:
        return ""
    first, wanted = numbers[0][0], of(numbers[0][1])
    other = next((name for name, p in numbers if of(p) != wanted), None)
    if other is not None:
        found = of(dict(numbers)[other])
        what_to_do = "convert the model in the factory, `model.to(...)`, or the tensor passed between them"
        return f"`{first}` is {wanted} and `{other}` is {found}: {what_to_do}"
    given = [tensor for _, tensor in batch_tensors(batch) if tensor.is_floating_point() or what == "device"]
    if any(of(tensor) != wanted for tensor in given):
        return ""
    for name, module, key, tensor in _attributes(held):
        if of(tensor) != wanted and (tensor.is_floating_point() or what == "device"):
            kind, call = type(module).__name__, f'self.register_buffer("{key}", ...)'
            return (
                f"`{name}` is a plain attribute of {kind}, and {of(tensor)}: `model.to(...)` does not convert it. "
                f"Make it a buffer: `{call}`"
            )
    return (
        f"model and batch are {wanted}: a tensor created in the forward is not. "
        f"Create it with the {what} of another, e.g. torch.zeros(n, {what}=x.{what})"
    )


def _attributes(held: Debuggee) -> Iterator[tuple[str, nn.Module, str, Tensor]]:
    """Yield the tensors that modules hold outside of parameters and buffers, which `.to()` does not find."""
    for module in held.modules:
        path = held.paths.get(module, type(module).__name__)
        for key, value in vars(module).items():
            if key not in _OWN and not isinstance(value, torch.jit.ScriptModule):
                for name, tensor in tensors_in(value, f"{path}.{key}" if path else key):
                    yield name, module, key, tensor
