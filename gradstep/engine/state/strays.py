"""The `.grad` of leaves that are neither the model's nor the optimizer's: a backward adds to it all the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from torch import Tensor

from gradstep.engine.bits import write
from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.debuggee.strays import Stray, stray_of
from gradstep.engine.state.part import Found, Key, Part, Reader, Row, Total, Writer, Writing

Kept = tuple[tuple[Stray, Tensor | None], ...]


class StrayGradients(Part[Kept]):
    """The `.grad` object of each that was found by then. One that is found later had then what it had when found."""

    name = "strays"
    kinds: ClassVar = {"stray": "grad"}
    begins_forward = False

    def capture(self, held: Debuggee) -> Kept:
        return tuple([(stray, stray.leaf.grad) for stray in held.strays.values()])

    def restore(self, held: Debuggee, kept: Kept) -> None:
        grads = {id(stray.leaf): grad for stray, grad in kept}
        for place, stray in held.strays.items():
            stray.leaf.grad = grads.get(place, stray.first)
            if place not in grads and stray.first is not None and stray.copy is not None:
                write(stray.first, stray.copy)

    def may_write(self, held: Debuggee, writing: Writing) -> Iterable[Row] | None:
        if not writing.grads:
            return None
        return [(key, grad) for key, grad in self.tensors(held, self.capture(held)) if grad is not None]

    def tensors(self, held: Debuggee, kept: Kept) -> Iterable[tuple[Key, Tensor | None]]:
        return [(("stray", stray.name), grad) for stray, grad in kept]

    def title(self, key: Key) -> str:
        return f"{key[1]}.grad"

    def hash(self, held: Debuggee, kept: Kept, total: Total) -> None:
        for stray, grad in sorted(kept, key=lambda pair: pair[0].name):
            if grad is not None:
                total.add("stray", stray.name)
                total.tensor(("stray", stray.name))

    def encode(self, held: Debuggee, kept: Kept, file: Writer) -> Mapping[str, Any]:
        pairs = ((stray.name, file.tensor(("stray", stray.name), f"{stray.name}.grad")) for stray, _ in kept)
        return {"strays": dict(pairs)}

    def decode(self, held: Debuggee, file: Reader) -> Found:
        found = {name: file.value(value) for name, value in file.state.get("strays", {}).items()}
        by_name = {path: tensor for path, tensor in held.attributes.capture().tensors() if tensor.is_leaf}
        by_name.update({stray.name: stray.leaf for stray in held.strays.values()})

        def put() -> None:
            kept = []
            for name in found.keys() & by_name.keys():
                leaf, grad = by_name[name], found[name]
                stray = held.strays.setdefault(id(leaf), stray_of(name, leaf))
                kept.append((stray, None if grad is None else grad.to(leaf.device)))
            self.restore(held, tuple(kept))

        return Found(put)
