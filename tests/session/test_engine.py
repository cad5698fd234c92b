"""The real engine behind the socket: torch in one process, never in the other, and debuggees that misbehave."""

from __future__ import annotations

import asyncio
import os
import platform
import resource
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from gradstep.session.transport.remote import RemoteSession
from gradstep.values.commands import Backward, Command, Forward, Load, NextBatch, Step, ZeroGrad
from gradstep.values.outcomes import Died, Event, Output, Progress
from gradstep.values.views import Digest, GraphView, LookDigest, LookGraph, LookModel, ModelView

T = TypeVar("T")

WORKLOADS = """
import ctypes, gc, os, resource, sys, time, weakref
import torch
from torch import nn
from gradstep import Workload

def small(compute_loss=None):
    loss = None if compute_loss else nn.functional.mse_loss
    return Workload(
        model=nn.Linear(2, 1), loss=loss, compute_loss=compute_loss,
        optimizer=lambda p: torch.optim.SGD(p, lr=0.1), batches=[(torch.ones(4, 2), torch.zeros(4, 1))],
    )

def prints():
    print("made in Python")
    print("error stream", file=sys.stderr)
    ctypes.CDLL(None).printf(b"made in C\\n")
    return small()

def modules():
    print([m for m in ("textual", "rich.console", "torch") if m in sys.modules])
    return small()

def prints_in_forward():
    def loss(model, batch):
        print("in forward")
        return model(batch[0]).sum()
    return small(loss)

def hangs_in_forward():
    def loss(model, batch):
        torch.rand(1)
        model.calls.add_(1)
        print("hanging", flush=True)
        while True:
            time.sleep(3600)
    workload = small(loss)
    workload.model.register_buffer("calls", torch.zeros(1))
    return workload

def hangs():
    print("hanging", flush=True)
    while True:
        time.sleep(3600)
    return small()

def exits():
    print("going", flush=True)
    os._exit(3)
    return small()

def leaves():
    sys.exit(3)
    return small()

def raises():
    raise ValueError("no data today")

def nothing():
    return None

def reads():
    input("name? ")
    return small()

def allocates():
    def loss(model, batch):
        def faults():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            torch.ones(10 << 20)  # 40 MiB, freed at once
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        # an aligned block does not fit where one was freed, until two of those are side by side
        print("in freed memory:", any(faults() < 1000 for _ in range(40)))
        return model(batch[0]).sum()
    return small(loss)

def frees_a_long_graph():
    x, nodes = torch.ones(1, requires_grad=True), []
    for _ in range(100_000):
        x = x + 1
    node = x.grad_fn
    while node is not None:  # torch frees nodes that Python has seen recursively
        nodes.append(node)
        node = node.next_functions[0][0] if node.next_functions else None
    while nodes:
        nodes.pop()
    del x
    print("freed")
    return small()

def leaves_a_cycle():
    class Knot:
        pass
    knot = Knot()
    knot.itself = knot
    weakref.finalize(knot, print, "let go")
    def loss(model, batch):
        print("left alone:", gc.get_freeze_count() > 100_000)
        return model(batch[0]).sum()
    return small(loss)
"""


