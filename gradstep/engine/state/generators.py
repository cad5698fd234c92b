"""The random generators of torch on every device, of python and of numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.debuggee.generators import Randomness, state_bytes
from gradstep.engine.state.part import Decoded, Part, Reader, Total, Writer


class Generators(Part[Randomness]):
    """Restored last: restoring an object or a batch may draw random numbers."""

    name = "generators"
    always_captured = False
    self_contained = True

    def capture(self, held: Debuggee) -> Randomness:
        return held.keeper.capture()

    def restore(self, held: Debuggee, captured: Randomness) -> None:
        held.keeper.restore(captured)

    def hash(self, held: Debuggee, captured: Randomness, total: Total) -> None:
        for part in state_bytes(captured):
            total.raw(part)

    def encode(self, held: Debuggee, captured: Randomness, file: Writer) -> Mapping[str, Any]:
        return {"randomness": encoded(captured, file, "generators")}

    def decode(self, held: Debuggee, file: Reader) -> Decoded:
        found = decoded(held, file, file.state["randomness"])
        return Decoded(lambda: held.keeper.restore(found))

    def differ(self, one: Randomness, other: Randomness) -> Iterator[str]:
        if one is not other and state_bytes(one) != state_bytes(other):
            yield "the random generators"

    def size(self, captured: Randomness, before: Randomness | None) -> int:
        return 0 if captured is before else _BYTES


_BYTES = 33_000
"""Bytes of all generator states: 5 kB for torch, 25 kB for python (a tuple), 2.5 kB for numpy."""


def encoded(captured: Randomness, file: Writer, name: str) -> Any:
    """Return the file's entry for the generators at one point."""
    return {
        "torch": file.value(captured.cpu, f"{name}.torch"),
        "devices": [file.value(state, f"{name}.{i}") for i, (_, state) in enumerate(captured.devices)],
        "python": file.value(captured.python, f"{name}.python"),
        "numpy": file.value(captured.numpy, f"{name}.numpy"),
    }


def decoded(held: Debuggee, file: Reader, entry: Mapping[str, Any]) -> Randomness:
    """Return the generators from the file's entry for them."""
    here = [generator for generator, _ in held.keeper.capture().devices]
    states = [file.value(state) for state in entry["devices"]]
    numpy = file.value(entry["numpy"])
    assert isinstance(numpy.get("state"), (dict, np.ndarray))
    return Randomness(
        file.value(entry["torch"]),
        tuple(zip(here, states, strict=False)),  # written on a machine with other devices: as many as fit
        file.value(entry["python"]),
        numpy,
    )
