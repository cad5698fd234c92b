"""Tensors in nested containers: iterate over them by path, or map a function over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_map


def tensors_in(value: Any, name: str, deep: int = 3, dots: bool = False) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in a value, each with its path as in an expression.

    `torch.utils._pytree` has other paths, and treats an unregistered mapping, as tokenizers return, as a leaf.

    Args:
        value: a tensor, or nested mappings, lists and tuples; other objects are skipped.
        name: the name of the value itself.
        deep: the most levels of containers to descend; -1 for any number.
        dots: True to write an index as `.0`, as within a batch; False for `[0]`.
    """
    if isinstance(value, Tensor):
        yield name, value
    elif deep and isinstance(value, (tuple, list)):
        for i, item in enumerate(value):
            yield from tensors_in(item, f"{name}.{i}" if dots else f"{name}[{i}]", deep - 1, dots)
    elif deep and isinstance(value, Mapping):
        for key, item in value.items():
            yield from tensors_in(item, f"{name}.{key}", deep - 1, dots)


def batch_tensors(batch: Any, name: str = "batch") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a batch by name, as in an expression: `input` and `target` of a pair, else `batch.0`."""
    pair = isinstance(batch, (tuple, list)) and len(batch) == 2
    for own, part in zip(("input", "target"), batch, strict=True) if pair else ((name, batch),):
        yield from tensors_in(part, own, deep=-1, dots=True)


def changed(value: Any, change: Callable[[Any], Any], is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """Map a function over the leaves of a value; containers keep their type.

    Unlike in `tree_map`, so do subclasses of list, tuple and dict, which torch treats as leaves.
    """

    def leaf(each: Any) -> Any:
        if is_leaf is None or not is_leaf(each):
            if isinstance(each, (tuple, list)):
                return type(each)(changed(part, change, is_leaf) for part in each)
            if isinstance(each, dict):
                parts = {key: changed(part, change, is_leaf) for key, part in each.items()}
                try:
                    return type(each)(**parts)
                except TypeError:
                    return parts
        return change(each)

    return leaf(value) if isinstance(value, Tensor) else tree_map(leaf, value, is_leaf=is_leaf)
