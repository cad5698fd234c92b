"""Shapes for views, including those of nested tensors, whose rows differ in length."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

RAGGED = -1
"""The size of a dimension that differs from row to row; drawn as `j`."""


def sizes_of(of: Any) -> tuple[int, ...]:
    """Return the shape of a tensor, or of an entry of `_input_metadata`, with `RAGGED` dimensions.

    torch does not know the shape of a strided nested tensor's gradient: it is one ragged dimension.
    """
    if isinstance(of, Tensor):
        if of.is_nested and of.layout is torch.strided:
            rows = of._nested_tensor_size().unbind(1)
            return (of.size(0), *(int(sizes[0]) if bool((sizes == sizes[0]).all()) else RAGGED for sizes in rows))
    elif of.is_cpp_nested_tensor:
        return (RAGGED,)
    return tuple([RAGGED if _is_ragged(size) else int(size) for size in of.shape])


def is_ragged(node: Node) -> bool:
    """Return whether a node's gradient is nested: it has no single J."""
    return any(each.is_nested_tensor or each.is_cpp_nested_tensor for each in node._input_metadata)


def _is_ragged(size: Any) -> bool:
    return isinstance(size, torch.SymInt) and size.node.is_nested_int()
