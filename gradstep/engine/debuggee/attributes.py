"""What modules keep in plain attributes: numbers, tensors, generators, and containers of these.

A hidden state `self.h`, a counter of calls, a list of layers that is no ModuleList: whatever can be reached from the
attributes of a module by plain containers and simple objects. The walk is made before and after each act, so that what
did not change is told by identity alone.
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
"""Containers and objects that are walked at most; what lies beyond is not known."""
_INTERNAL = frozenset(nn.Module().__dict__)
"""The attributes that every module has: parameters, buffers, modules, hooks, and train/eval mode."""
_UNREGISTERED = _INTERNAL - {"_parameters", "_buffers", "_modules", "training"}
"""Those of a module that nobody registered: its parameters are plain attributes like any others."""
_LIBRARIES = frozenset({"torch", "numpy", *sys.stdlib_module_names})
PLAIN = (type(None), bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.layout, Enum)
"""Values that can't change, so that the reference says it all."""
Leaf = torch.Generator | random.Random | np.random.Generator | np.random.RandomState | np.ndarray


class Record(NamedTuple):
    """One container, and what it held, by reference."""

    owner: Any
    path: str
    keys: tuple[Any, ...]
    """Of a dict its keys, of an object the names of its attributes; empty for others."""
    values: tuple[Any, ...]
    within: tuple[tuple[Any, str], ...]
    """The containers in it, and their paths."""
    tensors: tuple[tuple[str, Tensor], ...]
    """The tensors in it; of one with a graph another object onto the same memory: contents can be kept without it."""
    graphs: tuple[Tensor, ...]
    """Those with a graph themselves."""
    leaves: tuple[tuple[str, Leaf], ...]
    """The generators and arrays in it."""
    plain: tuple[tuple[str, Any], ...]
    """What else is in it: values that can't change, and of containers and objects their kind."""
    opaque: tuple[tuple[str, Any], ...]
    """The objects in it that can't be captured: all that is known is which object it is."""

    def entries(self) -> Iterator[tuple[str, Any]]:
        """Yield path and value of each of its entries."""
        if self.keys:
            for key, value in zip(self.keys, self.values, strict=True):
                if not self._is_internal(key):
                    yield _path(self.path, self.owner, key), value
        else:
            # a set has its own order in each process
            for place, value in enumerate(
                sorted(self.values, key=repr) if isinstance(self.owner, set) else self.values
            ):
                yield f"{self.path}[{place}]", value

    def pairs(self) -> Iterator[tuple[Any, Any]]:
        """Yield key, or place, and value of each of its entries."""
        return zip(self.keys, self.values, strict=True) if self.keys else iter(enumerate(self.values))

    def is_same(self) -> bool:
        """Return whether it holds the very same objects now."""
        there = _dict_of(self.owner)
        if there is not None:
            return (
                len(there) == len(self.keys)
                and all(map(is_, there.values(), self.values))
                and all(map(is_, there, self.keys))
            )
        return len(self.owner) == len(self.values) and all(map(is_, self.owner, self.values))

    def restore(self) -> None:
        """Have it hold the same objects again."""
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
                there[key] = value  # of a Counter `update` adds
        elif isinstance(owner, list):
            owner[:] = self.values
        else:
            owner.clear()
            owner.update(self.values) if isinstance(owner, set) else owner.extend(self.values)

    def exchanged(self, instead: Mapping[int, Tensor]) -> Record:
        """Return the same with other tensors in the place of those of these ids."""
        values = tuple([_exchanged(value, instead) for value in self.values])
        return self if all(map(is_, values, self.values)) else self._replace(values=values)

    def _is_internal(self, key: Any) -> bool:
        return isinstance(self.owner, nn.Module) and key in _INTERNAL


