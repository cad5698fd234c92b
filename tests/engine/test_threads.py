"""Submodules that run on threads of the user's own: their nodes have the right owner and line, or none."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from holding import B, F, hold, run
from torch import Tensor, nn

from gradstep.engine.autograd.graph import GraphRecord, leaf_tensor
from gradstep.engine.held import Held


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Sequential(nn.Tanh(), nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x)).sin()  # type: ignore[no-any-return]


class Parallel(nn.Module):
    """Three branches at once between two layers."""

    def __init__(self, apply: Any) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 2)
        self.branches = nn.ModuleList([Branch() for _ in range(3)])
        self._apply_all = apply

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(sum(self._apply_all(self.branches, x)).cos())  # type: ignore[no-any-return]


def in_pool(branches: nn.ModuleList, x: Tensor) -> list[Tensor]:
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(lambda branch: branch(x).exp(), branches))


def at_once(branches: nn.ModuleList, x: Tensor) -> list[Tensor]:
    """All within their modules at the same time."""
    gate, found = threading.Barrier(3), [x] * 3

    def work(place: int) -> None:
        gate.wait(30)
        found[place] = branches[place](x)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def graph_of(held: Held) -> GraphRecord:
    graph = held.graph()
    assert graph is not None
    return graph


@pytest.mark.parametrize("apply", [in_pool, at_once])
@pytest.mark.parametrize("fresh", [True, False])
def test_nodes_made_on_other_threads_are_their_modules_or_nobodys(apply: Any, fresh: bool) -> None:
    found: list[tuple[GraphRecord, Held]] = []

    def forward() -> None:
        torch.manual_seed(0)
        held = hold(Parallel(apply))
        held.recording.lines = True
        run(held, F)
        found.append((graph_of(held), held))

    if fresh:  # a thread whose counter begins at 0, as those of the branches do: numbers are the same
        thread = threading.Thread(target=forward)
        thread.start()
        thread.join()
    else:
        ahead = torch.ones(3, requires_grad=True)
        for _ in range(100):
            ahead = ahead * 1
        forward()
    ((graph, held),) = found
    owners = graph.owners
    for place, node in enumerate(graph.nodes):
        for target in graph.edges[place]:
            leaf = leaf_tensor(graph.nodes[target])
            if leaf is not None and node.name() == "AddmmBackward0":
                owner = held.names[leaf].rpartition(".")[0]
                assert owners[place] in ((owner, None) if fresh and "branches" not in owner else (owner,))
        if node.name() == "TanhBackward0":
            assert (owners[place] or "").endswith(".two.0")
        if node.name() == "SinBackward0":
            assert owners[place] in {"branches.0", "branches.1", "branches.2"}
            line = graph.line(place)
            assert line is None
        # between the thread and its module nothing tells: threads of the user's count their nodes from 0 here, and so
        # a number may be one that a module on another has had
        if node.name() == "ExpBackward0" and not fresh:
            assert owners[place] is None
    assert {o for o, n in zip(owners, graph.nodes, strict=True) if n.name() == "SinBackward0"} == {
        "branches.0",
        "branches.1",
        "branches.2",
    }


def test_calls_on_other_threads_lie_in_the_one_that_waits_for_them() -> None:
    held = run(hold(Parallel(at_once)), F, B)
    made = graph_of(held).made
    calls = {call.path: call for call in made.calls}
    assert made.calls[calls["branches.1"].parent].path == ""
    assert made.times("branches.2.two.1") == 1
