"""A script that is killed while it stands at a stop: how it ended is said, and no process of it is left."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

import pytest
from running_scripts import Watched

from gradstep.values import commands as cmd
from gradstep.values.commands import Command
from gradstep.values.views import LookModel, ModelView

SCRIPT = """
    import os, torch
    child = os.fork()
    if not child:
        while True:
            os.read(os.pipe()[0], 1)
    print("pids", os.getpid(), child, flush=True)
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    opt = torch.optim.LBFGS(net.parameters())
    def closure():
        opt.zero_grad()
        loss = net(torch.ones(4, 3)).pow(2).mean()
        loss.backward()
        return loss
    while True:
        opt.step(closure)
"""

STOPS: dict[str, Sequence[Command]] = {
    "before the first forward": [],
    "inside a forward": [cmd.Into(), cmd.Into(), cmd.Into()],
    "before a node": [cmd.Forward(), cmd.Into()],
    "inside a step": [cmd.Backward()],
    "after a step": [cmd.Step()],
    "while it runs on": [],
}
"""The commands that lead to each kind of stop."""

ENDS = {
    signal.SIGKILL: "killed by SIGKILL",
    signal.SIGTERM: "killed by SIGTERM",
    signal.SIGSEGV: "segmentation fault (SIGSEGV)",
}


def lives(pid: int) -> bool:
    """Return whether a process runs; one that has ended may wait for its new parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def at_stop(run: Watched, folder: Path, stop: str) -> list[int]:
    """Run the script to a stop; return the ids of its process and of its child."""
    path = folder / "train.py"
    path.write_text(dedent(SCRIPT))
    await run.run(path)
    for command in STOPS[stop]:
        outcome = await run.do(command)
        assert outcome is not None
        assert outcome.ok
    await run.until("pids")
    return [int(each) for each in run.printed.partition("pids")[2].split()[:2]]


@pytest.mark.parametrize(
    ("stop", "number"),
    [
        *((stop, signal.SIGKILL) for stop in STOPS),
        ("inside a forward", signal.SIGTERM),
        ("before a node", signal.SIGSEGV),
    ],
)
def test_a_signal_that_kills_it_is_said_and_no_process_is_left(
    stop: str, number: signal.Signals, tmp_path: Path
) -> None:
    async def test() -> None:
        run = Watched()
        pids = await at_stop(run, tmp_path, stop)
        runs = asyncio.ensure_future(run.do(cmd.Continue())) if stop == "while it runs on" else None
        os.kill(pids[0], number)
        while not run.died:
            await run.change()
        assert run.died == ENDS[number]
        assert runs is None or await runs is None
        await run.session.close()
        while any(map(lives, pids)):
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(test(), 120))


@pytest.mark.parametrize("stop", STOPS)
def test_an_interrupt_is_raised_at_the_line_of_the_script_where_it_stands(stop: str, tmp_path: Path) -> None:
    async def test() -> None:
        run = Watched()
        pids = await at_stop(run, tmp_path, stop)
        runs = asyncio.ensure_future(run.do(cmd.Continue())) if stop == "while it runs on" else None
        os.kill(pids[0], signal.SIGINT)
        outcome = await (runs if runs is not None else run.do(cmd.Continue()))
        assert outcome is not None
        assert outcome.stop.ended == "ended with exit code 130"
        assert "KeyboardInterrupt" in run.printed
        assert "gradstep/" not in run.printed
        (view,) = await run.session.look([LookModel()])
        assert isinstance(view, ModelView)
        await run.session.close()
        while any(map(lives, pids)):
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(test(), 120))