class Kept(NamedTuple):
    """Everything that was kept outside of parameters and buffers at one moment."""

    records: tuple[Record, ...] = ()
    leaves: tuple[tuple[str, Leaf, Any], ...] = ()
    """Path, generator or array, and its state."""

    def plain(self, but: frozenset[int] = frozenset()) -> dict[str, Any]:
        """Return its values that can't change by path, without the records of these ids."""
        return {path: value for record in self.records if id(record) not in but for path, value in record.plain}

    def ids(self) -> frozenset[int]:
        """Return the ids of its records: one that did not change is the same in two of these."""
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
                yield paths[id(_stand_in(tensor))], tensor

    def has_live_graph(self) -> bool:
        """Return whether a tensor in it has a graph that no backward has freed."""
        return any(_is_alive(tensor) for record in self.records for tensor in record.graphs)

    def without_graphs(self) -> Kept:
        """Return the same without a graph: kept for later, it would keep all that it saved alive."""
        if not any(record.graphs for record in self.records):
            return self
        instead = {id(tensor): _stand_in(tensor) for _, tensor in self.graphs()}
        return self._replace(records=tuple([record.exchanged(instead)._replace(graphs=()) for record in self.records]))

    def with_graphs(self, other: Kept) -> Kept:
        """Return the same with the tensors of another that have a graph in the place of those of the same path."""
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
        """Put it back: the same objects in the same containers, generators and arrays as they were."""
        for record in self.records:
            record.restore()
        for _, leaf, state in self.leaves:
            if not same_state(state_of(leaf), state):
                set_state(leaf, state)


class Attributes:
    """Walks over what the modules of a workload keep in plain attributes.

    Args:
        named: the modules, by path.
        known: tells whether a tensor is state in another way: a parameter or a buffer.
    """

    def __init__(self, named: Sequence[tuple[str, nn.Module]], known: Iterable[Tensor]) -> None:
        # attributes of a scripted module are torch's own, and can't be reached
        self._roots = [(module, path) for path, module in named if not isinstance(module, torch.jit.ScriptModule)]
        self._modules = {id(module) for _, module in named}
        self._known = {id(tensor): tensor for tensor in known}
        self._records: dict[int, Record] = {}
        self.last = Kept()
        """What was there at the last capture."""
        self.first = self.capture()
        """What was there when the workload was built."""
        self.first_hashes = {path: hash_of(tensor) for path, tensor in self.first.tensors()}

    def capture(self) -> Kept:
        """Return what is there now; the same object for as long as nothing changed."""
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
        last = self.last
        states = [(path, leaf, state_of(leaf)) for record in records for path, leaf in record.leaves]
        same = len(records) == len(last.records) and all(map(is_, records, last.records))
        if same and all(same_state(one, other) for (*_, one), (*_, other) in zip(states, last.leaves, strict=True)):
            return last
        self._records = {id(record.owner): record for record in records}
        self.last = Kept(tuple(records), tuple(states))
        return self.last

    def _scan(self, owner: Any, path: str) -> Record:
        there = _dict_of(owner)
        keys, values = ((), tuple(owner)) if there is None else (tuple(there), tuple(there.values()))
        record = Record(owner, path, keys, values, (), (), (), (), (), ())
        within: list[tuple[Any, str]] = []
        tensors: list[tuple[str, Tensor]] = []
        graphs: list[Tensor] = []
        leaves: list[tuple[str, Leaf]] = []
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
                tensors.append((where, value if value.grad_fn is None else _stand_in(value)))
                graphs += [value] if value.grad_fn is not None else []
            elif isinstance(value, Leaf):
                leaves.append((where, value))
            elif isinstance(value, (tuple, frozenset)):
                plain.append((where, f"{type(value).__qualname__} of {len(value)}"))
                entries += [(f"{where}[{i}]", each) for i, each in enumerate(value)]  # come to at the end
            elif _is_container(value):
                plain.append((where, type(value).__qualname__))
                within.append((value, where))
            elif not (callable(value) or isinstance(value, ModuleType)):
                opaque.append((where, value))
                plain.append((where, type(value).__qualname__))
        found = (within, tensors, graphs, leaves, plain, opaque)
        return Record(owner, path, keys, values, *map(tuple, found))  # type: ignore[arg-type]


