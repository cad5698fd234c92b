"""Plain attributes of modules, outside of parameters and buffers: a hidden state, a counter, a generator."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from gradstep.engine.bits import same_bits, write
from gradstep.engine.debuggee.attributes import CapturedAttributes, Record, same_state, same_value, set_state, state_of
from gradstep.engine.debuggee.debuggee import Debuggee, is_torchs_module
from gradstep.engine.state.hashing import Hasher
from gradstep.engine.state.part import Decoded, Key, Part, Reader, Row, Writer, Writing
from gradstep.values.errors import GradstepError

_VALUES = (type(None), bool, int, float, complex, str, bytes)
"""The types of `PLAIN` that a file can hold."""
_CONTAINERS = (list, dict, set, deque)
_UNREAD = object()


class AttributesPart(Part[CapturedAttributes]):
    """Plain attributes of modules, by path.

    The digest has only those that changed since the workload was built: a model has thousands of settings, and they are
    not state. A file has all that can be written without pickle.
    """

    name = "attributes"
    kinds: ClassVar = {"attribute": "attribute"}
    self_contained = True
    holds_graphs = True
    sections: ClassVar = {"attributes": "plain attributes of modules"}

    def without_graphs(self, captured: CapturedAttributes) -> CapturedAttributes:
        return captured.without_graphs()

    def with_graphs(self, captured: CapturedAttributes, present: CapturedAttributes) -> CapturedAttributes:
        return captured.with_graphs(present)

    def capture(self, held: Debuggee) -> CapturedAttributes:
        return held.attributes.capture()

    def restore(self, held: Debuggee, captured: CapturedAttributes) -> None:
        captured.restore()

    def may_write(self, held: Debuggee, writing: Writing) -> Iterable[Row] | None:
        return self._captured(held) if writing.code else None

    def _captured(self, held: Debuggee) -> Iterator[Row]:
        yield from self._rows(held.attributes.last)

    def tensors(self, held: Debuggee, captured: CapturedAttributes) -> Iterable[tuple[Key, Tensor | None]]:
        return self._rows(captured)

    def _rows(self, captured: CapturedAttributes) -> Iterator[Row]:
        for path, tensor in captured.tensors():
            yield ("attribute", path), tensor

    def hash(self, held: Debuggee, captured: CapturedAttributes, hasher: Hasher) -> None:
        attributes = held.attributes
        changed = changed_values(attributes.first, captured)
        for path, tensor in captured.tensors():
            hashed = hasher.hash_of(tensor)
            if attributes.first_hashes.get(path) != hashed:
                changed[path] = (str(tensor.dtype), tuple(tensor.shape), hashed)
        changed.update({f"{path} ": None for path in attributes.first_hashes.keys() - dict(captured.tensors()).keys()})
        for path, value in sorted(changed.items()):
            hasher.add(f"attribute {path}", value)

    def differ(self, one: CapturedAttributes, other: CapturedAttributes) -> Iterator[str]:
        if one is other:
            return
        there, values = one.plain(), changed_values(one, other)
        for path, value in sorted(values.items()):
            if path in there and isinstance(value, _VALUES) and isinstance(there[path], _VALUES):
                yield f"{path}: {there[path]!r} and {value!r}"
            else:
                yield path

    def encode(self, held: Debuggee, captured: CapturedAttributes, file: Writer) -> Mapping[str, Any]:
        return {"attributes": _Encoder(held, captured, file).encoded()}

    def decode(self, held: Debuggee, file: Reader) -> Decoded:
        here = held.attributes.capture()
        records = {record.path: record for record in here.records if _has_names(record)}
        section = file.state.get("attributes")
        if section is None:  # the first files lack it
            return Decoded(lambda: None)
        found = [
            (record, {name: _read(value, file) for name, value in section.get(path, {}).items()})
            for path, record in records.items()
        ]

        def apply() -> None:
            for record, entries in found:
                _put(held, record, entries)

        return Decoded(apply, list(self._rows(here)))


def changed_values(one: CapturedAttributes, other: CapturedAttributes) -> dict[str, Any]:
    """Return the values other than tensors that differ between two captures, by path: the later one, None if gone."""
    if one is other:
        return {}
    shared = one.ids() & other.ids()
    before, after = one.plain(shared), other.plain(shared)
    changed = {
        path: value for path, value in after.items() if path not in before or not same_value(before[path], value)
    }
    gone = dict.fromkeys(before.keys() - after.keys())
    first, last = ({path: state for path, _, state in each.states} for each in (one, other))
    moved = {path: now for path, now in last.items() if path not in first or not same_state(first[path], now)}
    return changed | gone | moved


def _has_names(record: Record) -> bool:
    """Return whether a record is of an object with attributes, or of the parameters of an unregistered module."""
    return record.path.endswith(".") or not isinstance(record.owner, _CONTAINERS)


class _UnwritableError(Exception):
    """The value can't be written without pickle, or is written elsewhere."""


