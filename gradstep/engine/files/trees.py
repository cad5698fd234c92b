"""Encode values as JSON and decode them exactly: numbers, strings and containers; tensors go to a separate table."""

from __future__ import annotations

import base64
from collections import OrderedDict, defaultdict, deque
from collections.abc import Mapping
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


def _laid_out(tensor: Tensor, stride: list[int] | None) -> Tensor:
    """Return a tensor with its original strides: other strides change the last bits of sums."""
    if stride is None or 0 in stride:
        return tensor
    made = torch.empty_strided(tensor.shape, stride, dtype=tensor.dtype)
    return made.copy_(tensor)
