"""Going back in time, against a plain copy of the bytes a command changed: mlp, and GPT-2 124M with AdamW."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timing import percentile, row

from gradstep.engine.debuggee.loading import build, find_factory
from gradstep.engine.expressions.scope import HeldScope
from gradstep.engine.held import Held
from gradstep.engine.history import travel as arrive
from gradstep.engine.history.thinning import tidy
from gradstep.engine.history.timeline import Timeline
from gradstep.engine.runner import Runner
from gradstep.session.local import Session
from gradstep.values.commands import HISTORY, Backward, Forward, PointCommand, Step, ZeroGrad
from gradstep.workload import Workload

LOOP: tuple[PointCommand, ...] = (Forward(), Backward(), Step(), ZeroGrad(True))
BUDGETS = {"mlp": 1 << 30, "gpt2": 12 << 30}
"""Enough for all that is measured: what is timed is the history, not its thinning."""
UNDO = {"mlp": 4.0, "gpt2": 2.0}
"""The aims for undo and redo, which exchange contents: each is read and written twice."""


def mlp() -> Workload:
    """Return the default example."""
    torch.manual_seed(0)
    return build(find_factory("mlp", ""), "mlp")


def gpt2() -> Workload:
    """Return GPT-2 124M with random weights, 64 tokens and AdamW."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))
    tokens = torch.randint(50257, (1, 64))
    return Workload(
        model,
        compute_loss=lambda m, batch: m(input_ids=batch, labels=batch).loss,
        optimizer=lambda p: torch.optim.AdamW(p, lr=3e-4),
        batches=[tokens],
    )


MAKERS: dict[str, Callable[[], Workload]] = {"mlp": mlp, "gpt2": gpt2}


