"""What the panels show of a compiled region: one operation, one node, and why there is no more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.values.views import Digest, LookDigest, LookWhy, WhyView
from gradstep.values.views.graph import GraphView, LookGraph
from gradstep.values.views.inside import InsideView, LookInside
from gradstep.values.views.node import ChainView, LookChain, LookNode, NodeView
from gradstep.workload import Workload

T = TypeVar("T")


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.b(self.a(x).relu())
        return out


class Outer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = Inner(), nn.Linear(2, 1)
        self.inner.compile(backend="aot_eager")

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.inner(x))
        return out


@pytest.fixture
def session() -> Iterator[Session]:
    torch._dynamo.reset()
    torch.manual_seed(0)
    made = Workload(
        Outer(), nn.functional.mse_loss, lambda p: torch.optim.SGD(p, lr=0.1), [(torch.randn(3, 4), torch.randn(3, 1))]
    )
    yield Session(made)
    torch._dynamo.reset()


def do(session: Session, *lines: str) -> None:
    for line in lines:
        for statement in parse_line(line):
            outcome = session.execute(statement.command)  # type: ignore[union-attr]
            assert outcome.ok, outcome.problem


def seen(session: Session, request: object, kind: type[T]) -> T:
    (view,) = session.look(request)  # type: ignore[arg-type]
    assert isinstance(view, kind)
    return view


def test_at_a_compiled_module_why_and_inside_say_that_it_is_one_operation(session: Session) -> None:
    do(session, "into forward", "into")
    assert "It is compiled" in seen(session, LookWhy(), WhyView).sentence
    inside = seen(session, LookInside(), InsideView)
    assert inside.module == ""
    assert "set_stance('force_eager')" in inside.note
    do(session, "into")
    assert "inner Inner has run" in seen(session, LookWhy(), WhyView).sentence
    assert "as one operation" in seen(session, LookInside(), InsideView).note
    do(session, "into")
    assert seen(session, LookInside(), InsideView).note == ""


@pytest.mark.parametrize("lines", [("backward",), ("backward", "step"), ()])
def test_the_region_is_one_node_that_v_goes_through(session: Session, lines: tuple[str, ...]) -> None:
    do(session, "forward", *lines)
    graph = seen(session, LookGraph(), GraphView)
    (region,) = [row for row in graph.rows if row.name == "CompiledFunctionBackward"]
    assert region.operation == "a compiled region"
    node = seen(session, LookNode(region.order, check=True, run=True), NodeView)
    assert "a compiled region" in node.words
    assert node.matrix is not None
    assert not node.matrix.rows
    assert ("modified in place" if "step" in lines else "runs only once") in node.matrix.note
    chain = seen(session, LookChain(region.order), ChainView).chain
    assert [link.name for link in chain.links][-1] == "CompiledFunctionBackward"
    if lines:
        assert node.arrives
        assert all(link.norm is not None for link in chain.links)
    do(session, "undo", "forward", "backward", "step")


def test_undo_and_goto_give_the_same_digests(session: Session) -> None:
    loop = ("forward", "backward", "step", "zero_grad")
    do(session, *loop, *loop)
    end = seen(session, LookDigest(), Digest).digest
    do(session, "goto 3", "step", "zero_grad", *loop)
    assert seen(session, LookDigest(), Digest).digest == end
    do(session, "undo 5", "redo 5")
    assert seen(session, LookDigest(), Digest).digest == end
