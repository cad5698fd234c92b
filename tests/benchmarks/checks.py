"""What the checks cost: the four phases of mlp and of a GPT-2 of 124M parameters, with them and without, turn about."""

from __future__ import annotations

import time

from gpt2_workload import workload
from timing import row

LONGEST, LEAST = 100, 8
"""Seconds after which no further turn of GPT-2 is timed, unless there were fewer turns than that."""


def measure(times: int) -> list[str]:
    """Return a line for each figure."""
    from gradstep.session.local import Session

    lines = [row("mlp, an iteration", *_turns(Session("mlp", history=0), 20 * times), aim=1.05)]
    return [*lines, row("GPT-2 124M, an iteration", *_turns(Session(workload(), history=0), times), aim=1.05)]


def _turns(session: object, times: int) -> tuple[list[float], list[float]]:
    """Return the seconds of an iteration with the checks and without."""
    from gradstep.checks.checker import all_checks
    from gradstep.session.local import Session
    from gradstep.values.commands import Backward, Forward, Step, ZeroGrad

    assert isinstance(session, Session)
    checker = session._need().inspector.checker
    every = set(all_checks())
    checked: list[float] = []
    plain: list[float] = []
    began = time.perf_counter()
    for turn in range(2 * times + 4):
        on = turn % 2 == 0
        checker.off = set() if on else set(every)
        start = time.perf_counter()
        for act in (Forward(), Backward(), Step(), ZeroGrad()):
            assert session.execute(act).ok
        seconds = time.perf_counter() - start
        if turn >= 4:
            (checked if on else plain).append(seconds)
        if time.perf_counter() - began > LONGEST and len(plain) >= LEAST:
            break
    session.close()
    return checked[: len(plain)], plain
