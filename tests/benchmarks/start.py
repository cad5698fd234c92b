"""First frame: `gradstep` in a real terminal until something is painted, against `import torch`."""

from __future__ import annotations

import subprocess
import sys
import time

from terminal import Terminal
from timing import row


def first_frame() -> float:
    """Return the seconds from the start of gradstep to a painted screen that names the four phases."""
    terminal = Terminal([sys.executable, "-m", "gradstep", "mlp"])
    seconds = terminal.until(lambda text: "forward" in text and "zero_grad" in text, limit=60)
    terminal.close()
    return seconds


def ready() -> float:
    """Return the seconds from the start of gradstep until the model is there and can be stepped."""
    terminal = Terminal([sys.executable, "-m", "gradstep", "mlp"])
    seconds = terminal.until(lambda text: "2.weight" in text and "203,530" in text, limit=120)
    terminal.close()
    return seconds


def run_python(code: str) -> float:
    """Return the seconds that a Python process with this code takes from start to end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure(times: int) -> list[str]:
    """Start each in turn; return the lines of the report."""
    first_frame(), run_python("import torch")  # warms the file cache
    firsts, imports, readies, optimizers = [], [], [], []
    for _ in range(times):
        firsts.append(first_frame())
        imports.append(run_python("import torch"))
        readies.append(ready())
        optimizers.append(run_python("import torch; torch.optim.SGD([torch.zeros(1)])"))
    return [
        row("first frame: import torch", firsts, imports),
        row("ready: torch, optimizer", readies, optimizers),
    ]
