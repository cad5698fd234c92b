"""Shapes as views hold them: of nested tensors too, whose rows differ in length."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node

RAGGED = -1
"""Stands in a shape for a dimension that is of another size in each row; drawn as `j`."""


def sizes_of(of: Any) -> tuple[int, ...]:
    """Return the shape of a tensor, or of one of a node's `_input_metadata`; `RAGGED` where it has no one size.

    torch does not say what flows into a node of nested tensors with the strided layout: one dimension stands for all.
    """
    if isinstance(of, Tensor):
        if of.is_nested and of.layout is torch.strided:
            rows = of._nested_tensor_size().unbind(1)
            return (of.size(0), *(int(sizes[0]) if bool((sizes == sizes[0]).all()) else RAGGED for sizes in rows))
    elif of.is_cpp_nested_tensor:
        return (RAGGED,)
    return tuple([RAGGED if _is_ragged(size) else int(size) for size in of.shape])


def is_ragged(node: Node) -> bool:
    """Return whether what flows into a node is nested: it has no one J."""
    return any(each.is_nested_tensor or each.is_cpp_nested_tensor for each in node._input_metadata)


def _is_ragged(size: Any) -> bool:
    return isinstance(size, torch.SymInt) and size.node.is_nested_int()