class _Encoder:
    """Encodes the attributes of modules, and of the objects in them."""

    def __init__(self, held: Debuggee, captured: CapturedAttributes, file: Writer) -> None:
        self._kept, self._file, self._held = captured, file, held
        self._records = {id(record.owner): record for record in captured.records}
        self._states = {id(owner): state for _, owner, state in captured.states}
        self._keys = {id(tensor): path for path, tensor in captured.tensors()}
        self._keys |= {id(tensor): path for path, tensor in captured.graphs()}
        self._changed = {_top(path) for path in changed_values(held.attributes.first, captured)}

    def encoded(self) -> dict[str, Any]:
        """Return the section of the file: the attributes of each object, by its path."""
        found: dict[str, Any] = {}
        for record in self._kept.records:
            if not _has_names(record):
                continue
            settings = isinstance(record.owner, nn.Module) and is_torchs_module(record.owner)
            entries = {}
            for path, value in record.entries():
                if settings and _top(path) not in self._changed and not isinstance(value, Tensor):
                    continue
                try:
                    entries[path.removeprefix(record.path).removeprefix(".")] = self._tree(value, path)
                except (_UnwritableError, GradstepError):
                    entries[path.removeprefix(record.path).removeprefix(".")] = {"left out": type(value).__qualname__}
                    if any(each == path or each.startswith(f"{path}[") for each in self._changed):
                        self._file.leave_out(f"{path} (a {type(value).__qualname__})")
            if entries:
                found[record.path] = entries
        return found

    def _tree(self, value: Any, path: str) -> Any:
        if isinstance(value, _VALUES):
            return self._file.value(value, path)
        if isinstance(value, Tensor) and id(value) in self._keys:
            if value.grad_fn is not None:
                self._file.leave_out(f"the graph of {path}: detach it before the next forward")
            return self._file.tensor(("attribute", self._keys[id(value)]), f"attribute {path}")
        if id(value) in self._states:
            return {"state": self._file.value(self._states[id(value)], path)}
        if isinstance(value, (tuple, frozenset)):
            return {"tuple": [self._tree(each, f"{path}[{i}]") for i, each in enumerate(value)]}
        record = self._records.get(id(value))
        if record is None or not isinstance(value, _CONTAINERS):
            raise _UnwritableError
        parts = [(key, self._tree(each, f"{path}[{key!r}]")) for key, each in record.pairs()]
        if isinstance(value, dict):
            return {"dict": [[self._file.value(key, path), each] for key, each in parts]}
        kind = next(kind for kind in (list, set, deque) if isinstance(value, kind))
        return {kind.__qualname__: [each for _, each in parts]}


def _read(value: Any, file: Reader) -> Any:
    """Decode an entry that `_Encoder` made."""
    if not isinstance(value, dict):
        return value
    kind, inner = next(iter(value.items()))
    match kind:
        case "left out":
            return _UNREAD
        case "state":
            return _State(file.value(inner))
        case "dict":
            return {file.value(key): _read(each, file) for key, each in inner}
        case "list" | "tuple" | "set" | "deque":
            made = [_read(each, file) for each in inner]
            return {"list": list, "tuple": tuple, "set": set, "deque": deque}[kind](made)
    return file.value(value)


class _State:
    """The state of a generator, or an array, from a file."""

    def __init__(self, state: Any) -> None:
        self.state = state


def _put(held: Debuggee, record: Record, entries: Mapping[str, Any]) -> None:
    there = record.owner if isinstance(record.owner, dict) else record.owner.__dict__
    for name, value in entries.items():
        now = there.get(name, _UNREAD)
        if value is _UNREAD or (
            now is not _UNREAD and not isinstance(value, _State) and Hasher.of(now) == Hasher.of(value)
        ):
            continue
        if isinstance(value, _State):
            _put_state(there, name, value.state)
        elif isinstance(now, Tensor) and isinstance(value, Tensor) and now.is_leaf and now.dtype == value.dtype:
            if not same_bits(now, value):
                write(now, value)
        elif any(isinstance(now, kind) and isinstance(value, kind) for kind in (list, dict, set, deque)):
            _refill(now, _placed(value, held))
        else:
            there[name] = _placed(value, held)
    # an attribute that the file lacks had its initial value
    first, tensors = held.attributes.first.plain(), held.attributes.first_hashes
    for path, value in list(record.entries()):
        name = path.removeprefix(record.path).removeprefix(".")
        if name in entries or name not in there or not isinstance(value, (*_VALUES, Tensor)):
            continue
        if path in first:
            there[name] = first[path]
        elif path not in tensors:
            del there[name]


def _put_state(there: dict[str, Any], name: str, state: Any) -> None:
    now = there.get(name)
    if now is None:
        there[name] = state
    elif not same_state(state_of(now), state):
        set_state(now, state)


def _placed(value: Any, held: Debuggee) -> Any:
    """Return a value with its tensors on the device of the workload."""
    if isinstance(value, Tensor):
        return value.to(held.device)
    if isinstance(value, dict):
        return {key: _placed(each, held) for key, each in value.items()}
    if isinstance(value, (list, tuple, deque)):
        return type(value)(_placed(each, held) for each in value)
    return value.state if isinstance(value, _State) else value


def _refill(now: Any, value: Any) -> None:
    now.clear()
    if isinstance(now, dict):
        for key, each in value.items():
            now[key] = each  # `Counter.update` would add
    else:
        now.update(value) if isinstance(now, set) else now.extend(value)


def _top(path: str) -> str:
    """Return the attribute that contains a path."""
    return path.partition("[")[0]