_STAND_INS = WeakTensorKeyDictionary()
_NEAR = 64
"""Nodes of a graph that are asked whether a backward has freed them."""


def _stand_in(tensor: Tensor) -> Tensor:
    """Return the tensor without a graph that shares memory and version counter with one; always the same object."""
    found: Tensor | None = _STAND_INS.get(tensor)  # type: ignore[no-untyped-call]
    if found is None:
        found = _STAND_INS[tensor] = tensor.detach()
    return found


def _exchanged(value: Any, instead: Mapping[int, Tensor]) -> Any:
    if isinstance(value, tuple):
        made = [_exchanged(each, instead) for each in value]
        if all(map(is_, made, value)):
            return value
        return type(value)(*made) if hasattr(value, "_fields") else tuple(made)
    return instead.get(id(value), value)


def _is_alive(tensor: Tensor) -> bool:
    """Return whether the graph of a tensor has saved what a backward needs: the nodes next to the tensor tell."""
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
    """Return whether two values that can't change are the same: -0.0 is not 0.0, NaN is NaN, True is not 1."""
    if one is other:
        return True
    return type(one) is type(other) and (
        repr(one) == repr(other) if isinstance(one, (float, complex)) else one == other
    )


def _dict_of(owner: Any) -> dict[Any, Any] | None:
    """Return the dict that a container is, or that an object keeps its attributes in; None for lists, sets, deques."""
    if isinstance(owner, dict):
        return owner
    if isinstance(owner, (list, set, deque)):
        return None
    found: dict[Any, Any] = owner.__dict__
    return found


def _is_container(value: Any) -> bool:
    """Return whether what a value holds can be captured: a plain container, or an object of a simple class.

    Objects of libraries are left alone, other than modules, and what `types.SimpleNamespace` and dataclasses are for.
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
    """Return whether a class is none of Python's, torch's or numpy's."""
    return kind.__module__.partition(".")[0] not in _LIBRARIES


def _path(path: str, owner: Any, key: Any) -> str:
    """Return what an entry is called: `layer.h`, `cache['k']`, `layers[0].weight`."""
    if path.endswith("."):
        return f"{path}{key}"
    if isinstance(owner, dict):
        return f"{path}[{key!r}]"
    return f"{path}.{key}" if path else str(key)


def state_of(leaf: Leaf) -> Any:
    """Return the state of a generator, or a copy of an array."""
    if isinstance(leaf, torch.Generator):
        return leaf.get_state()
    if isinstance(leaf, random.Random):
        return leaf.getstate()
    if isinstance(leaf, np.random.Generator):
        return leaf.bit_generator.state
    return leaf.get_state(legacy=False) if isinstance(leaf, np.random.RandomState) else leaf.copy()


def set_state(leaf: Leaf, state: Any) -> None:
    """Put a generator or an array back, in place."""
    if isinstance(leaf, torch.Generator):
        leaf.set_state(state)
    elif isinstance(leaf, random.Random):
        leaf.setstate(state)
    elif isinstance(leaf, np.random.Generator):
        leaf.bit_generator.state = state
    elif isinstance(leaf, np.random.RandomState):
        leaf.set_state(state)
    else:
        leaf[...] = state


def same_state(one: Any, other: Any) -> bool:
    """Return whether two states of one generator or array are the same, bit for bit."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, np.ndarray):
        same = one.dtype == other.dtype and one.shape == other.shape
        return same and (one.tobytes() == other.tobytes() if not one.dtype.hasobject else bool(np.all(one == other)))
    if isinstance(one, dict):
        return all(same_state(value, other[key]) for key, value in one.items())
    return bool(one == other)
