"""Plain attributes of modules are state: rolled back, undone, hashed, saved, and unchanged by a look."""

from __future__ import annotations

import gc
import random
import weakref
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from holding import Fuse, failed, hold
from hypothesis import given, settings
from hypothesis import strategies as st
from test_files import restore, write
from torch import Tensor, nn
from travelling import Traveller

from gradstep.engine.autograd.buffers import state_of
from gradstep.engine.files.compare import compare_files
from gradstep.engine.state.digest import digest
from gradstep.engine.stepping.rerun import backward_again, forward_again
from gradstep.values.commands import Forward


@dataclass
class Memory:
    last: Any = None
    seen: list[float] = field(default_factory=list)


class Plain:
    """An object of a simple user class."""

    def __init__(self) -> None:
        self.count, self.inner = 0, {"h": torch.ones(2)}


# each makes an attribute, and is what a forward does to it: it returns a number that depends on it
def counter(m: Any) -> float:
    m.calls = getattr(m, "calls", 0) + 1
    return float(m.calls)


def hidden(m: Any) -> Tensor:
    h: Tensor = getattr(m, "h", torch.zeros(2))
    m.h = torch.tanh(h * 0.5 + m.inner.weight.detach().mean())
    return m.h.sum()


def carried(m: Any) -> Tensor:
    """Keep a tensor with its graph; the next forward uses only the values."""
    before = getattr(m, "carry", None)
    m.carry = m.inner.weight.mean() + (0 if before is None else before.detach())
    return m.carry.detach()


def in_place(m: Any) -> Tensor:
    m.running.add_(0.25)
    return m.running.sum()


def listed(m: Any) -> float:
    m.history.append(len(m.history) * 0.5)
    return float(sum(m.history))


def keyed(m: Any) -> float:
    m.cache.setdefault("k", []).append(torch.full((2,), float(len(m.cache["k"]))))
    m.cache["n"] = m.cache.get("n", 0) + 1
    return float(m.cache["k"][-1].sum()) + m.cache["n"]


def queued(m: Any) -> float:
    m.queue.append(m.queue[-1] * 1.5)
    return float(sum(m.queue))


def tupled(m: Any) -> float:
    m.pair = (m.pair[0] + 1, (m.pair[1][0], m.pair[1][0] + m.pair[0]))
    return float(m.pair[1][1])


def objects(m: Any) -> Tensor:
    m.plain.count += 1
    m.plain.inner["h"] = m.plain.inner["h"] * 1.1
    m.memory.last = m.plain.inner["h"].sum()
    m.memory.seen.append(m.plain.count)
    m.space.n += len(m.memory.seen)
    return m.memory.last + m.space.n


def torchs_generator(m: Any) -> Tensor:
    return torch.rand(2, generator=m.generator).sum()


def pythons_generator(m: Any) -> float:
    return m.random.random()  # type: ignore[no-any-return]


def numpys_generators(m: Any) -> float:
    return float(m.numpy.random() + m.old_numpy.rand())


def array(m: Any) -> float:
    m.array[0] += 1
    return float(m.array.sum())


def others(m: Any) -> float:
    m.words.add(f"word {len(m.words)}")
    m.tally["forward"] += 1
    m.name += "x"
    m.flag = not getattr(m, "flag", False)
    return len(m.words) + m.tally["forward"] + len(m.name) + m.flag


def unregistered(m: Any) -> Tensor:
    norm = m.layers[1][0]
    x = m.layers[0](torch.arange(6.0).view(3, 2) * (1 + norm.num_batches_tracked))
    return m.layers[1](x).mean() + norm.running_var.sum()


def deep(m: Any) -> float:
    m.inner.passes = getattr(m.inner, "passes", 0) + 1
    return float(m.inner.passes)


KINDS = [
    *(counter, hidden, carried, in_place, listed, keyed, queued, tupled, objects, torchs_generator),
    *(pythons_generator, numpys_generators, array, others, unregistered, deep),
]


