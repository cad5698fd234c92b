"""Plain attributes of modules: numbers, tensors, generators, and containers of these.

A hidden state `self.h`, a call counter, a list of layers that is not a ModuleList: everything that can be reached from
the attributes of a module through plain containers and simple objects. They are walked before and after each act, so
unchanged containers are recognised by the identity of their items.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from operator import is_
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from gradstep.engine.autograd.buffers import is_freed
from gradstep.engine.bits import hash_of

_MOST = 20_000
"""The most containers and objects to walk; state beyond them is not captured."""
_INTERNAL = frozenset(nn.Module().__dict__)
"""The attributes of every module: parameters, buffers, submodules, hooks, and train/eval mode."""
_UNREGISTERED = _INTERNAL - {"_parameters", "_buffers", "_modules", "training"}
"""Those of an unregistered module, whose parameters are treated as plain attributes."""
_LIBRARIES = frozenset({"torch", "numpy", *sys.stdlib_module_names})
PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.layout, Enum)
"""Immutable values: a reference captures them."""
Stateful = torch.Generator | random.Random | np.random.Generator | np.random.RandomState | np.ndarray
"""Generators and arrays, whose state is copied and restored in place."""


class Record(NamedTuple):
    """One container, and references to its items."""

    owner: Any
    path: str
    keys: tuple[Any, ...]
    """The keys of a dict, or the attribute names of an object; empty for other containers."""
    values: tuple[Any, ...]
    within: tuple[tuple[Any, str], ...]
    """The containers in it, and their paths."""
    tensors: tuple[tuple[str, Tensor], ...]
    """The tensors in it; one with a graph as a detached alias, so that its contents can be kept without the graph."""
    graphs: tuple[Tensor, ...]
    """The tensors in it that have a graph."""
    stateful: tuple[tuple[str, Stateful], ...]
    """The generators and arrays in it."""
    plain: tuple[tuple[str, Any], ...]
    """The rest: immutable values, and the types of containers and objects."""
    opaque: tuple[tuple[str, Any], ...]
    """The objects in it that can't be captured, except by reference."""

    def entries(self) -> Iterator[tuple[str, Any]]:
        """Yield path and value of each of its entries."""
        if self.keys:
            for key, value in zip(self.keys, self.values, strict=True):
                if not self._is_internal(key):
                    yield _path(self.path, self.owner, key), value
        else:
            # the order of a set differs from process to process
            for place, value in enumerate(
                sorted(self.values, key=repr) if isinstance(self.owner, set) else self.values
            ):
                yield f"{self.path}[{place}]", value

    def pairs(self) -> Iterator[tuple[Any, Any]]:
        """Yield key or index, and value, of each of its entries."""
        return zip(self.keys, self.values, strict=True) if self.keys else iter(enumerate(self.values))

    def is_same(self) -> bool:
        """Return whether it still holds the same objects."""
        owner = self.owner
        there = _dict_of(owner)
        if there is None:
            return len(owner) == len(self.values) and all(map(is_, owner, self.values))
        if there is owner:
            same = len(there) == len(self.keys) and all(map(is_, there, self.keys))
        else:
            same = (*there,) == self.keys  # names, which are compared by identity first
        return same and all(map(is_, there.values(), self.values))

    def restore(self) -> None:
        """Put the same objects back into it."""
        if self.is_same():
            return
        owner, there = self.owner, _dict_of(self.owner)
        if there is not None and there is not owner:
            kept = dict(zip(self.keys, self.values, strict=True))
            for key in [key for key in there if key not in kept and not self._is_internal(key)]:
                del there[key]
            there.update({key: value for key, value in kept.items() if not self._is_internal(key)})
        elif there is not None:
            there.clear()
            for key, value in zip(self.keys, self.values, strict=True):
                there[key] = value  # `Counter.update` would add
        elif isinstance(owner, list):
            owner[:] = self.values
        else:
            owner.clear()
            owner.update(self.values) if isinstance(owner, set) else owner.extend(self.values)

    def exchanged(self, instead: Mapping[int, Tensor]) -> Record:
        """Return a record with some tensors replaced, by id."""
        values = tuple([_exchanged(value, instead) for value in self.values])
        return self if all(map(is_, values, self.values)) else self._replace(values=values)

    def _is_internal(self, key: Any) -> bool:
        return isinstance(self.owner, nn.Module) and key in _INTERNAL


