"""Tensors in containers of containers: each with its path, or all of them changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_map


def tensors_in(value: Any, name: str, deep: int = 3, dots: bool = False) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors in a value, each with the path an expression takes to it; of other objects none.

    `torch.utils._pytree` gives no such paths, and takes an unregistered mapping, as tokenizers return, for a leaf.

    Args:
        value: a tensor, or mappings, lists and tuples of them.
        name: what the value itself is called.
        deep: how many containers may lie within each other; what is deeper is left out; -1 for any number.
        dots: whether a place is written `.0`, as within a batch; else `[0]`.
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
    """Yield the tensors of a batch, named as expressions name them: `input` and `target` of a pair, else by places."""
    pair = isinstance(batch, (tuple, list)) and len(batch) == 2
    for own, part in zip(("input", "target"), batch, strict=True) if pair else ((name, batch),):
        yield from tensors_in(part, own, deep=-1, dots=True)


def changed(value: Any, change: Callable[[Any], Any], is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """Return a value with each of its leaves changed; the containers that torch's trees know keep their form.

    So do subclasses of list, tuple and dict, which torch takes for leaves.
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

    return tree_map(leaf, value, is_leaf=is_leaf)
