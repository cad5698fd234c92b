"""A simulated second device: its tensors can only be copied until they are moved back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

from gradstep.engine.state import memory

AWAY = torch.device("meta")
"""The device that its tensors report: any other than the model's."""
_CROSS = {Tensor.copy_, torch._foreach_copy_}


class Away(Tensor):
    """A tensor on the other device."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func == Tensor.device.__get__:
            return AWAY
        if func == Tensor.is_cpu.__get__:
            return False
        if func is Tensor.cpu or (func is Tensor.to and torch.device("cpu") in args):
            return _home(args[0]).clone()
        if func in {Tensor.item, Tensor.tolist, Tensor.__float__, Tensor.__bool__}:
            return func(*tree_map(_home, args), **kwargs)
        if func in {Tensor.numpy, Tensor.data_ptr}:
            raise TypeError(f"{func.__name__} of a tensor on another device")
        tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, Tensor)]
        if func not in _CROSS and not all(isinstance(t, Away) or t.dim() == 0 for t in tensors):
            raise RuntimeError(f"expected all tensors to be on the same device: {func}")
        found = super().__torch_function__(func, types, args, kwargs)
        return _home(found) if func is Tensor.copy_ and not isinstance(args[0], Away) else found


def _home(value: Any) -> Any:
    return value.as_subclass(Tensor) if isinstance(value, Away) else value


class Sending(TorchFunctionMode):
    """Make `.to` move tensors to the other device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.to and args[1:2] == (AWAY,) and not isinstance(args[0], Away):
            return args[0].detach().clone().as_subclass(Away)
        return func(*args, **(kwargs or {}))


@contextmanager
def copies_away(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Tensor]]:
    """Allocate all dense copies on the other device; yield them."""
    made: list[Tensor] = []

    def dense_like(tensor: Tensor, offload: bool = False) -> Tensor:
        assert offload
        made.append(torch.empty_like(tensor, requires_grad=False).as_subclass(Away))
        return made[-1]

    monkeypatch.setattr(memory, "dense_like", dense_like)
    monkeypatch.setattr(memory.Memory, "_fresh", lambda self, tensor: dense_like(tensor, self._offload))
    with Sending():
        yield made
