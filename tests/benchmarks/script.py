"""What it costs to run a script under gradstep: between stops against the script alone, and each stop of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from keys import PHASES, at_stop
from terminal import Terminal
from timing import milliseconds, percentile, row

AT_ONCE = 20
"""Iterations that are timed as one."""
PROGRAM = f"""
import json, sys, time
import torch
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 128))
x = torch.randn(int(sys.argv[1]), 128)
ideal_output = torch.randn(int(sys.argv[1]), 128)
optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
count, unmeasured, seconds = int(sys.argv[2]), float(sys.argv[3]), []
began = time.perf_counter()
while len(seconds) < count:
    start, used = time.perf_counter(), time.thread_time()
    for _ in range({AT_ONCE}):
        loss = (ideal_output - model(x)).pow(2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    end = time.perf_counter()
    if end - began > unmeasured:
        seconds.append(((end - start) / {AT_ONCE}, (time.thread_time() - used) / {AT_ONCE}))
with open(sys.argv[4], "w") as file:
    json.dump(seconds, file)
"""
WORKLOAD = """
import torch
from torch import nn

from gradstep import Workload


def workload():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 128))
    batch = torch.randn(64, 128), torch.randn(64, 128)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    return Workload(model, lambda output, target: (target - output).pow(2).mean(), optimizer, [batch])
"""
UNMEASURED = 4.0
"""Seconds until the times are taken: the checks have looked at the first iterations, and models have been found."""
AIMS = {0.5: 1.10, 5.0: 1.03}
"""Milliseconds of an iteration, and the greatest ratio."""
HOME = dict.fromkeys(("XDG_STATE_HOME", "XDG_CONFIG_HOME"), os.devnull)


class Loop(NamedTuple):
    """A script to run, and how."""

    script: Path
    batch: int
    count: int
    """How many times are taken."""

    def arguments(self) -> list[str]:
        """Return the script and its arguments."""
        return [str(self.script), str(self.batch), str(self.count), str(UNMEASURED), str(self._out)]

    @property
    def _out(self) -> Path:
        return self.script.with_suffix(".times")

    def times(self) -> list[tuple[float, float]]:
        """Return the seconds of one iteration, as the last run has taken them: in all, and of CPU on its thread."""
        seconds = [(whole, used) for whole, used in json.loads(self._out.read_text())]
        self._out.unlink()
        return seconds


def run_alone(loop: Loop) -> None:
    """Run the script with Python."""
    _run([sys.executable, *loop.arguments()])


def run_through(loop: Loop) -> None:
    """Run it under `gradstep run`."""
    _run([sys.executable, "-m", "gradstep", "run", *loop.arguments()])


def run_with_report(loop: Loop) -> None:
    """Run it under `gradstep run --report`."""
    report = str(loop.script.with_suffix(".json"))
    _run([sys.executable, "-m", "gradstep", "run", "--report", report, *loop.arguments()])
    Path(report).unlink()


def run_on_screen(loop: Loop) -> None:
    """Run it on a screen with every panel, by `c` after its first forward."""
    terminal = open_screen(*loop.arguments())
    terminal.press("f", at_stop(2))
    terminal.type("c")
    terminal.until(lambda text: "exit code 0" in text, limit=300)
    terminal.close()


WAYS: dict[str, Callable[[Loop], None]] = {
    "alone": run_alone,
    "gradstep run": run_through,
    "gradstep run --report": run_with_report,
    "c, panels live": run_on_screen,
}


def measure(rounds: int) -> list[str]:
    """Run each in turn; return the lines of the report."""
    with TemporaryDirectory() as folder:
        script, workload = Path(folder) / "train.py", Path(folder) / "held.py"
        script.write_text(PROGRAM)
        workload.write_text(WORKLOAD)
        lines = []
        for wanted, aim in AIMS.items():
            lines += _between_stops(Loop(script, _batch(script, wanted / 1e3), 0), wanted, aim, rounds)
        return [*lines, *_stops(script, workload, 5 * rounds)]


def _between_stops(loop: Loop, wanted: float, aim: float, rounds: int) -> list[str]:
    loop = loop._replace(count=round(3000 / wanted / AT_ONCE))  # three seconds
    seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way, run in WAYS.items():
            run(loop)
            seconds[way] += loop.times()
    (alone, used), *others = (list(zip(*taken, strict=True)) for taken in seconds.values())
    lines = [f"  an iteration of {milliseconds(percentile(alone, 0.5))} alone, five modules, batches of {loop.batch}"]
    for way, (taken, cpu) in zip([*WAYS][1:], others, strict=True):
        least, work = min(taken) / min(alone), percentile(cpu, 0.5) / percentile(used, 0.5)
        lines.append(
            f"{row(way, taken, alone, aim)}   least {least:.2f}x   CPU {work:.2f}x, {min(cpu) / min(used):.2f}x"
        )
    return lines


def _batch(script: Path, wanted: float) -> int:
    """Return the size of the batch with which an iteration takes so many seconds here."""
    few, many = 64, 1024
    least: list[float] = []
    for batch in (few, many):
        loop = Loop(script, batch, 20)
        run_alone(loop)
        least.append(min(whole for whole, _ in loop.times()))
    each = (least[1] - least[0]) / (many - few)
    return max(1, round(few + (wanted - least[0]) / each))


# -- stops -------------------------------------------------------------------------------------------------------------
def open_screen(*arguments: str) -> Terminal:
    """Start gradstep with every panel, and wait until it can be stepped."""
    command = [sys.executable, "-m", "gradstep", "--layout", "inspect", *arguments]
    terminal = Terminal(command, HOME, (200, 60))
    terminal.until(lambda text: "49,536" in text, limit=120)
    terminal.settle()
    return terminal


def _stops(script: Path, workload: Path, rounds: int) -> list[str]:
    """Return a line for each phase: its stop in the script against that of the same model in a held workload."""
    screens = {
        "script": open_screen(str(script), "64", "1", "1e9", os.devnull),
        "held": open_screen(f"{workload}:workload"),
    }
    seconds: dict[tuple[str, str], list[float]] = {(name, key): [] for name in screens for key in PHASES}
    for stop in range(2, len(PHASES) * (rounds + 1) + 2):
        key = list(PHASES)[(stop - 2) % len(PHASES)]
        for name, screen in screens.items():
            taken = screen.press(key, at_stop(stop)).seconds
            if stop > len(PHASES) + 1:  # the first round warms up
                seconds[name, key].append(taken)
    for screen in screens.values():
        screen.close()
    lines = [row(word, seconds["script", key], seconds["held", key], 1.25) for key, word in PHASES.items()]
    return ["  key to painted stop with every panel, the script against a held workload", *lines]


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
