"""The log of a session replays to the same state, also if a command failed halfway, was paused or interrupted."""

from __future__ import annotations

import os
import signal
import threading

import pytest
import torch
from torch import Tensor, nn

from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.values.commands import line_of
from gradstep.values.outcomes import Outcome
from gradstep.values.views import Digest, LookDigest
from gradstep.workload import Workload


class Pressed(nn.Module):
    """Presses ctrl+c in the middle of one of its forwards, and waits until that was heard where somebody listens."""

    def __init__(self, press: int, heard: threading.Event | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
        self.head = nn.Linear(4, 1)
        self.press, self.heard, self.forwards = press, heard, 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += 1
        h = self.body[0](x)
        if self.forwards == self.press:
            os.kill(os.getpid(), signal.SIGINT)
            assert self.heard is None or self.heard.wait(10)
        if x[0, 0] > 5:
            raise ArithmeticError("boom")
        return self.head(self.body[2](self.body[1](h)))


def made(press: int = 0, heard: threading.Event | None = None, second: float = 0.0) -> Session:
    torch.manual_seed(0)
    x, y = torch.randn(3, 4), torch.randn(3, 1)
    other = x.clone()
    other[0, 0] = second
    model = Pressed(press, heard)
    batches = [(x, y), (other, y)]
    session = Session(Workload(model, nn.functional.mse_loss, lambda p: torch.optim.SGD(p, lr=0.1), batches), seed=0)
    if heard is not None:
        session.can_pause(lambda _: heard.set())
    return session


def do(session: Session, text: str) -> Outcome:
    outcomes = [session.execute(statement.command) for statement in parse_line(text)]  # type: ignore[union-attr]
    return outcomes[-1]


def lines(session: Session) -> list[str]:
    return [line_of(command) for command in session.log]


def place(session: Session) -> tuple[object, int, str]:
    view = session.look(LookDigest())[0]
    assert isinstance(view, Digest)
    return session.stop.position, session.stop.number, view.digest


def replayed(session: Session, second: float = 0.0) -> tuple[object, int, str]:
    """Carry out a session's log in a fresh one, line by line; return where that leads to."""
    fresh = made(second=second)
    try:
        for line in lines(session):
            assert do(fresh, line).ok, line
        return place(fresh)
    finally:
        fresh.close()


@pytest.mark.parametrize(
    ("before", "last", "log"),
    [
        ("", "forward", ["pause 7", "forward"]),
        ("", "continue", ["pause 7", "forward"]),
        ("", "until loss < -1", ["pause 7", "forward"]),
        ("into forward", "over", ["into forward", "pause 7", "over"]),
        ("into forward", "out", ["into forward", "pause 7", "out"]),
        ("into forward", "out phase", ["into forward", "pause 7", "out phase"]),
    ],
)
def test_a_pause_inside_is_logged_as_a_line_that_stops_there_again(before: str, last: str, log: list[str]) -> None:
    heard = threading.Event()
    session = made(1, heard)
    for line in filter(None, ["break module head", *before.split("; ")]):
        assert do(session, line).ok
    outcome = do(session, last)
    position = outcome.stop.position
    assert outcome.ok
    assert position is not None
    assert position.reason == "pause"
    assert lines(session)[1:] == [line.replace("pause 7", f"pause {position.place}") for line in log]
    assert list(map(line_of, outcome.carried_out)) == lines(session)[-2:]
    assert replayed(session) == place(session)
    session.close()


def test_a_pause_of_a_phase_that_is_watched_by_modules_only_counts_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradstep.session.phase_stepper.LONG", 0.0)
    session = made(2, threading.Event())
    do(session, "forward; backward; step; zero_grad; next_batch; forward; into")
    monkeypatch.setattr("gradstep.session.phase_stepper.LONG", 1e9)
    assert lines(session)[-3:] == ["pause 4 modules", "forward", "into"]
    assert replayed(session) == place(session)
    session.close()


def test_until_that_is_interrupted_keeps_the_phases_that_ran() -> None:
    session = made(3)
    outcome = do(session, "until loss < -1")
    assert outcome.problem is not None
    assert outcome.problem.kind == "interrupted"
    assert "10 commands had run before that, and are kept" in outcome.problem.what
    assert lines(session) == ["forward", "backward", "step", "zero_grad", "next_batch"] * 2
    assert replayed(session) == place(session)
    session.close()


def test_an_interrupt_between_two_phases_ends_until() -> None:
    session = made()
    session.can_pause(lambda _: None, lambda: session.stop.phase == "step")
    outcome = do(session, "until loss < -1")
    assert outcome.problem is not None
    assert outcome.problem.kind == "interrupted"
    assert lines(session) == ["forward", "backward", "step"]
    assert session.stop.phase == "step"
    session.close()


def test_until_over_a_grad_that_is_none_between_two_backwards_goes_on() -> None:
    session = made()
    assert do(session, "until norm(head.weight.grad) > 0 and iteration > 1").ok
    assert session.stop.iteration == 2
    assert session.stop.phase == "step"
    session.close()


def test_a_phase_that_raises_while_it_is_stepped_is_logged_as_undone() -> None:
    session = made(second=9.0)
    do(session, "forward; backward; step; zero_grad; into; over")
    assert session.stop.position is None
    assert lines(session)[-2:] == ["into", "undo phase"]
    assert do(session, "zero_grad").ok
    assert replayed(session, 9.0) == place(session)
    session.close()


def test_a_batch_that_into_has_taken_before_the_forward_raised_is_logged() -> None:
    session = made(second=9.0)
    do(session, "break module head; forward; out phase; backward; step; zero_grad")
    assert do(session, "until loss < -1").problem is not None
    assert lines(session)[-1] == "next_batch"
    assert replayed(session, 9.0) == place(session)
    session.close()


def test_a_place_that_was_passed_is_refused() -> None:
    session = made()
    problem = do(session, "into forward; over; pause 1").problem
    assert problem is not None
    assert problem.title == "this forward is past place 1"
    session.close()