class CapturedAttributes(NamedTuple):
    """All plain attributes at one point."""

    records: tuple[Record, ...] = ()
    states: tuple[tuple[str, Stateful, Any], ...] = ()
    """Path, generator or array, and its state."""

    def plain(self, but: frozenset[int] = frozenset()) -> dict[str, Any]:
        """Return its immutable values by path, leaving out the records with these ids."""
        return {path: value for record in self.records if id(record) not in but for path, value in record.plain}

    def ids(self) -> frozenset[int]:
        """Return the ids of its records: two captures share the records of unchanged containers."""
        return frozenset(map(id, self.records))

    def opaque(self) -> Iterator[tuple[str, Any]]:
        """Yield the objects that can't be captured, by path."""
        for record in self.records:
            yield from record.opaque

    def graphs(self) -> Iterator[tuple[str, Tensor]]:
        """Yield its tensors that have a graph, by path."""
        paths = {id(tensor): path for path, tensor in self.tensors()}
        for record in self.records:
            for tensor in record.graphs:
                yield paths[id(_detached(tensor))], tensor

    def has_live_graph(self) -> bool:
        """Return whether a tensor in it has a graph that was not freed."""
        return any(_is_alive(tensor) for record in self.records for tensor in record.graphs)

    def without_graphs(self) -> CapturedAttributes:
        """Return the same without graphs, which would keep everything they saved alive."""
        if not any(record.graphs for record in self.records):
            return self
        instead = {id(tensor): _detached(tensor) for _, tensor in self.graphs()}
        return self._replace(records=tuple([record.exchanged(instead)._replace(graphs=()) for record in self.records]))

    def with_graphs(self, other: CapturedAttributes) -> CapturedAttributes:
        """Return the same with the graph tensors of another capture at their paths."""
        theirs = dict(other.graphs())
        instead = {id(tensor): theirs[path] for path, tensor in self.tensors() if path in theirs}
        return self._replace(records=tuple([record.exchanged(instead) for record in self.records]))

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield its tensors by path, each once."""
        seen: set[int] = set()
        for record in self.records:
            for path, tensor in record.tensors:
                if id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield path, tensor

    def restore(self) -> None:
        """Restore the same objects in the same containers, and the state of generators and arrays."""
        for record in self.records:
            record.restore()
        for _, owner, state in self.states:
            if not same_state(state_of(owner), state):
                set_state(owner, state)


class Attributes:
    """Captures the plain attributes of the modules of a workload.

    Args:
        named: the modules, by path.
        known: the parameters and buffers, which are state already.
    """

    def __init__(self, named: Sequence[tuple[str, nn.Module]], known: Iterable[Tensor]) -> None:
        # attributes of a scripted module are torch's own, and can't be reached
        self._roots = [(module, path) for path, module in named if not isinstance(module, torch.jit.ScriptModule)]
        self._modules = {id(module) for _, module in named}
        self._known = {id(tensor): tensor for tensor in known}
        self._records: dict[int, Record] = {}
        self.last = CapturedAttributes()
        """The last capture."""
        self.first = self.capture()
        """The capture made when the workload was built."""
        self.first_hashes = {path: hash_of(tensor) for path, tensor in self.first.tensors()}

    def capture(self) -> CapturedAttributes:
        """Return the present attributes; the same object until something changes."""
        last = self.last
        # where no container has changed, walking them again would find the same ones
        same = last.records and all(map(Record.is_same, last.records))
        if same and all(same_state(state_of(owner), state) for _, owner, state in last.states):
            return last
        records: list[Record] = []
        seen, waiting = set[int](), self._roots[::-1]
        while waiting and len(records) < _MOST:
            owner, path = waiting.pop()
            if id(owner) in seen:
                continue
            seen.add(id(owner))
            record = self._records.get(id(owner))
            if record is None or record.owner is not owner or record.path != path or not record.is_same():
                record = self._records[id(owner)] = self._scan(owner, path)
            records.append(record)
            waiting += record.within[::-1]
        states = [(path, owner, state_of(owner)) for record in records for path, owner in record.stateful]
        self._records = {id(record.owner): record for record in records}
        self.last = CapturedAttributes(tuple(records), tuple(states))
        return self.last

    def _scan(self, owner: Any, path: str) -> Record:
        there = _dict_of(owner)
        keys, values = ((), tuple(owner)) if there is None else (tuple(there), tuple(there.values()))
        record = Record(owner, path, keys, values, (), (), (), (), (), ())
        within: list[tuple[Any, str]] = []
        tensors: list[tuple[str, Tensor]] = []
        graphs: list[Tensor] = []
        stateful: list[tuple[str, Stateful]] = []
        plain: list[tuple[str, Any]] = []
        opaque: list[tuple[str, Any]] = []
        entries = list(record.entries())
        if isinstance(owner, nn.Module) and id(owner) not in self._modules:
            assert there is not None
            within += [(there[key], f"{path}.") for key in ("_parameters", "_buffers", "_modules") if there[key]]
            entries.append((f"{path}.training", owner.training))
        for where, value in entries:
            if isinstance(value, PLAIN):
                plain.append((where, value))
            elif id(value) in self._modules or id(value) in self._known:
                continue
            elif isinstance(value, Tensor):
                tensors.append((where, value if value.grad_fn is None else _detached(value)))
                graphs += [value] if value.grad_fn is not None else []
            elif isinstance(value, Stateful):
                stateful.append((where, value))
            elif isinstance(value, (tuple, frozenset)):
                plain.append((where, f"{type(value).__qualname__} of {len(value)}"))
                entries += [(f"{where}[{i}]", each) for i, each in enumerate(value)]  # visited at the end of this loop
            elif _is_container(value):
                plain.append((where, type(value).__qualname__))
                within.append((value, where))
            elif not (callable(value) or isinstance(value, ModuleType)):
                opaque.append((where, value))
                plain.append((where, type(value).__qualname__))
        found = (within, tensors, graphs, stateful, plain, opaque)
        return Record(owner, path, keys, values, *map(tuple, found))  # type: ignore[arg-type]


_DETACHED = WeakTensorKeyDictionary()
_NEAR = 64
"""The most nodes of a graph to check for freed buffers."""


def _detached(tensor: Tensor) -> Tensor:
    """Return the detached alias of a tensor, which shares memory and version counter; always the same object."""
    found: Tensor | None = _DETACHED.get(tensor)  # type: ignore[no-untyped-call]
    if found is None:
        found = _DETACHED[tensor] = tensor.detach()
    return found


def _exchanged(value: Any, instead: Mapping[int, Tensor]) -> Any:
    if isinstance(value, tuple):
        made = [_exchanged(each, instead) for each in value]
        if all(map(is_, made, value)):
            return value
        return type(value)(*made) if hasattr(value, "_fields") else tuple(made)
    return instead.get(id(value), value)


def _is_alive(tensor: Tensor) -> bool:
    """Return whether the graph of a tensor was not freed, judged by the nodes nearest to the tensor."""
    waiting, seen = deque([tensor.grad_fn]), 0
    while waiting and seen < _NEAR:
        node = waiting.popleft()
        if node is None:
            continue
        seen += 1
        freed = is_freed(node)
        if freed is not None:
            return not freed
        waiting += [following for following, _ in node.next_functions]
    return False


def same_value(one: Any, other: Any) -> bool:
    """Return whether two immutable values are the same: -0.0 is not 0.0, NaN is NaN, True is not 1."""
    if one is other:
        return True
    return type(one) is type(other) and (
        repr(one) == repr(other) if isinstance(one, (float, complex)) else one == other
    )


def _dict_of(owner: Any) -> dict[Any, Any] | None:
    """Return a dict itself, or the `__dict__` of an object; None for lists, sets, deques."""
    if isinstance(owner, dict):
        return owner
    if isinstance(owner, (list, set, deque)):
        return None
    found: dict[Any, Any] = owner.__dict__
    return found


def _is_container(value: Any) -> bool:
    """Return whether the contents of a value can be captured: a plain container, or an object of a simple user class.

    Of library classes, only modules and `types.SimpleNamespace` count.
    """
    if isinstance(value, (list, dict, set, deque)):
        return True
    if isinstance(value, nn.Module):
        return not isinstance(value, torch.jit.ScriptModule)
    kind = type(value)
    if isinstance(value, type) or type(getattr(value, "__dict__", None)) is not dict:
        return False
    if kind is SimpleNamespace:
        return True
    simple = getattr(kind, "__setattr__", None) is object.__setattr__
    return is_users(kind) and simple and not any("__slots__" in vars(base) for base in kind.__mro__[:-1])


def is_users(kind: type) -> bool:
    """Return whether a class is neither Python's, torch's nor numpy's."""
    return kind.__module__.partition(".")[0] not in _LIBRARIES


