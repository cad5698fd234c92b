"""A script that runs on: its phases are only counted, and what is shown of them is as true as what is recorded."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from scripting import Function
from test_script_loops import LOOPS, Loop, Weights

from gradstep.checks import checker
from gradstep.engine.script import loop as script_loop
from gradstep.session.headless_script import HeadlessScript
from gradstep.values import commands as cmd


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
