"""The further objects with a `state_dict`: schedulers, and what a workload lists under `state=`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.state.hashing import Sum
from gradstep.engine.state.part import Found, Part, Reader, Row, Total, Writer, Writing
from gradstep.engine.tensor_trees import tensors_in

Kept = dict[str, Any]


class Objects(Part[Kept]):
    """The state of each object, by name. They are code of the user's, and what they may write nobody knows."""

    name = "objects"
    alone = True

    def capture(self, held: Debuggee) -> Kept:
        return {name: deepcopy(thing.state_dict()) for name, thing in held.stateful().items()}

    def present(self, held: Debuggee) -> Kept:
        return {name: thing.state_dict() for name, thing in held.stateful().items()}

    def restore(self, held: Debuggee, kept: Kept) -> None:
        for name, thing in held.stateful().items():
            if name in kept:
                thing.load_state_dict(deepcopy(kept[name]))

    def may_write(self, held: Debuggee, writing: Writing) -> Iterable[Row] | None:
        return ()

    def hash(self, held: Debuggee, kept: Kept, total: Total) -> None:
        for name, state in kept.items():
            total.add(name, state)

    def encode(self, held: Debuggee, kept: Kept, file: Writer) -> Mapping[str, Any]:
        return {"objects": {name: file.value(value, name) for name, value in kept.items()}}

    def decode(self, held: Debuggee, file: Reader) -> Found:
        found = {name: file.value(value) for name, value in file.state["objects"].items()}
        if set(found) != set(held.stateful()):
            raise file.refuse(f"its objects with a state are {', '.join(found) or 'none'}")

        def put() -> None:
            for name, thing in held.stateful().items():
                thing.load_state_dict(found[name])

        return Found(put)

    def differ(self, one: Kept, other: Kept) -> Iterator[str]:
        for name in one.keys() & other.keys():
            if Sum.of(one[name]) != Sum.of(other[name]):
                yield f"the state of {name}"

    def size(self, kept: Kept, before: Kept | None) -> int:
        return sum(tensor.nbytes for _, tensor in tensors_in(list(kept.values()), "", deep=-1))
