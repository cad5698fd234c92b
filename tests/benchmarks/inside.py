"""What it costs to look inside a backward of a GPT-2 of 124M parameters: each against plain torch, turn about."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from gpt2_workload import workload
from timing import row

LONGEST, LEAST = 150, 10
"""Seconds after which no further backward is timed, unless there were fewer turns than that."""
MEMORY = """
import re, sys, torch
sys.path.insert(0, {folder!r})
from gpt2_workload import RATE, build, loss_of, workload
{loop}
print(re.search("VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])  # ru_maxrss would be the parent's
"""
PLAIN = """
model, words = build()
optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
for _ in range(3):
    loss = loss_of(model, words)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
"""
STEPPED = """
from gradstep.session.local import Session
from gradstep.values import commands as c
session = Session(workload(), history=0)
for _ in range(3):
    session.execute(c.Forward())
    {backward}
    session.execute(c.Step())
    session.execute(c.ZeroGrad())
"""


def measure(times: int) -> list[str]:
    """Return a line for each figure."""
    return [*_watching(times), *_recording(times), *_memory()]


def _watching(times: int) -> list[str]:
    """A backward with the norm of what arrives at every node, against the same backward alone."""
    import torch

    from gradstep.engine.held import Held
    from gradstep.engine.runner import Runner
    from gradstep.engine.stepping.breakpoints import Breakpoints
    from gradstep.engine.stepping.stepper import Stepping
    from gradstep.values.commands import Backward, Forward, ZeroGrad

    held = Held(workload(), torch.device("cpu"))
    runner = Runner(held)
    plain, watched, walked = [], [], []
    end = time.perf_counter() + LONGEST
    for turn in range(times + 1):
        if turn > LEAST and time.perf_counter() > end:
            break
        found = [0.0] * 3
        for how in (turn % 3, (turn + 1) % 3, (turn + 2) % 3):  # none is always the one after another
            runner.run(ZeroGrad())
            runner.run(Forward())
            loss = held.point.loss
            assert loss is not None
            held.graph()
            start = time.perf_counter()
            if how == 0:
                loss.backward()
            else:
                phase = Stepping(runner, Backward(), Breakpoints(), lambda _: False, str)
                phase.looked = how == 2
                assert not phase.go("end")
            found[how] = time.perf_counter() - start
        if turn:  # the first turn warms up
            plain.append(found[0])
            walked.append(found[1])
            watched.append(found[2])
    return [
        row("norm of v at every node", watched, plain, 1.15),
        row("stepping, no norms", walked, plain),
    ]


def _recording(times: int) -> list[str]:
    """The graph with module, parameter and shape of every node, against torchviz' `make_dot` of the same loss."""
    try:
        from torchviz import make_dot
    except ImportError:
        return ["  the graph: install torchviz to compare with (pip install --no-deps torchviz graphviz)"]
    import torch

    from gradstep.engine.autograd.graph import record
    from gradstep.engine.held import Held
    from gradstep.engine.runner import Runner
    from gradstep.values.commands import Forward
    from gradstep.values.views.graph import LookGraph
    from gradstep.views.graph.view import GraphViewer

    held = Held(workload(), torch.device("cpu"))
    runner = Runner(held)
    runner.run(Forward())
    loss, names = held.point.loss, dict(held.model.named_parameters())
    assert loss is not None
    assert loss.grad_fn is not None
    ours, theirs, walks = [], [], []
    for turn in range(times + 1):
        start = time.perf_counter()
        made = record(loss.grad_fn, held.point.watched.owners)
        walked = time.perf_counter() - start
        held.forget_graph()
        start = time.perf_counter()
        view = GraphViewer(held).view(1, LookGraph(count=10_000, level=99))
        whole = time.perf_counter() - start
        start = time.perf_counter()
        make_dot(loss, params=names)
        dot = time.perf_counter() - start
        assert len(view.rows) == len(made.nodes)
        if turn:
            ours.append(whole)
            walks.append(walked)
            theirs.append(dot)
    return [row("graph, every row drawn", ours, theirs, 0.2), row("graph, as recorded", walks, theirs, 0.2)]


def _memory() -> list[str]:
    """Greatest resident memory of three iterations, history off, against the plain loop, each in its own process."""
    folder = str(Path(__file__).parent)

    def peak(loop: str) -> float:
        code = MEMORY.format(folder=folder, loop=loop)
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        return int(done.stdout.split()[-1]) / 2**20

    plain = peak(PLAIN)
    whole = "session.execute(c.Backward())"
    inside = "session.execute(c.Into('backward')); session.execute(c.Over()); session.execute(c.Out(True))"
    rows = [("phases whole", whole), ("backward stepped into", inside)]
    lines = []
    for name, backward in rows:
        ours = peak(STEPPED.format(backward=backward))
        lines.append(
            f"  memory, no history, {name:<22} {ours:.2f} GiB against {plain:.2f} GiB = {ours / plain:.2f}x   aim 1.10x"
        )
    return lines
