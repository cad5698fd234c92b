"""The parameters: their contents, and which of them require a gradient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from torch import Tensor

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.state.part import Found, Key, Part, Reader, Row, Total, Writer, Writing

Kept = tuple[bool, ...]


class Parameters(Part[Kept]):
    """`requires_grad` of each; they stay the same objects."""

    name = "parameters"
    kinds: ClassVar = {"weight": "parameter"}
    each_time = False

    def capture(self, held: Debuggee) -> Kept:
        return tuple([parameter.requires_grad for _, parameter in held.parameters])

    def restore(self, held: Debuggee, kept: Kept) -> None:
        for (_, parameter), requires_grad in zip(held.parameters, kept, strict=True):
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)

    def may_write(self, held: Debuggee, writing: Writing) -> Iterable[Row] | None:
        rows = [(("weight", name), parameter) for name, parameter in writing.weights]
        return rows if rows or writing.code else None

    def tensors(self, held: Debuggee, kept: Kept) -> Iterable[tuple[Key, Tensor | None]]:
        return [(("weight", name), parameter) for name, parameter in held.parameters]

    def hash(self, held: Debuggee, kept: Kept, total: Total) -> None:
        for (name, _), requires_grad in zip(held.parameters, kept, strict=True):
            total.add(name, requires_grad)
            total.tensor(("weight", name))
            total.tensor(("grad", name))

    def encode(self, held: Debuggee, kept: Kept, file: Writer) -> Mapping[str, Any]:
        weights = {name: file.tensor(("weight", name), name) for name, _ in held.parameters}
        return {"weights": weights, "requires_grad": list(kept)}

    def decode(self, held: Debuggee, file: Reader) -> Found:
        there, requires = file.state["weights"], tuple(file.state["requires_grad"])
        weights = []
        for name, tensor in held.parameters:
            if name not in there:
                raise file.refuse(f"it has no {name}")
            kept = file.value(there[name])
            if kept.shape != tensor.shape or kept.dtype != tensor.dtype:
                here = f"{tuple(tensor.shape)} {tensor.dtype} here"
                raise file.refuse(f"{name} is {tuple(kept.shape)} {kept.dtype} in it, and {here}")
            weights.append(kept)
        if more := set(there) - {name for name, _ in held.parameters}:
            raise file.refuse(f"it has {min(more)}, which is not here")

        def put() -> None:
            for (_, parameter), weight in zip(held.parameters, weights, strict=True):
                parameter.data.copy_(weight)
            self.restore(held, requires)

        return Found(put, [(("weight", name), parameter) for name, parameter in held.parameters])

    def differ(self, one: Kept, other: Kept) -> Iterator[str]:
        if one != other:
            yield f"requires_grad of {sum(map(bool.__ne__, one, other))} parameters"
