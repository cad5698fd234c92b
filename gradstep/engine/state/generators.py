"""The generators of torch on every device, of python and of numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.randomness import Randomness, state_bytes
from gradstep.engine.state.part import Found, Part, Reader, Total, Writer


class Generators(Part[Randomness]):
    """Restored after everything else: what restores an object, or a batch, may draw."""

    name = "generators"
    each_time = False
    alone = True

    def capture(self, held: Debuggee) -> Randomness:
        return held.keeper.capture()

    def restore(self, held: Debuggee, kept: Randomness) -> None:
        held.keeper.restore(kept)

    def hash(self, held: Debuggee, kept: Randomness, total: Total) -> None:
        for part in state_bytes(kept):
            total.raw(part)

    def encode(self, held: Debuggee, kept: Randomness, file: Writer) -> Mapping[str, Any]:
        return {"randomness": encoded(kept, file, "generators")}

    def decode(self, held: Debuggee, file: Reader) -> Found:
        found = decoded(held, file, file.state["randomness"])
        return Found(lambda: held.keeper.restore(found))

    def differ(self, one: Randomness, other: Randomness) -> Iterator[str]:
        if one is not other and state_bytes(one) != state_bytes(other):
            yield "the random generators"

    def size(self, kept: Randomness, before: Randomness | None) -> int:
        return 0 if kept is before else _BYTES


_BYTES = 33_000
"""Bytes of the states of all generators: 5 kB of torch's, 25 kB of python's as a tuple, 2.5 kB of numpy's."""


def encoded(kept: Randomness, file: Writer, name: str) -> Any:
    """Return what a file says of the generators at one moment."""
    return {
        "torch": file.value(kept.cpu, f"{name}.torch"),
        "devices": [file.value(state, f"{name}.{i}") for i, (_, state) in enumerate(kept.devices)],
        "python": file.value(kept.python, f"{name}.python"),
        "numpy": file.value(kept.numpy, f"{name}.numpy"),
    }


def decoded(held: Debuggee, file: Reader, kept: Mapping[str, Any]) -> Randomness:
    """Return the generators that a file says."""
    here = [generator for generator, _ in held.keeper.capture().devices]
    states = [file.value(state) for state in kept["devices"]]
    numpy = file.value(kept["numpy"])
    assert isinstance(numpy.get("state"), (dict, np.ndarray))
    return Randomness(
        file.value(kept["torch"]),
        tuple(zip(here, states, strict=False)),  # of a machine with other devices, as many as fit
        file.value(kept["python"]),
        numpy,
    )
