"""The part of the state that holds the `.grad` of strays, to which a backward adds as to a parameter's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from torch import Tensor

from gradstep.engine.bits import write
from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.debuggee.strays import Stray, stray_of
from gradstep.engine.state.hashing import Hasher
from gradstep.engine.state.part import Decoded, Key, Part, Reader, Row, Writer, Writing

StrayGrads = tuple[tuple[Stray, Tensor | None], ...]


class StrayGradients(Part[StrayGrads]):
    """The `.grad` object of each stray found so far. One found later is restored to its `.grad` when it was found."""

    name = "strays"
    kinds: ClassVar = {"stray": "grad"}
    restored_for_rerun = False

    def capture(self, held: Debuggee) -> StrayGrads:
        return tuple([(stray, stray.leaf.grad) for stray in held.strays.values()])

    def restore(self, held: Debuggee, captured: StrayGrads) -> None:
        grads = {id(stray.leaf): grad for stray, grad in captured}
        for place, stray in held.strays.items():
            stray.leaf.grad = grads.get(place, stray.first)
            if place not in grads and stray.first is not None and stray.copy is not None:
                write(stray.first, stray.copy)

    def may_write(self, held: Debuggee, writing: Writing) -> Iterable[Row] | None:
        if not writing.grads:
            return None
        return [(key, grad) for key, grad in self.tensors(held, self.capture(held)) if grad is not None]

    def tensors(self, held: Debuggee, captured: StrayGrads) -> Iterable[tuple[Key, Tensor | None]]:
        return [(("stray", stray.name), grad) for stray, grad in captured]

    def title(self, key: Key) -> str:
        return f"{key[1]}.grad"

    def hash(self, held: Debuggee, captured: StrayGrads, hasher: Hasher) -> None:
        for stray, grad in sorted(captured, key=lambda pair: pair[0].name):
            if grad is not None:
                hasher.add("stray", stray.name)
                hasher.tensor(("stray", stray.name))

    def encode(self, held: Debuggee, captured: StrayGrads, file: Writer) -> Mapping[str, Any]:
        pairs = ((stray.name, file.tensor(("stray", stray.name), f"{stray.name}.grad")) for stray, _ in captured)
        return {"strays": dict(pairs)}

    def decode(self, held: Debuggee, file: Reader) -> Decoded:
        found = {name: file.value(value) for name, value in file.state.get("strays", {}).items()}
        by_name = {path: tensor for path, tensor in held.attributes.capture().tensors() if tensor.is_leaf}
        by_name.update({stray.name: stray.leaf for stray in held.strays.values()})

        def apply() -> None:
            captured = []
            for name in found.keys() & by_name.keys():
                leaf, grad = by_name[name], found[name]
                stray = held.strays.setdefault(id(leaf), stray_of(name, leaf))
                captured.append((stray, None if grad is None else grad.to(leaf.device)))
            self.restore(held, tuple(captured))

        return Decoded(apply)
