"""Other objects with a `state_dict`: schedulers, and those that a workload lists in `state=`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.state.hashing import Hasher
from gradstep.engine.state.part import Decoded, Part, Reader, Row, Writer, Writing
from gradstep.engine.tensor_trees import tensors_in


class Objects(Part[dict[str, Any]]):
    """The state of each object, by name. They run user code, so any act may write them."""

    name = "objects"
    self_contained = True

    def capture(self, held: Debuggee) -> dict[str, Any]:
        return {name: deepcopy(thing.state_dict()) for name, thing in held.stateful().items()}

    def present(self, held: Debuggee) -> dict[str, Any]:
        return {name: thing.state_dict() for name, thing in held.stateful().items()}

    def restore(self, held: Debuggee, captured: dict[str, Any]) -> None:
        for name, thing in held.stateful().items():
            if name in captured:
                thing.load_state_dict(deepcopy(captured[name]))

    def may_write(self, held: Debuggee, writing: Writing) -> Iterable[Row] | None:
        return ()

    def hash(self, held: Debuggee, captured: dict[str, Any], hasher: Hasher) -> None:
        for name, state in captured.items():
            hasher.add(name, state)

    def encode(self, held: Debuggee, captured: dict[str, Any], file: Writer) -> Mapping[str, Any]:
        return {"objects": {name: file.value(value, name) for name, value in captured.items()}}

    def decode(self, held: Debuggee, file: Reader) -> Decoded:
        found = {name: file.value(value) for name, value in file.state["objects"].items()}
        if set(found) != set(held.stateful()):
            raise file.refuse(f"its objects with a state_dict are {', '.join(found) or 'none'}")

        def apply() -> None:
            for name, thing in held.stateful().items():
                thing.load_state_dict(found[name])

        return Decoded(apply)

    def differ(self, one: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
        for name in one.keys() & other.keys():
            if Hasher.of(one[name]) != Hasher.of(other[name]):
                yield f"the state of {name}"

    def differ_in_files(self, one: Reader, other: Reader) -> Iterator[str]:
        yield from one.differences("", one.state["objects"], other.state["objects"])

    def size(self, captured: dict[str, Any], before: dict[str, Any] | None) -> int:
        return sum(tensor.nbytes for _, tensor in tensors_in(list(captured.values()), "", deep=-1))
