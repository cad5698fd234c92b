"""Modules and optimizers of a script's classes without their tensors, made without calling anything of theirs."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import nn
from torch.optim import Optimizer

_PLAIN = frozenset({int, float, bool, str, complex, type(None), torch.dtype, torch.device})


def is_plain(value: object) -> bool:
    """Return whether a value is a number, a text, None, or a tuple or list of these."""
    return type(value) in _PLAIN or (type(value) in (tuple, list) and all(map(is_plain, value)))  # type: ignore[call-overload]


class _Blank(Optimizer):
    """Takes the place of an optimizer whose class keeps its groups elsewhere."""

    def __init__(self) -> None:
        raise NotImplementedError


def blank_optimizer(optimizer: Optimizer) -> Optimizer:
    """Return an optimizer of the same class, without calling anything of it."""
    kind = type(optimizer)
    odd = any(isinstance(getattr(kind, name, None), property) for name in ("param_groups", "state"))
    made: Optimizer = object.__new__(_named(kind, _Blank) if odd or hasattr(kind, "__del__") else kind)
    vars(made).update(param_groups=[], state=defaultdict(dict), defaults={})
    return made


def blank_module(module: nn.Module) -> nn.Module:
    """Return a module of the same class with its plain attributes, without calling anything of it."""
    kind = type(module)
    odd = isinstance(module, torch.jit.ScriptModule) or hasattr(kind, "__del__")
    made: nn.Module = object.__new__(_named(kind, nn.Module) if odd else kind)
    nn.Module.__init__(made)
    own = vars(made)
    own.update((key, value) for key, value in vars(module).items() if key not in own and is_plain(value))
    return made


def _named(kind: type, base: type) -> type:
    return type(kind.__name__, (base,), {"__module__": kind.__module__})
