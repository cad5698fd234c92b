"""The variables of a script as text: nothing of the script's is called, no `repr`, no property, no `__len__`."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import torch
from msgspec.structs import replace
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from gradstep.engine.autograd.nested_shapes import sizes_of
from gradstep.engine.expressions.names import fields_of
from gradstep.engine.numbers.nonfinite import is_opaque, unwrapped
from gradstep.engine.numbers.readable import dtype_name
from gradstep.engine.problems import printable
from gradstep.engine.reads import read
from gradstep.values import numbers
from gradstep.values.views.stack import Variable
from gradstep.views.numbers import Norms

_FIRST = 6
"""Items of a container that are written."""
_ITEMS = 100
"""Items of an opened container that are rows."""
_LARGEST = 1 << 24
"""Elements up to which a norm is computed: a language model's logits would take longer than the rest of the stop."""
_LONG = 60
"""Characters of a string that are written."""
_TORCHS = (torch.dtype, torch.device, torch.Size, torch.layout)
_WORD = re.compile(r"[A-Za-z0-9_]+\Z")
_DISPATCH = torch._C._disabled_torch_dispatch_impl


def variable_of(name: str, value: Any, norms: Norms) -> Variable:
    """Describe a variable."""
    kind = type(value)
    if issubclass(kind, Tensor):
        try:
            return _tensor(name, value, norms)
        except Exception:  # a subclass without a shape, a dtype or numbers
            return Variable(name, "", kind.__name__)
    return Variable(name, "", "" if value is None else kind.__name__, printable(_text(value)), opens=_opens(value))


def _tensor(name: str, tensor: Tensor, norms: Norms) -> Variable:
    row = Variable(
        name,
        "",
        type(tensor).__name__,
        shape=sizes_of(tensor),
        dtype=dtype_name(tensor),
        device=str(tensor.device),
        requires_grad=unwrapped(tensor).requires_grad,
        grad_fn=_made_by(tensor),
    )
    if type(tensor).__torch_dispatch__ is not _DISPATCH or is_opaque(tensor) or tensor.is_meta:
        return row
    if tensor.numel() > _LARGEST:
        return row
    plain = tensor.layout is torch.strided and not tensor.is_quantized
    text = _number(tensor.item(), 5) if plain and tensor.numel() == 1 else ""
    return replace(row, text=text, norm=read(norms.of([tensor]))[0])


def _made_by(tensor: Tensor) -> str:
    """Return the name of a tensor's node; of a view that was written in place, torch would make one when asked."""
    if not tensor.requires_grad or (tensor._is_view() and tensor._version):
        return ""
    return "" if tensor.grad_fn is None else str(tensor.grad_fn.name()).rpartition("::")[2]


def _number(value: complex, digits: int = 10) -> str:
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


# -- other values ------------------------------------------------------------------------------------------------------
def _text(value: Any) -> str:
    kind = type(value)
    if issubclass(kind, Tensor):
        return _brief_tensor(value)
    if kind is str:
        return repr(value if len(value) <= _LONG else value[:_LONG] + "…")
    if kind is int and value.bit_length() > 256:
        return f"an int of {value.bit_length()} bits"
    if kind is bytes:
        return f"{numbers.count(len(value), 'byte')}  {value[:20]!r}"
    if kind in (bool, int, float, complex, type(None), range, slice, type(Ellipsis)):
        return _number(value) if kind is float else repr(value)
    if kind in _TORCHS:
        return str(value)
    if issubclass(kind, nn.Module):
        return numbers.count(parameters_in(value), "parameter")
    if issubclass(kind, Optimizer):
        return _optimizer(value)
    if kind.__module__ == "numpy" and kind.__name__ == "ndarray":
        return f"{numbers.shape(value.shape) or '()'}  {value.dtype}"
    if kind.__module__ == "numpy" and hasattr(kind, "item"):
        return str(value.item())
    if (count := _count(value)) is not None:
        return f"{numbers.count(count, 'item')}  {_items_text(value)}" if count else "empty"
    return ", ".join(f"{name}={_brief(each)}" for name, each in islice(_public(value), _FIRST))


