"""How often the host waits for a device during a stop and a look: a bounded number of times, whatever the model's size.

The model is on the CPU, but everything computed from its parameters and batches is marked, and a read of marked
contents is counted: on a GPU, the host would wait there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gradstep.engine import reads
from gradstep.engine.observe import functions
from gradstep.session.inspector import Inspector
from gradstep.session.local import Session
from gradstep.values.commands import ACTS, Forward, Show
from gradstep.values.commands.stepping import Into, Over
from gradstep.values.expressions import Name
from gradstep.values.views import LookLoss, LookModel, LookTensor, LookWhy, NoView, Request
from gradstep.values.views.graph import LookGraph
from gradstep.values.views.ledger import LookLedger
from gradstep.values.views.node import LookNode
from gradstep.values.views.timeline import LookTimeline
from gradstep.values.views.training import LookBatch, LookLayers, LookOptimizer
from gradstep.workload import Workload

aten = torch.ops.aten
READS = {aten._local_scalar_dense, aten.equal, aten.nonzero, aten.masked_select, aten._unique2}
METHODS = ("tolist", "cpu", "numpy")
LEARN = (LookTensor(8, 8), LookModel(), LookWhy((0, 0)), LookLedger((0, 0)))
MORE = (LookGraph(), LookLoss(), LookLayers(), LookOptimizer(), LookBatch(), LookTimeline())
PHASES = {"forward": 2, "backward": 1, "step": 2, "zero_grad": 0, "next_batch": 1}
"""The reads of a phase, once its checks only sample: the loss, gradients before a step, and what it has written."""
MOST: dict[type, int] = {LookGraph: 0, LookLoss: 0, LookTimeline: 0, LookBatch: 2}
"""The most reads of a view, if not one. Batch reads the samples with the largest loss, which depend on the losses."""


class Device(TorchDispatchMode):
    """Marks what is computed from marked tensors, and counts the reads of their contents."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def mark(self, tensors: Any) -> None:
        for tensor in tree_leaves(tensors):
            if isinstance(tensor, Tensor):
                tensor.marked = True  # type: ignore[attr-defined]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        marked = any(isinstance(each, Tensor) and is_marked(each) for each in tree_leaves((args, kwargs)))
        by_mask = func.overloadpacket is aten.index and any(i is not None and i.dtype == torch.bool for i in args[1])
        self.reads += marked and (func.overloadpacket in READS or by_mask)
        made = func(*args, **(kwargs or {}))
        if marked:
            self.mark(made)
        return made


def is_marked(tensor: Tensor) -> bool:
    return hasattr(tensor, "marked")


@contextmanager
def on_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    device = Device()

    def reading(name: str) -> Callable[..., Any]:
        own = getattr(torch._C.TensorBase, name)

        def read(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            if not is_marked(tensor):
                return own(tensor, *args, **kwargs)
            device.reads += 1
            found = own(tensor, *args, **kwargs)
            if isinstance(found, Tensor):
                with torch._C._DisableTorchDispatch():
                    return found.detach().clone()
            return found

        return read

    look = Inspector.look

    def looked(inspector: Inspector, *args: Any) -> Any:
        if torch._C._len_torch_dispatch_stack():
            return look(inspector, *args)
        with device:  # on the thread of a phase
            return look(inspector, *args)

    with monkeypatch.context() as patch:
        for name in METHODS:
            patch.setattr(Tensor, name, reading(name), raising=False)
        real = reads.on_host
        for module in [each for each in sys.modules.values() if getattr(each, "on_host", None) is real]:
            patch.setattr(module, "on_host", lambda tensor: not is_marked(tensor))
        patch.setattr(functions, "_disable_current_modes", nullcontext)  # what checks read counts as well
        patch.setattr(Inspector, "look", looked)
        for name in ("gradstep.engine.phases.QUICK", "gradstep.session.phase_stepper.LONG"):
            patch.setattr(name, float("inf"))  # however busy the machine is
        with device:
            yield device


def session_of(layers: int, device: Device) -> Session:
    torch.manual_seed(0)
    several = [layer for _ in range(layers) for layer in (nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU())]
    model, batch = nn.Sequential(*several), (torch.randn(4, 8), torch.randn(4, 8))
    device.mark([*model.parameters(), *model.buffers(), *batch])
    session = Session(Workload(model, nn.functional.mse_loss, lambda p: torch.optim.AdamW(p, lr=0.01), [batch]))
    session.can_pause(lambda _: None)
    session.execute(Show(Name("0.weight")))
    return session


def counted(
    layers: int, requests: tuple[Request, ...], monkeypatch: pytest.MonkeyPatch, iterations: int = 4
) -> list[tuple[str, int, int]]:
    """Return, for each phase of some iterations, its name, the reads of the phase, and those of the views after it."""
    found = []
    with on_device(monkeypatch) as device:
        session = session_of(layers, device)
        for phase in [*PHASES] * iterations:
            before = device.reads
            assert session.execute(ACTS[phase]).ok
            after = device.reads
            views = session.look(*requests) if requests else ()
            assert not [view for view in views if isinstance(view, NoView)]
            found.append((phase, after - before, device.reads - after))
    return found


@pytest.mark.parametrize("requests", [(), LEARN, (*LEARN, *MORE)], ids=["nothing", "the usual panels", "all panels"])
def test_a_larger_model_makes_the_host_wait_no_more_often(
    requests: tuple[Request, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = counted(2, requests, monkeypatch), counted(9, requests, monkeypatch)
    # in the first iterations, checks look at every activation
    assert [reads[2] for reads in small] == [reads[2] for reads in large]
    assert small[-len(PHASES) :] == large[-len(PHASES) :]


def test_a_phase_makes_the_host_wait_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradstep.checks.checker._FIRST", 5)
    last = counted(4, (), monkeypatch, iterations=7)[-len(PHASES) :]
    assert {phase: reads for phase, reads, _ in last} == PHASES


@pytest.mark.parametrize("request_", [*LEARN, *MORE], ids=lambda request: type(request).__name__)
def test_a_view_makes_the_host_wait_once(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = [reads for _, _, reads in counted(4, (request_,), monkeypatch)]
    assert max(looked) == MOST.get(type(request_), 1)


def test_all_views_of_a_stop_make_the_host_wait_once_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for phase, _, looked in counted(4, (*LEARN, *MORE), monkeypatch):
        assert looked == (2 if phase == "forward" else 1)  # Batch


def test_a_node_of_a_larger_graph_makes_the_host_wait_no_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_nodes(layers: int) -> list[int]:
        found = []
        with on_device(monkeypatch) as device:
            session = session_of(layers, device)
            assert session.execute(Forward()).ok
            assert session.execute(Into("backward")).ok
            for _ in range(4):
                before = device.reads
                session.look(*LEARN, LookNode(), LookGraph())
                found.append(device.reads - before)
                assert session.execute(Over()).ok
        return found

    small = at_nodes(2)
    assert small == at_nodes(9)
    assert 0 < max(small) <= 8
