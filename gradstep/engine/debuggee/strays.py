"""A leaf that gets a gradient and belongs neither to the model nor to the optimizer: nothing will ever train it."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Stray(NamedTuple):
    """One such leaf."""

    name: str
    leaf: Tensor
    first: Tensor | None
    """Its `.grad` when it was found."""
    copy: Tensor | None
    """What that held."""


def stray_of(name: str, leaf: Tensor) -> Stray:
    """Return a leaf that was just found, as it is now."""
    return Stray(name, leaf, leaf.grad, None if leaf.grad is None else leaf.grad.detach().clone())
