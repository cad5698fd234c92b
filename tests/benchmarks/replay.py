"""Headless replay of 1,000 iterations of `mlp` against the plain loop: the loop alone, and the whole process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from timing import row

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


def measure(times: int) -> list[str]:
    """Run each in turn; return the lines of the report."""
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
    return [row("whole process", *whole)]
