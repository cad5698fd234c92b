"""The gradients: the `.grad` of each parameter, where None is not the same as zeros."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from torch import Tensor

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.state.part import Decoded, Key, Part, Reader, Row, Writer, Writing


class Gradients(Part[tuple[Tensor | None, ...]]):
    """The `.grad` object of each parameter. It is hashed with its parameter."""

    name = "gradients"
    kinds: ClassVar = {"grad": "grad"}
    restored_for_rerun = False

    def capture(self, held: Debuggee) -> tuple[Tensor | None, ...]:
        return tuple([parameter.grad for _, parameter in held.parameters])

    def restore(self, held: Debuggee, captured: tuple[Tensor | None, ...]) -> None:
        for (_, parameter), grad in zip(held.parameters, captured, strict=True):
            if parameter.grad is not grad:
                parameter.grad = grad

    def may_write(self, held: Debuggee, writing: Writing) -> Iterable[Row] | None:
        if writing.grads:
            return [(("grad", name), p.grad) for name, p in held.parameters if p.grad is not None]
        return () if writing.clears else None

    def tensors(self, held: Debuggee, captured: tuple[Tensor | None, ...]) -> Iterable[tuple[Key, Tensor | None]]:
        return [(("grad", name), grad) for (name, _), grad in zip(held.parameters, captured, strict=True)]

    def put(self, held: Debuggee, key: Key, tensor: Tensor | None) -> None:
        held.parameter(key[1]).grad = tensor

    def title(self, key: Key) -> str:
        return f"{key[1]}.grad"

    def encode(self, held: Debuggee, captured: tuple[Tensor | None, ...], file: Writer) -> Mapping[str, Any]:
        return {"grads": {name: file.tensor(("grad", name), f"{name}.grad") for name, _ in held.parameters}}

    def decode(self, held: Debuggee, file: Reader) -> Decoded:
        grads = [file.value(file.state["grads"][name]) for name, _ in held.parameters]

        def apply() -> None:
            for (_, parameter), grad in zip(held.parameters, grads, strict=True):
                parameter.grad = None if grad is None else grad.to(parameter.device)

        return Decoded(apply)