def _path(path: str, owner: Any, key: Any) -> str:
    """Return the path of an entry: `layer.h`, `cache['k']`, `layers[0].weight`."""
    if path.endswith("."):
        return f"{path}{key}"
    if isinstance(owner, dict):
        return f"{path}[{key!r}]"
    return f"{path}.{key}" if path else str(key)


def state_of(owner: Stateful) -> Any:
    """Return the state of a generator, or a copy of an array."""
    if isinstance(owner, torch.Generator):
        return owner.get_state()
    if isinstance(owner, random.Random):
        return owner.getstate()
    if isinstance(owner, np.random.Generator):
        return owner.bit_generator.state
    return owner.get_state(legacy=False) if isinstance(owner, np.random.RandomState) else owner.copy()


def set_state(owner: Stateful, state: Any) -> None:
    """Restore a generator or an array in place."""
    if isinstance(owner, torch.Generator):
        owner.set_state(state)
    elif isinstance(owner, random.Random):
        owner.setstate(state)
    elif isinstance(owner, np.random.Generator):
        owner.bit_generator.state = state
    elif isinstance(owner, np.random.RandomState):
        owner.set_state(state)
    else:
        owner[...] = state


def same_state(one: Any, other: Any) -> bool:
    """Return whether two states of one generator or array are bitwise equal."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        same = one.dtype == other.dtype and one.shape == other.shape
        return same and (one.tobytes() == other.tobytes() if not one.dtype.hasobject else bool(np.all(one == other)))
    if isinstance(one, dict):
        return all(same_state(value, other[key]) for key, value in one.items())
    return bool(one == other)
