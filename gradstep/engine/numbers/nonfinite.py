"""What a tensor holds that is not finite, and the plain numbers of one that is sparse, nested or under a vmap."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor


class NotFinite(NamedTuple):
    """What a value holds that is not finite."""

    nan: bool = False
    inf: str = ""
    """`-inf` where all its infinities are negative, else `inf`; empty for none."""

    def has(self, kind: Literal["nan", "inf"]) -> bool:
        """Return whether it holds a NaN, or an infinity."""
        return self.nan if kind == "nan" else bool(self.inf)

    def word(self, kind: Literal["nan", "inf"]) -> str:
        """Return what it holds of a kind, in a word."""
        return "nan" if kind == "nan" else self.inf


FINITE = NotFinite()


def unwrapped(tensor: Tensor) -> Tensor:
    """Return what a vmap runs over, which knows whether it requires grad; any other tensor as it is."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor


def numbers_of(tensor: Tensor) -> Tensor:
    """Return all numbers of a tensor in a plain one: what a sparse or nested one stores, what a vmap runs over."""
    tensor = unwrapped(tensor)
    if tensor.layout is torch.sparse_coo:
        return tensor.detach()._values()
    return tensor.detach().values() if tensor.is_nested or tensor.layout is not torch.strided else tensor


def not_finite(tensor: Tensor) -> NotFinite:
    """Return what a tensor holds that is not finite."""
    if tensor.is_meta or not (tensor.is_floating_point() or tensor.is_complex()):
        return FINITE
    numbers = numbers_of(tensor)
    if numbers.isfinite().all():
        return FINITE
    infinite, inf = numbers.isinf(), ""
    if infinite.any():
        inf = "inf" if numbers.is_complex() or (numbers[infinite] > 0).any() else "-inf"
    return NotFinite(bool(numbers.isnan().any()), inf)


def is_opaque(tensor: Tensor) -> bool:
    """Return whether the numbers of a tensor can't be read where they stand: it is nested, or a vmap runs over it."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor) and not functorch.is_batchedtensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor.is_nested or functorch.is_batchedtensor(tensor)
