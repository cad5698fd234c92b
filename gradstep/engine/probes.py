"""The taps on torch while a forward runs: which module is running, and what the model returned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from gradstep.engine.graph import Owners


@dataclass
class Watched:
    """What the probes saw of one forward."""

    owners: Owners = field(default_factory=Owners)
    output: Any = None
    """What the root module returned last; None until it has."""


@contextmanager
def watch_forward(paths: dict[nn.Module, str], root: nn.Module) -> Iterator[Watched]:
    """Note the module that runs and what the root returns, for as long as the block lasts.

    The hooks are torch's global ones and stand only inside the block, so the user's modules are never touched.

    Args:
        paths: the dotted name of each module of the model; others (a loss module) are passed over.
        root: the model.
    """
    seen = Watched()
    number = torch.autograd._get_sequence_nr  # type: ignore[attr-defined]
    numbers, names = seen.owners.numbers, seen.owners.paths
    stack: list[str | None] = [None]

    def enter(module: nn.Module, _: Any) -> None:
        path = paths.get(module)
        if path is not None:
            stack.append(path)
            numbers.append(number())
            names.append(path)

    def leave(module: nn.Module, _: Any, output: Any) -> None:
        if module in paths:
            if len(stack) > 1:
                stack.pop()
            numbers.append(number())
            names.append(stack[-1])
            if module is root:
                seen.output = output

    before = register_module_forward_pre_hook(enter)
    after = register_module_forward_hook(leave, always_call=True)
    try:
        yield seen
    finally:
        before.remove()
        after.remove()