def _brief(value: Any) -> str:
    """Return a value inside another in a few words."""
    kind = type(value)
    if issubclass(kind, Tensor) or kind in (bool, int, float, complex, type(None), *_TORCHS):
        return _text(value)
    if kind is str:
        return repr(value if len(value) <= 20 else value[:20] + "…")
    return kind.__name__


def _brief_tensor(tensor: Tensor) -> str:
    try:
        return f"{numbers.shape(sizes_of(tensor)) or '()'} {dtype_name(tensor)}"
    except Exception:
        return type(tensor).__name__


def _items_text(value: Any) -> str:
    kind = type(value)
    if issubclass(kind, dict):
        written = [f"{_brief(key)}: {_brief(each)}" for key, each in islice(dict.items(value), _FIRST)]
        left, right = "{", "}"
    else:
        written = [_brief(each) for each in islice(_iterated(value), _FIRST)]
        left, right = "()" if issubclass(kind, tuple) else "[]" if issubclass(kind, (list, deque)) else "{}"
    dots = ["…"] if (_count(value) or 0) > _FIRST else []
    return f"{left}{', '.join([*written, *dots])}{right}"


_CONTAINERS: tuple[type, ...] = (list, tuple, dict, set, frozenset, deque)


def _base(value: object) -> type | None:
    """Return which builtin container a value is; its own methods may be the script's."""
    return next((base for base in _CONTAINERS if issubclass(type(value), base)), None)


def _count(value: Any) -> int | None:
    base = _base(value)
    return None if base is None else base.__len__(value)  # type: ignore[attr-defined]


def _iterated(value: Any) -> Iterator[Any]:
    base = _base(value)
    return iter(()) if base is None else base.__iter__(value)  # type: ignore[attr-defined]


def _optimizer(optimizer: Any) -> str:
    groups = fields_of(optimizer).get("param_groups")
    if type(groups) is not list or not all(type(group) is dict for group in groups):
        return ""
    rates = [_brief(group["lr"]) for group in groups if "lr" in group]
    return f"lr {', '.join(rates[:3])}" if rates else ""


def parameters_in(module: nn.Module) -> int:
    """Return the number of elements of a module's parameters, each counted once."""
    seen: dict[int, Tensor] = {}
    left, done = [module], set[int]()
    while left:
        fields = object.__getattribute__(left.pop(), "__dict__")
        own = [each for each in fields.get("_parameters", {}).values() if each is not None and not is_lazy(each)]
        seen.update({id(each): each for each in own})
        inner = [each for each in fields.get("_modules", {}).values() if each is not None and id(each) not in done]
        done.update(map(id, inner))
        left += inner
    return sum(each.numel() for each in seen.values())


def _public(value: object) -> Iterator[tuple[str, Any]]:
    return ((name, each) for name, each in fields_of(value).items() if not name.startswith("_"))


# -- items -------------------------------------------------------------------------------------------------------------
def _opens(value: object) -> bool:
    return next(items_of(value), None) is not None


def items_of(value: Any) -> Iterator[tuple[str, str, object]]:
    """Yield the items of a container, or the public fields of an object: label, part of a path, value.

    The part is empty where an expression has no name for the item.
    """
    kind = type(value)
    if issubclass(kind, (Tensor, Optimizer, str, bytes)) or kind.__module__ == "numpy":
        return
    found: Iterable[tuple[str, str, object]] = ()
    if issubclass(kind, dict):
        found = ((_brief(key), _part(key), each) for key, each in dict.items(value))
    elif issubclass(kind, (list, tuple)):
        found = ((f"[{i}]", str(i), each) for i, each in enumerate(_iterated(value)))
    elif _base(value) is None:
        found = ((f".{name}", _part(name), each) for name, each in _public(value))
    yield from islice(found, _ITEMS)


def _part(key: object) -> str:
    return key if type(key) is str and _WORD.match(key) else ""