class Held:
    """A session on a real engine, its events, and a loop that lives as long."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.session = RemoteSession.spawn()
        self.events: list[Event] = []
        self.session.on_event = self._note
        self._noted = asyncio.Event()

    def _note(self, event: Event) -> None:
        self.events.append(event)
        self._noted.set()

    def run(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, 60))

    async def seen(self, wanted: Callable[[list[Event]], bool]) -> None:
        while not wanted(self.events):
            self._noted.clear()
            await self._noted.wait()

    async def all(self, *commands: Command) -> list[str]:
        """Carry commands out; return the titles of their problems."""
        outcomes = [await self.session.execute(c) for c in commands]
        return [o.problem.title for o in outcomes if o.problem]

    async def digest(self) -> str:
        [view] = await self.session.look([LookDigest()])
        assert isinstance(view, Digest)
        return view.digest

    @property
    def output(self) -> str:
        return "".join(e.text for e in self.events if isinstance(e, Output))


@pytest.fixture(scope="module")
def held() -> Iterator[Held]:
    """Hold one engine for all tests of this file; each restarts it if it has to."""
    held = Held()
    yield held
    held.run(held.session.close())
    held.session.kill()
    held.loop.close()


@pytest.fixture
def file(tmp_path: Path, held: Held) -> str:
    path = tmp_path / "workloads.py"
    path.write_text(WORKLOADS)
    held.events.clear()
    return str(path)


def test_stages_are_told_before_torch_is_there_and_on_the_way(held: Held) -> None:
    held.run(held.all(Load("mlp", seed=0)))
    stages = [e.stage for e in held.events if isinstance(e, Progress)]
    assert stages[0] == "importing torch"
    assert len(stages) >= 3


def test_the_engine_has_no_textual(held: Held, file: str) -> None:
    held.run(held.all(Load(f"{file}:modules")))
    assert held.output == "['torch']\n"


def test_a_phase_and_the_views_after_it_are_of_one_stop(held: Held, file: str) -> None:
    assert held.run(held.all(Load("mlp", seed=0), Forward())) == []
    model, graph = held.run(held.session.look([LookModel(), LookGraph()]))
    assert isinstance(model, ModelView)
    assert isinstance(graph, GraphView)
    assert model.stop == graph.stop == held.session.stop.number
    assert model.parameters == 203_530
    assert graph.state == "alive"


def test_what_a_factory_prints_comes_before_its_outcome(held: Held, file: str) -> None:
    assert held.run(held.all(Load(f"{file}:prints"))) == []
    assert sorted(held.output.splitlines()) == ["error stream", "made in C", "made in Python"]


def test_present_objects_are_frozen_and_those_of_an_earlier_load_collected(held: Held, file: str) -> None:
    assert held.run(held.all(Load(f"{file}:leaves_a_cycle"), Forward())) == []
    assert "left alone: True" in held.output
    assert held.run(held.all(Load("mlp", seed=0))) == []
    assert "let go" in held.output


def test_the_stack_has_room_for_what_torch_frees_recursively(held: Held, file: str) -> None:
    limit = resource.getrlimit(resource.RLIMIT_STACK)
    assert held.run(held.all(Load(f"{file}:frees_a_long_graph"))) == []
    assert "freed" in held.output
    assert resource.getrlimit(resource.RLIMIT_STACK) == limit, "of this process"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc")
def test_memory_that_a_phase_has_freed_is_used_again(held: Held, file: str) -> None:
    assert held.run(held.all(Load(f"{file}:allocates"), Forward())) == []
    assert "in freed memory: True" in held.output


def test_what_a_phase_prints_comes_before_its_outcome(held: Held, file: str) -> None:
    assert held.run(held.all(Load(f"{file}:prints_in_forward"))) == []
    assert held.output == ""
    held.run(held.all(Forward()))
    assert held.output == "in forward\n"


@pytest.mark.parametrize(
    ("factory", "says"),
    [("raises", "no data today"), ("nothing", "returns nothing"), ("reads", "EOFError"), ("leaves", "3")],
)
def test_a_factory_that_fails_is_an_outcome_and_the_engine_lives(
    held: Held, file: str, factory: str, says: str
) -> None:
    outcome = held.run(held.session.execute(Load(f"{file}:{factory}")))
    assert says in outcome.problem.what
    assert outcome.problem.remedy
    assert held.run(held.all(Load("linear"), Forward())) == []


def test_a_phase_that_is_interrupted_is_rolled_back(held: Held, file: str) -> None:
    async def work() -> None:
        assert await held.all(Load(f"{file}:hangs_in_forward", seed=0)) == []
        before = await held.digest()
        running = asyncio.ensure_future(held.session.execute(Forward()))
        await held.seen(lambda _: "hanging" in held.output)
        held.session.interrupt()
        outcome = await running
        assert outcome.problem.kind == "interrupted"
        assert await held.digest() == before
        assert await held.all(NextBatch()) == []

    held.run(work())


def test_a_factory_that_hangs_can_be_interrupted(held: Held, file: str) -> None:
    async def work() -> None:
        loading = asyncio.ensure_future(held.session.execute(Load(f"{file}:hangs")))
        await held.seen(lambda _: "hanging" in held.output)
        held.session.interrupt()
        assert (await loading).problem.kind == "interrupted"
        assert await held.all(Load("linear"), Forward()) == []

    held.run(work())


def test_killed_at_each_phase_a_fresh_engine_replays_to_the_same_digest(held: Held, file: str) -> None:
    async def work() -> None:
        history: list[Command] = [Load("linear", seed=3)]
        await held.all(*history)
        for phase in (Forward(), Backward(), Step(), ZeroGrad()):
            assert await held.all(phase) == []
            history.append(phase)
            before = await held.digest()
            os.kill(held.session._link.pid, signal.SIGKILL)
            held.events.clear()
            await held.seen(lambda events: Died("killed by SIGKILL") in events)
            with pytest.raises(ConnectionError, match="SIGKILL"):
                await held.session.look([LookDigest()])
            await held.session.restart()
            assert await held.all(*history) == []
            assert await held.digest() == before

    held.run(work())


def test_killed_during_a_phase_the_command_fails_and_the_session_can_be_replayed(held: Held, file: str) -> None:
    async def work() -> None:
        assert await held.all(Load(f"{file}:hangs_in_forward", seed=0)) == []
        before = await held.digest()
        running = asyncio.ensure_future(held.session.execute(Forward()))
        await held.seen(lambda _: "hanging" in held.output)
        os.kill(held.session._link.pid, signal.SIGKILL)
        with pytest.raises(ConnectionError, match="killed by SIGKILL"):
            await running
        await held.session.restart()
        assert await held.all(Load(f"{file}:hangs_in_forward", seed=0)) == []
        assert await held.digest() == before

    held.run(work())


def test_a_factory_that_exits_is_reported_with_its_status_and_output(held: Held, file: str) -> None:
    async def work() -> None:
        with pytest.raises(ConnectionError, match="exited with status 3"):
            await held.session.execute(Load(f"{file}:exits"))
        assert held.events[-1] == Died("exited with status 3")
        assert held.output == "going\n"
        await held.session.restart()

    held.run(work())


def test_closing_while_a_factory_hangs_takes_the_engine_along(held: Held, file: str) -> None:
    async def work() -> None:
        loading = asyncio.ensure_future(held.session.execute(Load(f"{file}:hangs")))
        await held.seen(lambda _: "hanging" in held.output)
        await held.session.close()
        with pytest.raises(ConnectionError):
            await loading
        assert held.session._link.process.returncode == -signal.SIGKILL
        assert not any(isinstance(e, Died) for e in held.events)

    held.run(work())
