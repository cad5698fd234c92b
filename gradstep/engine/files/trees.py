"""Encode values as JSON and decode them exactly: numbers, strings and containers; tensors go to a separate table."""

from __future__ import annotations

import base64
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradstep.values.errors import wrong


def encode(value: Any, tensors: dict[str, Tensor], name: str) -> Any:
    """Return a value ready for JSON, and add its tensors and arrays to `tensors`.

    Args:
        value: the value.
        tensors: the tensors by name; the new names begin with `name`.
        name: the name of the value, also used in the error.

    Raises:
        GradstepError: it holds an object that only pickle could write.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return {"float": value.hex()}
        case complex():
            return {"complex": [value.real.hex(), value.imag.hex()]}
        case bytes():
            return {"bytes": base64.b64encode(value).decode()}
        case Tensor() if value.layout is torch.sparse_coo:
            parts = (("indices", value._indices()), ("values", value._values()))
            return {
                "sparse": [encode(part, tensors, f"{name}.{word}") for word, part in parts],
                "shape": list(value.shape),
                "coalesced": value.is_coalesced(),
            }
        case Tensor():
            tensors[name] = value
            return {"tensor": name, "stride": list(value.stride()) if not value.is_contiguous() else None}
        case np.ndarray() if not value.dtype.hasobject:
            tensors[name] = torch.frombuffer(bytearray(value.tobytes()), dtype=torch.uint8) if value.size else _NONE
            return {"array": name, "dtype": value.dtype.str, "shape": list(value.shape)}
        case np.generic():
            return {"scalar": encode(np.asarray(value), tensors, name)}
    kind = _KINDS.get(type(value))
    if kind == "dict" or (kind is None and isinstance(value, Mapping) and type(value).__name__ == "Counter"):
        return {"dict": [[encode(k, tensors, name), encode(v, tensors, f"{name}.{k}")] for k, v in value.items()]}
    if kind is None:
        what = f"{name} holds a {type(value).__module__}.{type(value).__qualname__}"
        raise wrong("this can't be written to a file", what, "only pickle could write it, and gradstep does not use it")
    items = sorted(value, key=repr) if kind == "set" else value
    return {kind: [encode(each, tensors, f"{name}.{i}") for i, each in enumerate(items)]}


_NONE = torch.empty(0, dtype=torch.uint8)
_KINDS: dict[type, str] = {
    dict: "dict",
    OrderedDict: "dict",
    defaultdict: "dict",
    list: "list",
    tuple: "tuple",
    torch.Size: "tuple",
    set: "set",
    deque: "deque",
}


def decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the value that `encode` encoded.

    Raises:
        LookupError, ValueError, TypeError: `encode` did not return this.
    """
    if not isinstance(value, dict):
        return value
    (kind, inner), *more = value.items()
    match kind:
        case "float":
            return float.fromhex(inner)
        case "complex":
            return complex(*map(float.fromhex, inner))
        case "bytes":
            return base64.b64decode(inner)
        case "tensor":
            return _laid_out(tensors[inner], dict(more)["stride"])
        case "sparse":
            indices, values = (decode(part, tensors) for part in inner)
            found = torch.sparse_coo_tensor(indices, values, dict(more)["shape"], check_invariants=True)
            return found._coalesced_(dict(more)["coalesced"])
        case "array":
            raw = tensors[inner].numpy().tobytes()
            return np.frombuffer(raw, dtype=dict(more)["dtype"]).reshape(dict(more)["shape"]).copy()
        case "scalar":
            return decode(inner, tensors)[()]
        case "dict":
            return {decode(k, tensors): decode(v, tensors) for k, v in inner}
        case "list" | "tuple" | "set" | "deque":
            made = [decode(each, tensors) for each in inner]
            return {"list": list, "tuple": tuple, "set": set, "deque": deque}[kind](made)
    raise ValueError(f"there is no encoding {kind}")


def differences(name: str, one: Any, other: Any) -> Iterator[str]:
    """Yield the differences between two encoded values, those in dicts one by one, other than tensor contents."""
    if one == other:
        return
    if isinstance(one, dict) and isinstance(other, dict) and not _is_leaf(one) and not _is_leaf(other):
        for key in dict.fromkeys((*one, *other)):
            yield from differences(f"{name}.{key}" if name else str(key), _inner(one.get(key)), _inner(other.get(key)))
        return
    if not any(isinstance(each, dict) and each.keys() & {"tensor", "array"} for each in (one, other)):
        values = [_short(each) for each in (one, other)]
        yield f"{name}: {values[0]} and {values[1]}" if values[0] != values[1] else name


def tensor_names(value: Any) -> Iterator[str]:
    """Yield the names of the tensors in an encoded value, in order."""
    if isinstance(value, dict) and isinstance(value.get("tensor"), str):
        yield value["tensor"]
    elif isinstance(value, (dict, list)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from tensor_names(each)


def _inner(value: Any) -> Any:
    """Return a dict that was encoded as pairs as a dict again."""
    if isinstance(value, dict) and isinstance(value.get("dict"), list):
        return {str(key): each for key, each in value["dict"]}
    return value


_LEAVES = frozenset({"float", "complex", "bytes", "tensor", "array", "scalar", "list", "tuple", "set", "deque"})


def _is_leaf(value: Mapping[str, Any]) -> bool:
    return bool(value.keys() & _LEAVES)


def _short(value: Any) -> str:
    """Return an encoded value as text, cut to 40 characters."""
    try:
        text = str(decode(value, {}))
    except LookupError:  # there are tensors in it
        return "others"
    return text if len(text) <= 40 else text[:37] + "..."


def _laid_out(tensor: Tensor, stride: list[int] | None) -> Tensor:
    """Return a tensor with its original strides: other strides change the last bits of sums."""
    if stride is None or 0 in stride:
        return tensor
    made = torch.empty_strided(tensor.shape, stride, dtype=tensor.dtype)
    return made.copy_(tensor)
