"""Looking at the past inside a phase: it is shown as it was recorded, and the phase is not affected."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.values.outcomes import Outcome
from gradstep.values.views import Digest, LookDigest, LookLoss, LookModel, LookWhy, NoView, View, WhyView
from gradstep.values.views.graph import GraphView, LookGraph
from gradstep.values.views.inside import InsideView, LookInside
from gradstep.values.views.node import LookNode, NodeView
from gradstep.values.views.tensor import LookTensor, TensorView
from gradstep.values.views.timeline import CompareView, LookCompare
from gradstep.values.views.training import LookLayers, LookOptimizer
from gradstep.workload import Workload

_LOOKS = (LookModel(), LookTensor(4, 4), LookLoss(), LookOptimizer(), LookLayers(), LookWhy(), LookDigest())


def do(session: Session, text: str) -> Outcome:
    outcomes = [session.execute(statement.command) for statement in parse_line(text)]  # type: ignore[union-attr]
    assert outcomes[-1].ok, outcomes[-1].problem
    return outcomes[-1]


def digest(session: Session, at: int = 0) -> str:
    (view,) = session.look(LookDigest(), at=at)
    assert isinstance(view, Digest), view
    return view.digest


def pasts(session: Session, stops: range) -> list[tuple[View, ...]]:
    return [session.look(*_LOOKS, at=stop) for stop in stops]


@pytest.mark.parametrize("example", ["mlp", "cnn", "rnn", "gpt"])
@pytest.mark.parametrize("last", ["forward", "forward; backward"])
def test_every_past_stop_is_seen_from_inside_and_the_phase_gives_the_same_bits(example: str, last: str) -> None:
    start = f"load {example} seed=0 device=cpu; forward; backward; step; next_batch; forward; backward"
    plain, stepped = Session(), Session()
    phase = last.rpartition(" ")[2]
    before = f"{start}; forward" if phase == "backward" else start
    do(plain, f"{before}; {phase}")
    do(stepped, before)
    stops = range(1, stepped.stop.number)
    expected = pasts(stepped, stops)
    here = stepped.look(*_LOOKS)
    do(stepped, f"into {phase}")
    seen = 0
    while stepped.stop.position is not None:
        present = digest(stepped)
        if seen % 7 == 0:
            assert pasts(stepped, stops) == expected
            assert digest(stepped, stops.stop) == here[-1].digest  # type: ignore[union-attr]
            assert digest(stepped) == present
        seen += 1
        do(stepped, "into" if phase == "forward" else "over")
    assert seen > 7
    assert digest(stepped) == digest(plain)
    assert pasts(stepped, stops) == expected
    do(stepped, "undo 3; redo 3")
    assert digest(stepped) == digest(plain)
    plain.close()
    stepped.close()


@pytest.fixture
def inside() -> Iterator[Session]:
    session = Session()
    do(session, "load mlp seed=0 device=cpu; forward; backward; step; forward; into backward; over; over")
    yield session
    session.close()


def test_what_is_stopped_inside_is_not_shown_as_of_the_past(inside: Session) -> None:
    now = inside.look(LookInside(), LookGraph())
    assert isinstance(now[0], InsideView)
    assert isinstance(now[1], GraphView)
    view, graph, why = inside.look(LookInside(), LookGraph(), LookWhy(), at=3)
    assert not (isinstance(view, InsideView) and view.position is not None)
    assert isinstance(graph, GraphView)
    assert any(row.status == "running" for row in now[1].rows)
    assert {row.status for row in graph.rows} == {"done"}
    assert isinstance(why, WhyView)
    assert inside.look(LookInside(), LookGraph()) == now


def test_a_graph_that_was_alive_is_not_shown_as_the_backward_has_left_it_since(inside: Session) -> None:
    (present,) = inside.look(LookGraph(sizes=True))
    assert isinstance(present, GraphView)
    assert (present.state, present.bytes is None) == ("partly freed", False)
    for stop in (2, 5):
        (graph,) = inside.look(LookGraph(sizes=True), at=stop)
        assert isinstance(graph, GraphView)
        assert (graph.state, graph.bytes) == ("alive", None)
        assert {row.saved for row in graph.rows} == {"", "alive"}
    (after,) = inside.look(LookGraph(sizes=True), at=3)
    assert isinstance(after, GraphView)
    assert (after.state, after.bytes) == ("freed", 0)
    assert inside.look(LookGraph(sizes=True)) == (present,)


def test_what_needs_a_live_graph_says_so(inside: Session) -> None:
    position, before = inside.stop.position, digest(inside)
    (view,) = inside.look(LookNode(3), at=3)
    assert isinstance(view, NodeView)
    assert "has no live graph" in view.note
    assert (inside.stop.position, digest(inside)) == (position, before)


def test_a_stop_that_is_not_kept_is_not_run_again_inside_a_phase() -> None:
    session = Session(history=1)
    do(session, f"load mlp seed=0 device=cpu; {'forward; backward; step; ' * 4}forward; into backward")
    before = digest(session)
    (view,) = session.look(LookModel(), at=5)
    assert isinstance(view, NoView)
    assert "out phase" in view.why
    assert digest(session) == before
    do(session, "out phase")
    assert digest(session, 5)
    session.close()


def test_two_stops_are_compared_inside_a_phase(inside: Session) -> None:
    (view,) = inside.look(LookCompare("2", "4"))
    assert isinstance(view, CompareView)
    assert {row.name for row in view.rows} >= {"2.weight", "0.weight.grad"}
    assert "differ in" in do(inside, "compare 2 4").text
    assert inside.stop.position is not None


def test_who_wrote_counts_what_the_phase_has_written_so_far(inside: Session) -> None:
    assert "at stop 4, by `step`" in do(inside, "who wrote 2.weight").text
    assert "at stop 3, by `backward`" in do(inside, "who wrote 0.weight.grad").text
    while "is in progress" not in (text := do(inside, "who wrote 2.bias.grad").text):
        do(inside, "over")
    assert text.startswith("2.bias.grad was last written by this backward")
    assert "before that, at stop 3" in text


class Counting(nn.Module):
    """Writes a buffer, another object each time, and its input in place."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls = self.calls + 1
        with torch.no_grad():
            x.mul_(2)
        return self.inner(x.clone())


def test_buffers_that_are_replaced_and_a_batch_that_is_written_are_as_they_were() -> None:
    torch.manual_seed(0)
    batch = (torch.ones(2, 3), torch.zeros(2, 3))
    session = Session(Workload(Counting(), loss=nn.functional.mse_loss, optimizer=torch.optim.SGD, batches=[batch]))
    do(session, "forward; backward; show input")
    seen = session.look(LookTensor(2, 3), LookModel(), at=2)
    do(session, 'into forward; into; into; until module.path == "inner"')
    assert do(session, "print input[0, 0]").text == "4"
    assert do(session, "print calls").text == "2"
    assert session.look(LookTensor(2, 3), LookModel(), at=2) == seen
    window = session.look(LookTensor(2, 3), at=1)[0]
    assert isinstance(window, TensorView)
    assert do(session, "print input[0, 0]").text == "4"
    assert do(session, "print calls").text == "2"
    do(session, "out phase; undo; print input[0, 0]")
    assert do(session, "print input[0, 0]").text == "2"
    session.close()
