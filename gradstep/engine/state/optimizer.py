"""The optimizer and its schedulers: state, hyper-parameters, and which optimizer it is."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import torch
from msgspec import Struct
from torch import Tensor, nn

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.state.hashing import Hasher, stable_repr
from gradstep.engine.state.part import Decoded, Key, Part, Reader, Row, Writer, Writing
from gradstep.values.errors import wrong


class CapturedOptimizer(Struct, frozen=True):
    """An optimizer and its schedulers: the live dicts and parameters, each with a copy of its contents.

    In these copies tensors are the live objects.
    """

    optimizer: torch.optim.Optimizer
    schedulers: tuple[Any, ...]
    state: tuple[tuple[Any, Any, Any], ...]
    """The owner (a parameter), its live entries, and their copy."""
    groups: tuple[tuple[dict[str, Any], dict[str, Any], tuple[nn.Parameter, ...]], ...]
    """The live group, its copy, and its parameters."""


class OptimizerPart(Part[CapturedOptimizer]):
    """Restored in place: `load_state_dict` would replace tensors, and cast some."""

    name = "optimizer"
    kinds: ClassVar = {"state": "state", "group": "hyper"}
    restored_for_rerun = False
    always_captured = False

    def capture(self, held: Debuggee) -> CapturedOptimizer:
        optimizer = held.optimizer
        return CapturedOptimizer(
            optimizer,
            tuple(held.schedulers),
            tuple([(owner, entries, _contents_of(entries)) for owner, entries in optimizer.state.items()]),
            tuple(
                [
                    (group, {k: _kept_value(v) for k, v in group.items() if k != "params"}, tuple(group["params"]))
                    for group in optimizer.param_groups
                ]
            ),
        )

    def present(self, held: Debuggee) -> CapturedOptimizer:
        optimizer = held.optimizer
        return CapturedOptimizer(
            optimizer,
            tuple(held.schedulers),
            tuple([(owner, entries, entries) for owner, entries in optimizer.state.items()]),
            tuple([(group, group, tuple(group["params"])) for group in optimizer.param_groups]),
        )

    def restore(self, held: Debuggee, captured: CapturedOptimizer) -> None:
        held.use_optimizer(captured.optimizer, captured.schedulers)
        state = held.optimizer.state
        state.clear()
        for owner, entries, were in captured.state:
            contents = _contents_of(were)  # a copy: the capture must survive later writes
            if isinstance(entries, dict):
                entries.clear()
                entries.update(contents)
                contents = entries
            state[owner] = contents
        for group, were, parameters in captured.groups:
            listed = group["params"]
            listed[:] = parameters
            group.clear()
            group["params"] = listed
            group.update({k: _kept_value(v) for k, v in were.items()})
        held.optimizer.param_groups[:] = [group for group, _, _ in captured.groups]

    def may_write(self, held: Debuggee, writing: Writing) -> Iterable[Row] | None:
        return self._rows(held, self.present(held)) if writing.optimizer else None

    def tensors(self, held: Debuggee, captured: CapturedOptimizer) -> Iterable[tuple[Key, Tensor | None]]:
        return self._rows(held, captured)

    def _rows(self, held: Debuggee, captured: CapturedOptimizer) -> Iterator[Row]:
        for owner, _, were in captured.state:
            # in torch each is a dict; other optimizers may keep a plain count under a string
            for key, value in were.items() if isinstance(were, dict) else ():
                if isinstance(value, Tensor):
                    yield ("state", held.names.get(owner, ""), str(key)), value
        for place, (_, were, _) in enumerate(captured.groups):
            for key, value in were.items():
                if isinstance(value, Tensor):
                    yield ("group", str(place), key), value

    def put(self, held: Debuggee, key: Key, tensor: Tensor | None) -> None:
        if key[0] == "state" and tensor is not None:
            owner = next(owner for owner in held.optimizer.state if held.names.get(owner, "") == key[1])
            held.optimizer.state[owner][key[2]] = tensor

    def title(self, key: Key) -> str:
        kind, place, entry = key
        return f"{place or 'parameter'}.state.{entry}" if kind == "state" else f"group[{place}].{entry}"

    def hash(self, held: Debuggee, captured: CapturedOptimizer, hasher: Hasher) -> None:
        hasher.add("optimizer", type(captured.optimizer).__qualname__)
        for place, (_, were, parameters) in enumerate(captured.groups):
            hasher.add("params", [held.names.get(p, "") for p in parameters])
            for key, value in were.items():
                if isinstance(value, Tensor):
                    hasher.add(key, "tensor")
                    hasher.tensor(("group", str(place), key))
                elif key != "params":
                    hasher.add(key, value)
        for owner, _, were in captured.state:
            name = held.names.get(owner, "") if isinstance(owner, Tensor) else repr(owner)
            hasher.add(name, len(were) if isinstance(were, dict) else were)
            for key, value in were.items() if isinstance(were, dict) else ():
                if isinstance(value, Tensor):
                    hasher.add(stable_repr(key), "tensor")
                    hasher.tensor(("state", name, str(key)))
                else:
                    hasher.add(stable_repr(key), value)

    def encode(self, held: Debuggee, captured: CapturedOptimizer, file: Writer) -> Mapping[str, Any]:
        def entry(key: Key, value: Any, name: str) -> Any:
            return file.tensor(key, name) if isinstance(value, Tensor) else file.value(value, name)

        state, groups = [], []
        for owner, _, were in captured.state:
            name = held.names.get(owner, "")
            entries = {k: entry(("state", name, str(k)), v, f"{name}.state.{k}") for k, v in were.items()}
            state.append((name, entries))
        for i, (_, were, parameters) in enumerate(captured.groups):
            names = [held.names.get(p, "") for p in parameters]
            groups.append([names, {k: entry(("group", str(i), k), v, f"group {i}.{k}") for k, v in were.items()}])
        return {"optimizer": type(captured.optimizer).__name__, "groups": groups, "state": state}

    def decode(self, held: Debuggee, file: Reader) -> Decoded:
        kind, written = type(held.optimizer).__name__, file.state["optimizer"]
        if written != kind:
            remedy = f"run `optimizer {written.lower()}` first; nothing was changed"
            raise wrong("this file can't be restored", f"{file.path} has {written}, and this is {kind}", remedy)
        here = [[held.names.get(p, "") for p in group["params"]] for group in held.optimizer.param_groups]
        if [names for names, _ in file.state["groups"]] != here:
            raise file.refuse("its optimizer has other parameter groups")
        by_name = dict(held.parameters)
        groups = [{key: file.value(value) for key, value in values.items()} for _, values in file.state["groups"]]
        state = [
            (by_name[name], {key: _placed(file.value(value), by_name[name]) for key, value in entries.items()})
            for name, entries in file.state["state"]
        ]

        def apply() -> None:
            for group, values in zip(held.optimizer.param_groups, groups, strict=True):
                group.update(values)
            held.optimizer.state.clear()
            held.optimizer.state.update(state)

        return Decoded(apply)

    def differ(self, one: CapturedOptimizer, other: CapturedOptimizer) -> Iterator[str]:
        if type(one.optimizer) is not type(other.optimizer):
            yield f"the optimizer: {type(one.optimizer).__name__} and {type(other.optimizer).__name__}"
        for place, ((_, were, _), (_, are, _)) in enumerate(zip(one.groups, other.groups, strict=False)):
            suffix = f" of group {place}" if len(one.groups) > 1 else ""
            for key in were.keys() & are.keys():
                values = were[key], are[key]
                if not any(isinstance(v, (Tensor, list, dict)) for v in values) and values[0] != values[1]:
                    yield f"{key}{suffix}: {values[0]} and {values[1]}"

    def differ_in_files(self, one: Reader, other: Reader) -> Iterator[str]:
        yield from one.differences("the optimizer", one.state["optimizer"], other.state["optimizer"])
        groups, others = one.state["groups"], other.state["groups"]
        if [names for names, _ in groups] != [names for names, _ in others]:
            yield "the parameter groups of the optimizer"
        for place, ((_, were), (_, are)) in enumerate(zip(groups, others, strict=False)):
            suffix = f" of group {place}" if len(groups) > 1 else ""
            for line in one.differences("", were, are):
                name, _, values = line.partition(": ")
                yield f"{name}{suffix}: {values}"


_PLAIN = frozenset({float, int, bool, str, type(None)})


def _kept_value(value: Any) -> Any:
    """Return the capture of a value: a tensor itself (its contents are copied separately), a copy of anything else."""
    return value if type(value) in _PLAIN or isinstance(value, Tensor) else copy.deepcopy(value)


def _contents_of(entries: Any) -> Any:
    """Return the capture of an optimizer's state of one parameter."""
    return {k: _kept_value(v) for k, v in entries.items()} if isinstance(entries, dict) else copy.deepcopy(entries)


def _placed(value: Any, parameter: Tensor) -> Any:
    """Return an entry of an optimizer's state where torch keeps it: on the parameter's device, scalars on the CPU."""
    if isinstance(value, Tensor) and value.dim() and value.device != parameter.device:
        return value.to(parameter.device)
    return value
