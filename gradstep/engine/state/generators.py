"""The random generators of torch on every device, of python and of numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.debuggee.generators import Randomness, state_bytes
from gradstep.engine.state.hashing import Hasher
from gradstep.engine.state.part import Decoded, Part, Reader, Writer


class Generators(Part[Randomness]):
    """Restored last: restoring an object or a batch may draw random numbers."""

    name = "generators"
    always_captured = False
    self_contained = True

    def capture(self, held: Debuggee) -> Randomness:
        return held.keeper.capture()

    def restore(self, held: Debuggee, captured: Randomness) -> None:
        held.keeper.restore(captured)

    def hash(self, held: Debuggee, captured: Randomness, hasher: Hasher) -> None:
        for part in state_bytes(captured):
            hasher.raw(part)

    def encode(self, held: Debuggee, captured: Randomness, file: Writer) -> Mapping[str, Any]:
        return {"randomness": encoded(captured, file, PREFIX)}

    def decode(self, held: Debuggee, file: Reader) -> Decoded:
        found = decoded(held, file, file.state["randomness"])
        return Decoded(lambda: held.keeper.restore(found))

    def differ(self, one: Randomness, other: Randomness) -> Iterator[str]:
        if one is not other and state_bytes(one) != state_bytes(other):
            yield "the random generators"

    def differ_in_files(self, one: Reader, other: Reader) -> Iterator[str]:
        if not same_entries(one, other, "randomness"):
            yield "the random generators"

    def size(self, captured: Randomness, before: Randomness | None) -> int:
        return _BYTES


PREFIX = "generators"
"""The prefix of the names of generator states among the tensors of a file."""
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
    cpu, devices, python, numpy = _values(file, entry)
    assert isinstance(numpy.get("state"), (dict, np.ndarray))
    # written on a machine with other devices: as many as fit
    return Randomness(cpu, tuple(zip(here, devices, strict=False)), python, numpy)


def same_entries(one: Reader, other: Reader, section: str) -> bool:
    """Return whether the generators in a section of two files are the same."""
    a, b = one.state[section], other.state[section]
    if a is None or b is None:
        return a is b
    return Hasher.of(_values(one, a)) == Hasher.of(_values(other, b))


def _values(file: Reader, entry: Mapping[str, Any]) -> tuple[Any, ...]:
    devices = [file.value(state) for state in entry["devices"]]
    return file.value(entry["torch"]), devices, file.value(entry["python"]), file.value(entry["numpy"])