class Keeps(nn.Module):
    """Its forward reads and changes its plain attributes."""

    def __init__(self, kinds: list[Callable[[Any], Any]], fuse: Fuse | None = None) -> None:
        super().__init__()
        self.inner, self.kinds, self.fuse = nn.Linear(4, 2), tuple(kinds), fuse or Fuse()
        self.running, self.history, self.cache = torch.zeros(3), list[float](), dict[str, Any]()
        self.queue, self.pair = deque([1.0], maxlen=4), (1, (2, 3))
        self.plain, self.memory, self.space = Plain(), Memory(), SimpleNamespace(n=0)
        self.generator, self.random = torch.Generator().manual_seed(3), random.Random(4)
        self.numpy, self.old_numpy, self.array = np.random.default_rng(5), np.random.RandomState(6), np.zeros(2)
        self.words, self.tally, self.name = set[str](), Counter[str](), ""
        self.order = OrderedDict(a=1)
        self.layers = [nn.Linear(2, 2), nn.Sequential(nn.BatchNorm1d(2), nn.ReLU())]

    def forward(self, x: Tensor) -> Tensor:
        scale = 0.0
        for kind in self.kinds:
            scale = scale + 0.01 * kind(self)
        self.fuse()
        out: Tensor = self.inner(x) * (1 + scale)
        return out


def traveller(*kinds: Callable[[Any], Any], budget: int = 1 << 30, fuse: Fuse | None = None) -> Traveller:
    torch.manual_seed(0)
    return Traveller.of(hold(Keeps(list(kinds), fuse)), budget)


LINES = ("forward", "backward", "step", "zero_grad", "forward", "backward", "step", "forward")


@pytest.mark.parametrize("kind", KINDS)
def test_a_look_leaves_it(kind: Callable[[Any], Any]) -> None:
    looked, other = traveller(kind), traveller(kind)
    for line in LINES:
        assert looked.take("act", line)
        assert other.take("act", line)
        if line != "zero_grad":
            forward_again(looked.held)
            backward_again(looked.held, lambda _: None)
        assert looked.digest() == other.digest()
        assert looked.held.point.value == other.held.point.value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("budget", [1 << 30, 1])
def test_it_goes_back_and_forth(kind: Callable[[Any], Any], budget: int) -> None:
    there = traveller(kind, budget=budget)
    losses = {1: None}
    for line in LINES:
        assert there.take("act", line)
        there.check()
        losses[there.timeline.number] = there.held.point.value
    assert len({there.digests[number] for number in (1, 2, 6, 9)}) == 4
    numbers = list(there.timeline.points)
    for number in (*numbers[::-1], *numbers, *numbers[::3]):
        there.go(number)
        there.check()
        assert there.held.point.value == losses[number]
    there.go(1)
    assert there.take("act", "forward")  # another branch
    assert there.held.point.value == losses[2]
    assert there.digest() == there.digests[2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("budget", [1 << 30, 0])
def test_a_forward_that_raises_puts_it_back(kind: Callable[[Any], Any], budget: int) -> None:
    fuse = Fuse()
    there = traveller(kind, budget=budget, fuse=fuse)
    assert there.take("act", "forward")
    before = there.digest()
    fuse.light()
    failed(there.held, Forward())
    assert there.digest() == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_has_it(kind: Callable[[Any], Any], tmp_path: Path) -> None:
    first, other = traveller(kind), traveller(kind)
    start = write(first, tmp_path / "start.safetensors")
    for line in LINES[:6]:
        assert first.take("act", line)
    path = write(first, tmp_path / "state.safetensors")
    restore(other, path)
    assert other.digest() == first.digest()
    for each in (first, other):
        for line in ("step", "forward"):
            assert each.take("act", line)
    assert other.held.point.value == first.held.point.value
    assert other.digest() == first.digest()
    restore(first, start)
    assert first.digest() == first.digests[1]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from(["forward", "backward", "digest", "visit", "undo"]), min_size=8, max_size=8),
)
def test_a_run_with_looks_is_the_run_without(kinds: list[Callable[[Any], Any]], looks: list[str]) -> None:
    looked, other = traveller(*kinds), traveller(*kinds)
    for line, look in zip(LINES, looks, strict=True):
        assert looked.take("act", line)
        assert other.take("act", line)
        match look:
            case "forward" if line != "zero_grad":
                forward_again(looked.held)
            case "backward" if line != "zero_grad":
                backward_again(looked.held, lambda _: None)
            case "digest":
                digest(looked.held)
            case "visit":
                assert looked.take("visit", 0)
            case "undo":
                assert looked.take("undo", 1)
                assert looked.take("redo", 1)
        assert looked.digest() == other.digest()
        assert looked.held.point.value == other.held.point.value


