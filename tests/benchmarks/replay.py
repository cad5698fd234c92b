"""Headless replay of 1,000 iterations of `mlp` against the plain loop: the loop alone, and the whole process."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from timing import row

if TYPE_CHECKING:
    from gradstep.values.commands import Command

ITERATIONS = 1000
LOAD = "load mlp seed=0 device=cpu\n"
LOOP = f"repeat {ITERATIONS} {{ forward; backward; step; zero_grad }}\n"
PLAIN = f"""
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
x = torch.randn(16, 784)
ideal_output = torch.randn(16, 10)
optimizer = torch.optim.SGD(model.parameters(), lr=0.001)


def train():
    for _ in range({ITERATIONS}):
        prediction = model(x)
        loss = (ideal_output - prediction).pow(2).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
"""


def whole_process(command: list[str]) -> float:
    """Return the seconds of a process from start to end; it must end well."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def loops(times: int) -> tuple[list[float], list[float]]:
    """Return the seconds of the script's loop and of the plain loop, in this one process, turn about."""
    from gradstep.session.local import Session
    from gradstep.steps.headless import Headless
    from gradstep.steps.language.parse import parse_script

    plain: dict[str, Any] = {}
    exec(PLAIN, plain)
    session = Session()
    Headless(parse_script(LOAD, "load.steps"), session).run(lambda *_: None)
    script = parse_script(LOOP, "loop.steps")
    ours, theirs = [], []
    for turn in range(times + 1):
        replay = timed(lambda: Headless(script, session).run(lambda *_: None))
        loop = timed(plain["train"])
        if turn:  # the first turn warms up
            ours.append(replay)
            theirs.append(loop)
    assert session.stop.iteration == (times + 1) * ITERATIONS
    return ours, theirs


def phases(times: int) -> list[str]:
    """Return a line for each phase: the command on the session against the call alone, in one process, turn about."""
    from gradstep.session.local import Session
    from gradstep.values.commands import Backward, Forward, Load, Step, ZeroGrad

    plain: dict[str, Any] = {}
    exec(PLAIN, plain)
    session = Session()
    session.execute(Load("mlp", seed=0, device="cpu"))

    def forward() -> None:
        plain["loss"] = (plain["ideal_output"] - plain["model"](plain["x"])).pow(2).sum()

    calls: dict[str, tuple[Command, Callable[[], object]]] = {
        "forward": (Forward(), forward),
        "backward": (Backward(), lambda: plain["loss"].backward()),
        "step": (Step(), plain["optimizer"].step),
        "zero_grad": (ZeroGrad(), plain["optimizer"].zero_grad),
    }
    taken: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in calls}
    for turn in range(times):
        for side in (0, 1):
            for name, (command, call) in calls.items():
                seconds = timed(call if side else partial(session.execute, command))
                if turn >= 50:
                    taken[name][side].append(seconds)
    return [row(name, *both) for name, both in taken.items()]


def measure(times: int) -> list[str]:
    """Run each in turn; return the lines of the report."""
    lines = [row("the loop alone", *loops(times), 1.10), *phases(100 * times)]
    with TemporaryDirectory() as folder:
        script, plain = Path(folder) / "loop.steps", Path(folder) / "loop.py"
        script.write_text(LOAD + LOOP)
        plain.write_text(PLAIN + "\n\ntrain()\n")
        commands = [[sys.executable, "-m", "gradstep", "replay", str(script)], [sys.executable, str(plain)]]
        whole: tuple[list[float], list[float]] = ([], [])
        for turn in range(times + 1):
            for seconds, command in zip(whole, commands, strict=True):
                taken = whole_process(command)
                if turn:  # the first turn warms the file cache
                    seconds.append(taken)
    return [*lines, row("whole process", *whole)]
