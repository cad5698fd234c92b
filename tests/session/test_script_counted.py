"""A script that runs on: its phases are only counted, and what is shown of them is as true as what is recorded."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from scripting import Function, stepped
from test_script_loops import LOOPS, Loop, Weights

from gradstep.checks import checker
from gradstep.engine.script import loop as script_loop
from gradstep.session.headless_script import HeadlessScript
from gradstep.values import commands as cmd
from gradstep.values.outcomes import Running


def count(monkeypatch: pytest.MonkeyPatch, always: bool = True) -> None:
    """Have every iteration after the first be counted, or none."""
    monkeypatch.setattr(script_loop, "SHARE", -1e9 if always else 1e9)
    monkeypatch.setattr(checker, "FREE", -1e9)
    monkeypatch.setattr(checker, "ALWAYS", 0)


def run(loop: Loop) -> tuple[HeadlessScript, dict[str, Any]]:
    """Run a loop through; return it with its report, which has the weights too."""
    trained: list[Weights | None] = []

    def train() -> None:
        torch.manual_seed(0)
        trained.append(copy.deepcopy(loop()))

    headless = HeadlessScript(cmd.Run("train.py"), program=Function(train))
    headless.run()
    return headless, {**headless.report(), "weights": trained}


@pytest.mark.parametrize("loop", [loop for loop, _ in LOOPS], ids=lambda each: each.__name__)
def test_what_is_counted_is_the_same_as_what_is_recorded(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    count(monkeypatch, always=False)
    recorded, full = run(loop)
    count(monkeypatch)
    counted, short = run(loop)
    for key in ("verdict", "iterations", "counts", "phases", "losses", "weights"):
        assert repr(short[key]) == repr(full[key])  # a NaN is not itself
    a, b = recorded.loop.held, counted.loop.held
    assert a is not None
    assert b is not None
    assert (a.loss_series, a.loss_names, a.loss_rates) == (b.loss_series, b.loss_names, b.loss_rates)
    shown = ("phase", "torch", "done", "iteration", "steps", "steps_since_forward", "value", "change")
    for name in (*shown, "ran", "freed", "returned", "transformed"):
        assert repr(getattr(a.point, name)) == repr(getattr(b.point, name))
    assert b.point.counted == (bool(counted.loop.found.optimizers) and full["iterations"] > 1)


def trains(losses: list[float], raises: int = -1) -> None:
    """Train, and keep each loss; raise in the step of an iteration."""
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1)

    def refuses(*_: object) -> None:
        if len(losses) == raises + 1:
            raise ValueError("refused")

    optimizer.register_step_pre_hook(refuses)
    while len(losses) < 40_000:
        loss = weight.pow(2).sum() + 1 / (len(losses) + 1)
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()


def test_a_pause_stops_what_was_only_counted_and_shows_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    count(monkeypatch)
    losses: list[float] = []

    def pause(_: Running) -> None:
        session.pause()

    with stepped(lambda: trains(losses), on_running=pause) as session:
        assert session.execute(cmd.Continue()).problem is None
        at = session.stop
        assert 0 < at.iteration < 39_999
        assert at.hit == "pause"
        assert at.loss in losses[-2:]  # the loop appends a loss after its backward
        outcome = session.execute(cmd.ZeroGrad())
        assert outcome.problem is None
        assert session.stop.iteration in (at.iteration, at.iteration + 1)


def test_a_breakpoint_that_is_set_at_a_pause_is_hit_at_its_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    count(monkeypatch)
    paused: list[bool] = []

    def pause(_: Running) -> None:
        if not paused:
            paused.append(True)
            session.pause()

    with stepped(lambda: trains([]), on_running=pause) as session:
        session.execute(cmd.Continue())
        wanted = session.stop.iteration + 3
        session.execute(cmd.Break("iteration", str(wanted)))
        session.execute(cmd.Continue())
        assert (session.stop.hit, session.stop.iteration) == ("breakpoint 1", wanted)


def test_what_raises_in_a_step_that_is_only_counted_is_shown_at_its_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    count(monkeypatch)
    losses: list[float] = []
    with stepped(lambda: trains(losses, raises=20)) as session:
        session.execute(cmd.Continue())
        assert "ValueError: refused" in str(session.ended)
        assert session.stop.iteration == 20
        assert session.stop.loss == losses[20]