def test_settings_are_in_no_digest() -> None:
    digests = set()
    for setting in (1, 2):
        torch.manual_seed(0)
        model, batch = Keeps([counter]), (torch.ones(3, 4), torch.ones(3, 2))
        model.setting = setting  # type: ignore[assignment]
        torch.manual_seed(0)
        digests.add(digest(hold(model, [batch]))[0])
    assert len(digests) == 1


def test_nothing_is_walked_twice_where_nothing_changed() -> None:
    held = traveller(counter).held
    assert held.attributes.capture() is held.attributes.first
    held.model.calls = 7  # type: ignore[assignment]
    changed = held.attributes.capture()
    assert changed is not held.attributes.first
    same = [a is b for a, b in zip(changed.records, held.attributes.first.records, strict=True)]
    assert same.count(False) == 1


class Carries(nn.Module):
    """Keeps its last output with its graph; the next loss depends on it, or not."""

    def __init__(self, used: bool) -> None:
        super().__init__()
        self.inner, self.used = nn.Linear(4, 2), used
        self.side = nn.Parameter(torch.ones(2))
        self.last: tuple[Tensor, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.inner(x)
        if self.last and self.used:
            out = out * self.last[0].mean()
        self.last = ((out * self.side).tanh(),) if len(self.last) < 2 else ()
        return out


@pytest.mark.parametrize("used", [True, False])
@pytest.mark.parametrize("budget", [1 << 30, 1])
def test_a_graph_that_is_carried_over_is_there_again(used: bool, budget: int) -> None:
    torch.manual_seed(0)
    there = Traveller.of(hold(Carries(used)), budget)
    lines = ["forward", "backward", "step", "forward", "backward", "step", "zero_grad", "forward", "backward", "step"]
    seen: dict[int, Any] = {}

    def graph() -> str:
        """Return the first node of the kept output's graph, and whether it was freed."""
        (last,) = there.held.model.last
        return f"{last.grad_fn.next_functions[0][0].name()} {state_of(last.grad_fn)}"

    for line in lines:
        there.take("act", line)
        there.check()
        seen[there.timeline.number] = (there.held.point.value, graph())
    for number in (5, 2, 3, *list(seen)[::-1], *seen):
        there.go(number)
        there.check()
        assert (there.held.point.value, graph()) == seen[number]
        assert there.take("visit", 0)
        assert (there.held.point.value, graph()) == seen[number]


def test_a_history_keeps_no_graph_alive_for_what_a_module_keeps() -> None:
    there = traveller(carried)
    assert there.take("act", "forward")
    kept = weakref.ref(there.held.model.carry)
    for line in ("forward", "forward"):
        assert there.take("act", line)
    gc.collect()
    assert kept() is None


def test_two_files_that_differ_in_it_say_so(tmp_path: Path) -> None:
    there = traveller(counter)
    paths = (tmp_path / "one.safetensors", tmp_path / "other.safetensors")
    write(there, paths[0])
    there.held.model.calls = 4  # type: ignore[assignment]
    write(Traveller.of(there.held, 1 << 30), paths[1])
    found = compare_files(paths, None)
    assert "plain attributes of modules" in str(found)
