"""A rerun for a view is given up once a command waits, which is carried out first; nothing of it is left behind."""

from __future__ import annotations

import socket
from collections.abc import Callable
from itertools import count

import pytest
import torch
from torch import Tensor, nn

from gradstep.engine.state.digest import digest_at
from gradstep.session import phase_stepper
from gradstep.session.local import Session
from gradstep.session.transport.request_loop import Gate
from gradstep.session.transport.wire import Close, Execute, Executed, Frames, Look, Looked, Reply, frame, read_reply
from gradstep.values.commands import ACTS, Let
from gradstep.values.expressions import Name
from gradstep.values.views import Digest, LookDigest, LookModel, LookTensor, NoView, Request, View
from gradstep.values.views.contributions import LookContributions
from gradstep.values.views.inside import LookInside
from gradstep.values.views.node import LookNode
from gradstep.values.views.timeline import LookCompare
from gradstep.workload import Workload

DUE = (NoView(7, "it takes long, and a command goes first", due=True),)
RERUN = (LookNode(3), LookInside(path="2"), LookContributions(path="2.weight"))


class Catches(nn.Module):
    """Catches whatever is raised in its forward."""

    def __init__(self, called: Callable[[], None]) -> None:
        super().__init__()
        self.inner, self.called = nn.Linear(4, 4), called

    def forward(self, given: Tensor) -> Tensor:
        self.called()
        try:
            return self.inner(given)
        except BaseException:
            return given


class Polls:
    """Counts how often a rerun asks whether a command waits; from the `ends`th time on, one does."""

    asked = ends = 0

    def waits(self) -> bool:
        self.asked += 1
        return self.asked >= self.ends


@pytest.fixture(autouse=True)
def _each_rerun_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phase_stepper, "NOTICED", -1.0)


def session_of(called: Callable[[], None] = lambda: None, kind: type[Session] = Session) -> Session:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Dropout(), Catches(called))
    batch = torch.randn(8, 4), torch.randn(8, 4)
    session = kind(Workload(model, nn.functional.mse_loss, lambda p: torch.optim.SGD(p, lr=0.1), [batch]), seed=0)
    for phase in ("forward", "backward", "step", "zero_grad", "forward", "backward"):
        session.execute(ACTS[phase])
    return session


def digest_of(session: Session) -> str:
    (view,) = session.look(LookDigest())
    assert isinstance(view, Digest)
    return view.digest


def left_behind(session: Session) -> list[object]:
    """Return what a rerun could leave behind: the state, versions, the gradients themselves, hooks, the graph."""
    held, graph = session.inspector.held, session.inspector.held.graph()
    assert graph is not None
    tensors = [tensor for _, tensor in (*held.parameters, *held.buffers())]
    hooks = [len(p._backward_hooks or ()) + len(p._post_accumulate_grad_hooks or ()) for _, p in held.parameters]
    everywhere = nn.modules.module._global_forward_pre_hooks, nn.modules.module._global_forward_hooks
    return [
        digest_of(session),
        [tensor._version for tensor in tensors],
        [id(parameter.grad) for _, parameter in held.parameters],
        hooks,
        [len(each) for each in everywhere],
        torch.is_grad_enabled(),
        [node.name() for node in graph.nodes],
        id(held.point.loss),
    ]


@pytest.mark.parametrize("request_", RERUN, ids=lambda request: type(request).__name__)
def test_a_rerun_that_is_given_up_anywhere_leaves_nothing_behind(request_: Request) -> None:
    session, polls = session_of(), Polls()
    whole = session_of().look(request_)
    session.can_pause(lambda _: None, waits=polls.waits)
    before = left_behind(session)
    assert session.look(request_) == DUE
    assert not polls.asked, "the first request at a stop is left, as a command's outcome waits for it"
    for polls.ends in count(1):
        polls.asked = 0
        view = session.look(request_)
        assert left_behind(session) == before, polls.ends
        if polls.asked < polls.ends:
            break
        assert view == DUE
        assert polls.asked <= polls.ends + 2, "it ends there, or where the model that caught the error ends"
    assert view == whole
    assert polls.ends > 20, "it can be given up at every module and node"


@pytest.mark.parametrize(("requests", "at"), [((LookModel(), LookTensor(4, 4)), 4), ((LookCompare("1", "4"),), 0)])
def test_commands_rerun_to_look_at_the_past_are_given_up_anywhere_and_leave_nothing_behind(
    requests: tuple[Request, ...], at: int
) -> None:
    whole = session_of().look(*requests, at=at)
    session, polls = session_of(), Polls()
    timeline = session.time_travel.timeline
    for stop in (3, 4):
        point = timeline.at(stop)
        assert point.checkpoint is not None
        point.digest = digest_at(session.inspector.held, point.checkpoint)
        timeline.drop(point)
    session.can_pause(lambda _: None, waits=polls.waits)
    before = left_behind(session)
    for polls.ends in count(1):
        polls.asked = 0
        views = session.look(*requests, at=at)
        assert left_behind(session) == before, polls.ends
        if polls.asked < polls.ends:
            break
        assert views == (NoView(at or 7, DUE[0].why, due=True),) * len(requests)
    assert views == whole
    assert polls.ends > 20, "they can be given up at every module and node"


def test_the_views_of_a_short_rerun_come_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phase_stepper, "NOTICED", float("inf"))
    session = session_of()
    session.can_pause(lambda _: None, waits=lambda: True)
    assert session.look(*RERUN) == session_of().look(*RERUN)


def test_a_command_given_during_a_rerun_is_carried_out_before_its_view_comes() -> None:
    forwards: list[int] = []

    def called() -> None:
        forwards.append(1)
        if len(forwards) == 3:  # in the rerun
            screen.sendall(frame(3, Execute(Let("x", Name("0.weight")))) + frame(4, Look(RERUN[:1])))
            while not gate.waits():
                pass

    class Closing(Session):
        def look(self, *requests: Request, at: int = 0) -> tuple[View, ...]:
            views = super().look(*requests, at=at)
            if requests == RERUN[:1] and views != DUE:  # any earlier, it would end the rerun
                screen.sendall(frame(5, Close()))
            return views

    session = session_of(called, Closing)
    digest = digest_of(session)
    screen, engine = socket.socketpair()
    gate = Gate(engine, pause=lambda: None)
    session.can_pause(lambda _: None, gate.interrupted, gate.waits)
    screen.sendall(frame(1, Look(RERUN[:1])) + frame(2, Look(RERUN[:1])))
    gate.serve(session)
    gate.close()
    replies: dict[int, Reply] = {}
    frames = Frames()
    while data := screen.recv(1 << 16):
        replies |= {number: read_reply(body) for number, body in frames.feed(data)}
    screen.close()
    assert [number for number in replies if number] == [1, 2, 3, 4]
    assert replies[1] == replies[2] == Looked(DUE), "left at the first request, given up at the second"
    assert isinstance(replies[3], Executed)
    assert replies[3].outcome.ok
    assert replies[4] == Looked(session_of().look(*RERUN[:1]))
    assert len(forwards) == 4, "the rerun ended early, and was run once more"
    assert digest_of(session) == digest
