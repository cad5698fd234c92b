"""The parameters: their contents, and which of them require a gradient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from torch import Tensor

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.state.hashing import Hasher
from gradstep.engine.state.part import Decoded, Key, Part, Reader, Row, Writer, Writing


class Parameters(Part[tuple[bool, ...]]):
    """`requires_grad` of each parameter. Parameters stay the same objects."""

    name = "parameters"
    kinds: ClassVar = {"weight": "parameter"}
    always_captured = False

    def capture(self, held: Debuggee) -> tuple[bool, ...]:
        return tuple([parameter.requires_grad for _, parameter in held.parameters])

    def restore(self, held: Debuggee, captured: tuple[bool, ...]) -> None:
        for (_, parameter), requires_grad in zip(held.parameters, captured, strict=True):
            if parameter.requires_grad != requires_grad:
                parameter.requires_grad_(requires_grad)

    def may_write(self, held: Debuggee, writing: Writing) -> Iterable[Row] | None:
        rows = [(("weight", name), parameter) for name, parameter in writing.weights]
        return rows if rows or writing.code else None

    def tensors(self, held: Debuggee, captured: tuple[bool, ...]) -> Iterable[tuple[Key, Tensor | None]]:
        return [(("weight", name), parameter) for name, parameter in held.parameters]

    def hash(self, held: Debuggee, captured: tuple[bool, ...], hasher: Hasher) -> None:
        for (name, _), requires_grad in zip(held.parameters, captured, strict=True):
            hasher.add(name, requires_grad)
            hasher.tensor(("weight", name))
            hasher.tensor(("grad", name))

    def encode(self, held: Debuggee, captured: tuple[bool, ...], file: Writer) -> Mapping[str, Any]:
        weights = {name: file.tensor(("weight", name), name) for name, _ in held.parameters}
        return {"weights": weights, "requires_grad": list(captured)}

    def decode(self, held: Debuggee, file: Reader) -> Decoded:
        entries, requires = file.state["weights"], tuple(file.state["requires_grad"])
        weights = []
        for name, tensor in held.parameters:
            if name not in entries:
                raise file.refuse(f"it has no {name}")
            weight = file.value(entries[name])
            if weight.shape != tensor.shape or weight.dtype != tensor.dtype:
                here = f"{tuple(tensor.shape)} {tensor.dtype} here"
                raise file.refuse(f"{name} is {tuple(weight.shape)} {weight.dtype} in the file, and {here}")
            weights.append(weight)
        if more := set(entries) - {name for name, _ in held.parameters}:
            raise file.refuse(f"it has {min(more)}, and this model does not")

        def apply() -> None:
            for (_, parameter), weight in zip(held.parameters, weights, strict=True):
                parameter.data.copy_(weight)
            self.restore(held, requires)

        return Decoded(apply, [(("weight", name), parameter) for name, parameter in held.parameters])

    def differ(self, one: tuple[bool, ...], other: tuple[bool, ...]) -> Iterator[str]:
        if one != other:
            yield f"requires_grad of {sum(map(bool.__ne__, one, other))} parameters"

    def differ_in_files(self, one: Reader, other: Reader) -> Iterator[str]:
        values = (file.state["requires_grad"] for file in (one, other))
        for name, *pair in zip(one.state["weights"], *values, strict=False):
            yield from one.differences(f"requires_grad of {name}", *pair)
