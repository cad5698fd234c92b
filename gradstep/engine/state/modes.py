"""Training or evaluation mode, of each module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.state.part import Found, Part, Reader, Total, Writer

Kept = tuple[bool, ...]


class Modes(Part[Kept]):
    """`training` of each module."""

    name = "modes"
    each_time = False

    def capture(self, held: Debuggee) -> Kept:
        return tuple([module.training for module in held.modules])

    def restore(self, held: Debuggee, kept: Kept) -> None:
        for module, training in zip(held.modules, kept, strict=True):
            if module.training != training:  # assigning to a module costs more than asking it
                module.training = training

    def hash(self, held: Debuggee, kept: Kept, total: Total) -> None:
        total.add("training", list(kept))

    def encode(self, held: Debuggee, kept: Kept, file: Writer) -> Mapping[str, Any]:
        return {"training": list(kept)}

    def decode(self, held: Debuggee, file: Reader) -> Found:
        training = tuple(file.state["training"])
        if len(training) != len(held.modules):
            raise file.damaged(f"it is of a model of {len(training)} modules, and there are {len(held.modules)}")
        return Found(lambda: self.restore(held, training))

    def differ(self, one: Kept, other: Kept) -> Iterator[str]:
        if one != other:
            yield "train/eval mode"

    def size(self, kept: Kept, before: Kept | None) -> int:
        return 32 * len(kept)
