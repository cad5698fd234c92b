"""A part that a test adds to the registry is rolled back, undone, hashed, saved, restored and compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from holding import F, Fuse, failed, hold
from test_files import restore, write
from torch import Tensor, nn
from travelling import Traveller

import gradstep
from gradstep.engine.debuggee.debuggee import Debuggee
from gradstep.engine.files.compare import compare_files
from gradstep.engine.state import registry
from gradstep.engine.state.hashing import Hasher
from gradstep.engine.state.part import Decoded, Key, Part, Reader, Row, Writer, Writing
from gradstep.engine.stepping.rerun import forward_again


class World:
    """State that no part of gradstep covers: a number, and a tensor that is written in place."""

    def __init__(self) -> None:
        self.count, self.tensor = 0, torch.zeros(3)

    def move(self) -> None:
        self.count += 1
        self.tensor += 0.5


WORLD = World()


class Toy(Part[int]):
    name = "toy"
    kinds: ClassVar = {"toy": "toy tensor"}

    def capture(self, held: Debuggee) -> int:
        return WORLD.count

    def restore(self, held: Debuggee, kept: int) -> None:
        WORLD.count = kept

    def may_write(self, held: Debuggee, writing: Writing) -> Iterable[Row] | None:
        return [(("toy", "world"), WORLD.tensor)] if writing.code else None

    def tensors(self, held: Debuggee, kept: int) -> Iterable[tuple[Key, Tensor | None]]:
        return [(("toy", "world"), WORLD.tensor)]

    def hash(self, held: Debuggee, kept: int, hasher: Hasher) -> None:
        hasher.add("world", kept)
        hasher.tensor(("toy", "world"))

    def encode(self, held: Debuggee, kept: int, file: Writer) -> Mapping[str, Any]:
        return {"world": [kept, file.tensor(("toy", "world"), "world")]}

    def decode(self, held: Debuggee, file: Reader) -> Decoded:
        count, tensor = file.state["world"]
        values = file.value(tensor)

        def apply() -> None:
            WORLD.count = count
            WORLD.tensor.copy_(values)

        return Decoded(apply, [(("toy", "world"), WORLD.tensor)])

    def differ(self, one: int, other: int) -> Iterator[str]:
        if one != other:
            yield f"the world: {one} and {other}"

    def differ_in_files(self, one: Reader, other: Reader) -> Iterator[str]:
        yield from one.differences("the world", one.state["world"][0], other.state["world"][0])


class Moves(nn.Module):
    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self.inner, self.fuse = nn.Linear(4, 2), fuse

    def forward(self, x: Tensor) -> Tensor:
        WORLD.move()
        self.fuse()
        out: Tensor = self.inner(x) * WORLD.count + WORLD.tensor.sum()
        return out


@pytest.fixture
def fuse(monkeypatch: pytest.MonkeyPatch) -> Fuse:
    monkeypatch.setattr(registry, "PARTS", [*registry.PARTS[:-1], Toy(), registry.PARTS[-1]])
    WORLD.count = 0
    WORLD.tensor.zero_()
    return Fuse()


@pytest.mark.parametrize("budget", [1 << 30, 1, 0])
def test_it_is_rolled_back(fuse: Fuse, budget: int) -> None:
    traveller = Traveller.of(hold(Moves(fuse)), budget)
    assert traveller.take("act", "forward")
    before = traveller.digest()
    fuse.light()
    failed(traveller.held, F)
    assert (WORLD.count, WORLD.tensor.tolist()) == (1, [0.5] * 3)
    assert traveller.digest() == before


@pytest.mark.parametrize("budget", [1 << 30, 1])
def test_it_is_undone_and_hashed(fuse: Fuse, budget: int) -> None:
    traveller = Traveller.of(hold(Moves(fuse)), budget)
    seen = {1: (0, 0.0)}
    for line in ("forward", "backward", "step", "forward", "backward"):
        assert traveller.take("act", line)
        traveller.check()
        seen[traveller.timeline.number] = (WORLD.count, float(WORLD.tensor[0]))
    assert seen[6] == (2, 1.0)
    for number in (2, 6, 1, 5, 3, 6, 4):
        traveller.go(number)
        traveller.check()
        assert (WORLD.count, float(WORLD.tensor[0])) == seen[number]


def test_a_look_leaves_it(fuse: Fuse) -> None:
    traveller = Traveller.of(hold(Moves(fuse)), 0)
    assert traveller.take("act", "forward")
    before = traveller.digest()
    forward_again(traveller.held)
    assert traveller.digest() == before
    assert WORLD.count == 1


def test_it_is_saved_and_restored(fuse: Fuse, tmp_path: Path) -> None:
    traveller = Traveller.of(hold(Moves(fuse)), 1 << 30)
    for line in ("forward", "backward"):
        assert traveller.take("act", line)
    path, there = write(traveller, tmp_path / "state.safetensors"), traveller.digest()
    traveller.go(1)
    assert WORLD.count == 0
    restore(traveller, path)
    assert (WORLD.count, WORLD.tensor.tolist()) == (1, [0.5] * 3)
    assert traveller.digest() == there
    assert traveller.take("undo", 1)
    assert (WORLD.count, WORLD.tensor.tolist()) == (0, [0.0] * 3)


def test_files_of_it_are_compared(fuse: Fuse, tmp_path: Path) -> None:
    traveller = Traveller.of(hold(Moves(fuse)), 1 << 30)
    paths = (write(traveller, tmp_path / "one.safetensors"), tmp_path / "other.safetensors")
    for line in ("forward", "backward"):
        assert traveller.take("act", line)
    write(traveller, paths[1])
    found = compare_files(paths, None)
    assert "the world: 0 and 1" in found.others
    assert "world" in [tensor.name for tensor in found.tensors]


def test_it_is_compared(fuse: Fuse) -> None:
    session = gradstep.Session(hold(Moves(fuse)).workload)
    session.run("forward")
    text = session.run("compare 1 2").text
    assert "the world: 0 and 1" in text
    assert "world" in text.split("the world: 0 and 1")[1]  # the tensor
    assert "norm 0.866;" in text
