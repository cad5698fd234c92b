"""The gradients: the `.grad` of each parameter; None, zeros and values are three different things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from torch import Tensor

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.state.part import Found, Key, Part, Reader, Row, Writer, Writing

Kept = tuple[Tensor | None, ...]


class Gradients(Part[Kept]):
    """The `.grad` object of each parameter. They are hashed with their parameters."""

    name = "gradients"
    kinds: ClassVar = {"grad": "grad"}
    begins_forward = False

    def capture(self, held: Debuggee) -> Kept:
        return tuple([parameter.grad for _, parameter in held.parameters])

    def restore(self, held: Debuggee, kept: Kept) -> None:
        for (_, parameter), grad in zip(held.parameters, kept, strict=True):
            if parameter.grad is not grad:
                parameter.grad = grad

    def may_write(self, held: Debuggee, writing: Writing) -> Iterable[Row] | None:
        if writing.grads:
            return [(("grad", name), p.grad) for name, p in held.parameters if p.grad is not None]
        return () if writing.clears else None

    def tensors(self, held: Debuggee, kept: Kept) -> Iterable[tuple[Key, Tensor | None]]:
        return [(("grad", name), grad) for (name, _), grad in zip(held.parameters, kept, strict=True)]

    def put(self, held: Debuggee, key: Key, tensor: Tensor | None) -> None:
        held.parameter(key[1]).grad = tensor

    def title(self, key: Key) -> str:
        return f"{key[1]}.grad"

    def encode(self, held: Debuggee, kept: Kept, file: Writer) -> Mapping[str, Any]:
        return {"grads": {name: file.tensor(("grad", name), f"{name}.grad") for name, _ in held.parameters}}

    def decode(self, held: Debuggee, file: Reader) -> Found:
        grads = [file.value(file.state["grads"][name]) for name, _ in held.parameters]

        def put() -> None:
            for (_, parameter), grad in zip(held.parameters, grads, strict=True):
                parameter.grad = None if grad is None else grad.to(parameter.device)

        return Found(put)
