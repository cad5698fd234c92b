"""Training or evaluation mode of each module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.state.hashing import Hasher
from gradstep.engine.state.part import Decoded, Part, Reader, Writer


class Modes(Part[tuple[bool, ...]]):
    """`training` of each module."""

    name = "modes"
    always_captured = False
    sections: ClassVar = {"training": "train/eval mode"}

    def capture(self, held: Debuggee) -> tuple[bool, ...]:
        return tuple([module.training for module in held.modules])

    def restore(self, held: Debuggee, captured: tuple[bool, ...]) -> None:
        for module, training in zip(held.modules, captured, strict=True):
            if module.training != training:  # assigning an attribute of a module is slower than reading it
                module.training = training

    def hash(self, held: Debuggee, captured: tuple[bool, ...], hasher: Hasher) -> None:
        hasher.add("training", list(captured))

    def encode(self, held: Debuggee, captured: tuple[bool, ...], file: Writer) -> Mapping[str, Any]:
        return {"training": list(captured)}

    def decode(self, held: Debuggee, file: Reader) -> Decoded:
        training = tuple(file.state["training"])
        if len(training) != len(held.modules):
            raise file.damaged(f"it has a model of {len(training)} modules, and this one has {len(held.modules)}")
        return Decoded(lambda: self.restore(held, training))

    def differ(self, one: tuple[bool, ...], other: tuple[bool, ...]) -> Iterator[str]:
        if one != other:
            yield "train/eval mode"

    def size(self, captured: tuple[bool, ...], before: tuple[bool, ...] | None) -> int:
        return 32 * len(captured)