class Timed:
    """Adds up the seconds that calls of methods take."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def wrap(self, owner: Any, name: str) -> None:
        """Time every call of `owner.name` from here on."""
        call = getattr(owner, name)

        def timed(*given: Any) -> Any:
            start = time.perf_counter()
            try:
                return call(*given)
            finally:
                self.seconds += time.perf_counter() - start

        setattr(owner, name, timed)


def copier(timeline: Timeline, phase: type[object]) -> tuple[Callable[[], None], Callable[[], None], int]:
    """Return plain copies of what the last command of a kind changed, into warm memory and into new; and its bytes."""
    point = next(p for p in timeline.here().path() if isinstance(p.command, phase))
    assert point.checkpoint is not None
    images = [point.checkpoint.images[key] for key in point.wrote]
    tensors = [image.contents.detach() for image in images if image is not None]
    if phase is ZeroGrad:  # what it changed is what was there before
        assert point.parent is not None
        assert point.parent.checkpoint is not None
        images = [point.parent.checkpoint.images[key] for key in point.wrote]
        tensors = [image.contents.detach() for image in images if image is not None]
    into = [torch.empty_like(tensor) for tensor in tensors]

    def copy() -> None:
        if tensors:
            torch._foreach_copy_(into, tensors)

    def clone() -> None:
        kept.append([tensor.clone() for tensor in tensors])

    kept: list[list[torch.Tensor]] = []  # history is memory that was not used before, as this is
    copy()
    return copy, clone, sum(tensor.nbytes for tensor in tensors)


def seconds(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure_one(name: str, times: int) -> list[str]:
    """Return the lines for one workload."""
    runner = Runner(Held(MAKERS[name](), torch.device("cpu")))
    timeline = Timeline(runner, HeldScope(runner.held), BUDGETS[name])
    timeline.begin()
    for command in LOOP * 2:
        runner.run(command)
    kept: dict[str, list[float]] = {}
    copies: dict[str, list[float]] = {}
    undone: list[float] = []
    redone: list[float] = []
    plain: list[float] = []
    timer = Timed()
    timer.wrap(runner.transaction, "begin")
    timer.wrap(runner.transaction, "keep")
    before, changed = timeline.bytes, 0.0
    for turn in range(times + 1):
        for command in LOOP:
            timer.seconds = 0.0
            runner.run(command)
            took = timer.seconds
            copy, clone, size = copier(timeline, type(command))
            changed += size
            if turn:
                kept.setdefault(type(command).__name__.lower(), []).append(took)
                copies.setdefault(type(command).__name__.lower(), []).append(seconds(clone))
            if isinstance(command, Step) and turn:
                after = timeline.here()
                undone.append(seconds(partial(arrive.go, timeline, timeline.back(1))))
                redone.append(seconds(partial(arrive.go, timeline, after)))
                plain.append(seconds(copy))
            del copy, clone
        tidy(timeline)
    history = (timeline.bytes - before) / (times + 1)
    lines = [
        row(f"{name}: undo of a step", undone, plain, UNDO[name]),
        row(f"{name}: redo of a step", redone, plain, UNDO[name]),
    ]
    lines += [
        row(f"{name}: keep, {phase}", kept[phase], copies[phase], 1.2)
        for phase in ("step", "zerograd", "backward", "forward")
        if percentile(copies[phase], 0.5) > 1e-6
    ]
    all_kept = [sum(each) for each in zip(*kept.values(), strict=True)]
    all_copies = [sum(each) for each in zip(*copies.values(), strict=True)]
    lines.append(row(f"{name}: keep, an iteration", all_kept, all_copies, 1.2))
    changed /= times + 1
    lines.append(
        f"  {name}: history an iteration {history / 1e6:.2f} MB, changed {changed / 1e6:.2f} MB"
        f" = {history / changed:.2f}x"
    )
    return lines


def loop_of(workload: Workload) -> list[Callable[[], None]]:
    """Return the four phases of a plain training loop."""
    assert callable(workload.optimizer)
    optimizer: Any = workload.optimizer(workload.model.parameters())
    losses: list[torch.Tensor] = []

    def forward() -> None:
        batch: Any = workload.batches[0]  # type: ignore[index]
        if workload.loss is None:
            assert workload.compute_loss is not None
            losses[:] = [workload.compute_loss(workload.model, batch)]
        else:
            losses[:] = [workload.loss(workload.model(batch[0]), batch[1])]

    return [forward, lambda: losses[0].backward(), optimizer.step, optimizer.zero_grad]


def measure_iteration(name: str, times: int, history: int) -> str:
    """Return the line for whole iterations in a session with a history, against the plain loop, turn about."""
    phases, session = loop_of(MAKERS[name]()), Session(MAKERS[name](), history=history)
    ours: list[float] = []
    plain: list[float] = []
    for turn in range(times + 2):
        took = sum(map(seconds, phases))
        with_history = sum(seconds(partial(session.execute, command)) for command in LOOP)
        if turn > 1:  # until the optimizer's state and the first copies are allocated
            plain.append(took)
            ours.append(with_history)
    return row(f"{name}: f b s z, {history >> 30} GiB", ours, plain, 1.3 if name == "gpt2" else None)


MEMORY = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
import torch
from history import MAKERS, LOOP
from gradstep.engine.held import Held
from gradstep.engine.runner import Runner
from gradstep.engine.expressions.scope import HeldScope
from gradstep.engine.history.timeline import Timeline
workload = MAKERS[{name!r}]()
if {how!r} == "plain":
    optimizer = workload.optimizer(workload.model.parameters())
    batch = workload.batches[0]
    for _ in range(3):
        if workload.loss is None:
            loss = workload.compute_loss(workload.model, batch)
        else:
            loss = workload.loss(workload.model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
else:
    runner = Runner(Held(workload, torch.device("cpu")))
    runner.observed = {how!r} != "replay"
    for command in LOOP * 3:
        runner.run(command)
status = Path("/proc/self/status")
if status.exists():  # what getrusage says is that of the parent, if it was larger
    print(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")))
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(name: str, how: str) -> int:
    """Return the greatest resident memory in MB of a process that trains three iterations."""
    folder = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY.format(folder=folder, name=name, how=how)],
        check=True,
        capture_output=True,
        text=True,
    )
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return int(done.stdout.split()[-1]) // unit


def measure(times: int) -> list[str]:
    """Return the lines of the report."""
    lines = []
    for name in MAKERS:
        few = times if name == "mlp" else max(2, times // 20)
        lines += measure_one(name, few)
        lines += [measure_iteration(name, max(8, few), history) for history in dict.fromkeys((HISTORY, BUDGETS[name]))]
        plain, off, replay = (peak(name, how) for how in ("plain", "off", "replay"))
        lines.append(
            f"  {name}: resident memory, history off {off:,} MB (with a rollback's copies), replay {replay:,} MB,"
            f" plain {plain:,} MB = {off / plain:.2f}x and {replay / plain:.2f}x"
        )
    return lines
