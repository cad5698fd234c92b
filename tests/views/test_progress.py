"""The progress of a backward, updated at each stop, is what it would be if found from scratch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gradstep.engine.autograd.graph import GraphRecord
from gradstep.session.local import Session
from gradstep.values.commands import Forward
from gradstep.values.commands.stepping import Into, Over
from gradstep.values.views.graph import GraphView, LookGraph
from gradstep.views.graph import progress
from gradstep.views.graph.progress import Frontier
from gradstep.workload import Workload


@st.composite
def orders(draw: st.DrawFn) -> tuple[list[tuple[int, ...]], list[int], list[int]]:
    """Draw a graph, an order in which its nodes may run, and how many have run at each stop."""
    total = draw(st.integers(1, 12))
    edges = [
        tuple(draw(st.lists(st.integers(node + 1, total - 1), max_size=3))) if node + 1 < total else ()
        for node in range(total)
    ]
    waits = [sum(targets.count(node) for targets in edges) for node in range(total)]
    order: list[int] = []
    while len(order) < total:
        node = draw(st.sampled_from([n for n in range(total) if not waits[n] and n not in order]))
        order.append(node)
        for target in edges[node]:
            waits[target] -= 1
    stops = sorted(draw(st.lists(st.integers(0, total), max_size=5)))
    return edges, order, stops


@given(orders())
def test_a_frontier_is_what_it_would_be_from_scratch(drawn: tuple[list[tuple[int, ...]], list[int], list[int]]) -> None:
    edges, order, stops = drawn
    total = len(edges)
    ran: dict[int, None] = {}
    frontier = Frontier(GraphRecord([None] * total, edges, [-1] * total, [], [0]), ran)  # type: ignore[list-item]
    for stop in stops:
        ran.update(dict.fromkeys(order[:stop]))
        frontier.follow()
        leading = [{n for n in range(total) if node in edges[n]} for node in range(total)]
        ready = {node for node in range(total) if node not in ran and leading[node] <= ran.keys()}
        for first in range(total):
            for end in range(first + 1, total + 1):
                nodes = set(range(first, end))
                assert frontier.has_run(first, end) == (nodes <= ran.keys())
                assert frontier.is_ready(first, end) == bool(nodes & ready)


def test_a_stop_at_a_node_checks_only_the_nodes_that_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(*[layer for _ in range(60) for layer in (nn.Linear(4, 4), nn.Tanh())])
    session = Session(
        Workload(
            model=model,
            loss=nn.functional.mse_loss,
            optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
            batches=[(torch.randn(3, 4), torch.randn(3, 4))],
        )
    )
    checked: list[object] = []
    is_freed = progress.is_freed

    def counted(node: torch.autograd.graph.Node) -> bool | None:
        checked.append(node)
        return is_freed(node)

    monkeypatch.setattr(progress, "is_freed", counted)
    session.execute(Forward())
    session.execute(Into("backward"))
    states, counts = [], []
    for _ in range(40):
        checked.clear()
        (view,) = session.look(LookGraph(count=20))
        assert isinstance(view, GraphView)
        states.append(view.state)
        counts.append(len(checked))
        assert session.execute(Over()).ok
    assert counts[0] > 120
    assert max(counts[1:]) <= 4
    assert (states[0], states[-1]) == ("alive", "partly freed")
