"""Finds strays: leaves that get a gradient but belong to neither model nor optimizer, so nothing trains them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Stray(NamedTuple):
    """One stray."""

    name: str
    leaf: Tensor
    first: Tensor | None
    """Its `.grad` when it was found."""
    copy: Tensor | None
    """A copy of that `.grad`."""


def stray_of(name: str, leaf: Tensor) -> Stray:
    """Return a leaf as a stray, with its present `.grad`."""
    return Stray(name, leaf, leaf.grad, None if leaf.grad is None else leaf.grad.detach().clone())
