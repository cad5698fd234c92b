"""How key to painted screen and memory grow with parameters, nodes, kept iterations and batch size.

Beside each point stands the same training loop in plain PyTorch, in a process of its own. A full run draws the curves
to `screenshots/scale.svg`.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from terminal import Terminal
from timing import milliseconds, percentile
from xychart import Chart, Series, page

FILE = Path(__file__).with_name("curves_workload.py")
PICTURE = FILE.parents[2] / "screenshots" / "scale.svg"
SIZES: dict[str, tuple[Sequence[int], Sequence[int]]] = {
    "parameters": ((10**4, 10**5, 10**6, 10**7, 10**8, 3 * 10**8), (10**4, 10**6, 10**7)),
    "nodes": ((10**2, 10**3, 10**4, 10**5, 10**6), (10**2, 10**3, 10**4)),
    "iterations": ((1, 10**2, 10**3, 10**4, 10**5), (1, 10**2, 10**3)),
    "batch": ((1, 10**2, 10**4, 10**5), (1, 10**2, 10**4)),
}
"""The sizes of each subject, and those of a quick run."""
QUICK = 2
"""The most turns of a quick run."""
FACTORY = """import sys

sys.path.insert(0, {folder!r})
from curves_workload import MAKERS


def workload():
    return MAKERS[{kind!r}]({size})
"""
LOOP = "fbsz"
LIMIT = 1200.0
"""Seconds after which a key, or the command that runs the iterations, has failed."""
_MIB = 1 << 20


class Point(NamedTuple):
    """What was measured at one size. Times in seconds, memory in bytes."""

    size: int
    key: float
    """A key of the loop, to painted screen: the mean over f, b, s and z; the median of all turns."""
    phase: float
    """The same of a phase of the plain loop."""
    memory: int
    """The most that both processes of gradstep have used."""
    plain: int
    """The same of the plain loop."""
    node: float | None = None
    """One node of a backward, key to painted screen."""


def stop_of(text: str) -> int:
    """Return the number of the stop on a screen; -1 while there is none."""
    found = re.search(r"stop ([\d,]+)", text.split("\n", 1)[0])
    return int(found[1].replace(",", "")) if found else -1


def after(stop: int) -> Callable[[str], bool]:
    """Return what tells that a later stop is shown."""
    return lambda text: stop_of(text) > stop


def memory_of(pid: int) -> int:
    """Return the most bytes that a process and each of its children have used; 0 where /proc is missing."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    found = re.search(r"^VmHWM:\s+(\d+)", status, re.MULTILINE)
    return (int(found[1]) * 1024 if found else 0) + sum(memory_of(int(child)) for child in children)


def plain(kind: str, size: int, turns: int) -> tuple[float, int]:
    """Return the seconds of a phase of the plain loop, and its memory."""
    found = subprocess.run(
        [sys.executable, __file__, kind, str(size), str(turns)], check=True, capture_output=True, text=True
    )
    seconds, memory = json.loads(found.stdout.splitlines()[-1])
    return seconds, memory


def plain_loop(kind: str, size: int, turns: int) -> tuple[float, int]:
    """Run the plain loop in this process."""
    import curves_workload
    import torch

    workload = curves_workload.MAKERS[kind](size)
    ((inputs, target),) = workload.batches
    optimizer = workload.optimizer(workload.model.parameters())
    seconds = []
    for turn in range(turns + 1):
        times = [time.perf_counter()]
        loss = workload.loss(workload.model(inputs), target)
        times.append(time.perf_counter())
        loss.backward()
        times.append(time.perf_counter())
        optimizer.step()
        times.append(time.perf_counter())
        optimizer.zero_grad()
        times.append(time.perf_counter())
        if turn:
            seconds.append((times[-1] - times[0]) / len(LOOP))
    assert torch.isfinite(loss)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return percentile(seconds, 0.5), peak


def point(kind: str, size: int, turns: int) -> Point:
    """Measure one size."""
    home = dict.fromkeys(("XDG_STATE_HOME", "XDG_CONFIG_HOME"), os.devnull)
    options = ["--seed", "0", "--device", "cpu", "--layout", "inspect"]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "curves_point.py"
        file.write_text(FACTORY.format(folder=str(FILE.parent), kind=kind, size=size))
        terminal = Terminal([sys.executable, "-m", "gradstep", f"{file}:workload", *options], home)
        terminal.until(lambda text: stop_of(text) == 1, limit=LIMIT)
    terminal.settle()
    if kind == "iterations" and size > 1:
        terminal.type(f":repeat {size} {{ forward; backward; step; zero_grad }}\r")
        terminal.until(lambda text: stop_of(text) > 4 * size, limit=LIMIT)
        terminal.settle()
    seconds = []
    for turn in range(turns + 1):
        loop = [terminal.press(key, after(stop_of(terminal.text())), limit=LIMIT).seconds for key in LOOP]
        if turn:
            seconds.append(sum(loop) / len(LOOP))
    memory, node = memory_of(terminal.pid), None
    if kind == "nodes":
        terminal.press("f", after(stop_of(terminal.text())), limit=LIMIT)
        terminal.press("i", after(stop_of(terminal.text())), limit=LIMIT)
        nodes = [terminal.press("o", after(stop_of(terminal.text())), limit=LIMIT).seconds for _ in range(8)]
        node = percentile(nodes[1:], 0.5)
        memory = max(memory, memory_of(terminal.pid))
    terminal.close()
    return Point(size, percentile(seconds, 0.5), *_plain(kind, size, turns, memory), node)


def _plain(kind: str, size: int, turns: int, memory: int) -> tuple[float, int, int]:
    seconds, theirs = plain(kind, size, turns)
    return seconds, memory, theirs


def words(kind: str, each: Point) -> str:
    """Return a line on a point."""
    node = "" if each.node is None else f", a node {milliseconds(each.node)}"
    return (
        f"  {each.size:>11,} {kind:<10}  key {milliseconds(each.key):>8}, plain phase {milliseconds(each.phase):>8}"
        f"   memory {each.memory / _MIB:>7,.0f} MiB, plain loop {each.plain / _MIB:>7,.0f} MiB{node}"
    )


def draw(found: dict[str, list[Point]]) -> None:
    """Draw the curves of all subjects."""
    charts = []
    for kind, points in found.items():
        times = [
            Series("key", [(each.size, each.key * 1e3) for each in points]),
            Series("plain phase", [(each.size, each.phase * 1e3) for each in points]),
        ]
        nodes = [(each.size, each.node * 1e3) for each in points if each.node is not None]
        charts.append(Chart(f"{kind}: ms", [*times, *([Series("a node", nodes)] if nodes else [])]))
    for kind, points in found.items():
        ours = Series("gradstep", [(each.size, each.memory / _MIB) for each in points])
        theirs = Series("plain loop", [(each.size, each.plain / _MIB) for each in points])
        charts.append(Chart(f"{kind}: MiB", [ours, theirs]))
    PICTURE.write_text(page(charts, columns=len(found)))


def measure(turns: int) -> Iterator[str]:
    """Measure every size; yield the lines of the report."""
    quick, found = turns <= QUICK, dict[str, list[Point]]()
    for kind, sizes in SIZES.items():
        found[kind] = []
        for size in sizes[quick]:
            found[kind].append(point(kind, size, turns))
            yield words(kind, found[kind][-1])
    if not quick:
        draw(found)
        yield f"  drawn to {PICTURE}"


if __name__ == "__main__":
    kind, size, turns = sys.argv[1:]
    print(json.dumps(plain_loop(kind, int(size), int(turns))))
