"""Looking costs what is looked at: what is read for a view, counted; and a command that waits is carried out first."""

from __future__ import annotations

import math
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from counting import calls
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gradstep.engine import bits
from gradstep.engine.numbers.norms import norm_of, norms_there
from gradstep.engine.state import memory
from gradstep.session.local import Session
from gradstep.session.transport import request_loop
from gradstep.session.transport.request_loop import Gate
from gradstep.session.transport.wire import Close, Execute, Look, Order, frame
from gradstep.steps.language.parse import parse_line
from gradstep.values.commands import ACTS, Command, Show, Undo, ZeroGrad, line_of
from gradstep.values.expressions import Name
from gradstep.values.outcomes import Outcome, Stop
from gradstep.values.views import (
    LookChanges,
    LookDigest,
    LookLoss,
    LookModel,
    LookNames,
    LookState,
    LookTensor,
    LookWhy,
    NoView,
    Request,
)
from gradstep.values.views.findings import LookFindings
from gradstep.values.views.graph import LookGraph
from gradstep.values.views.inside import LookBreakpoints, LookSource
from gradstep.values.views.ledger import LookLedger
from gradstep.values.views.timeline import LookTimeline
from gradstep.values.views.training import LookBatch, LookLayers
from gradstep.views import numbers
from gradstep.views.tensor import measures
from gradstep.views.training import layers
from gradstep.workload import Workload

LOOP = ("forward", "backward", "step", "zero_grad")
WITHOUT_WEIGHTS = (
    *(LookLoss(), LookTimeline(), LookFindings(), LookNames(), LookState()),
    *(LookGraph(), LookSource(), LookBreakpoints(), LookBatch()),
)


def session_of(width: int = 64, history: int = 1 << 24) -> Session:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
    batch = torch.randn(2, width), torch.randn(2, width)
    session = Session(
        Workload(model, nn.functional.mse_loss, lambda p: torch.optim.AdamW(p, lr=0.1), [batch]), history=history
    )
    session.can_pause(lambda _: None)  # as a screen does: nothing is written between two looks
    session.execute(Show(Name("0.weight")))
    return session


class Reads(TorchDispatchMode):
    """Counts how often each weight and `.grad` is read whole, by an operation of torch or a comparison of bits."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()
        self._names: dict[int, tuple[str, int]] = {}
        for name, parameter in session.inspector.held.parameters:
            for title, tensor in ((name, parameter), (f"{name}.grad", parameter.grad)):
                if tensor is not None:
                    self._names[tensor.data_ptr()] = title, tensor.nbytes

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = [each for each in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        shared = made.data_ptr() if isinstance(made, Tensor) else 0
        for tensor in given:
            if tensor.data_ptr() != shared or not tensor.numel():  # a view reads nothing
                self.read(tensor.data_ptr(), tensor.nbytes)
        return made

    def read(self, pointer: int, size: int) -> None:
        name, whole = self._names.get(pointer, ("", 0))
        if name and size * 2 > whole:
            self.counted[name] += 1


@contextmanager
def reads(session: Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    mode, compare = Reads(session), bits._memcmp

    def compared(one: int, other: int, size: int) -> int:
        mode.read(one, size)
        mode.read(other, size)
        return int(compare(one, other, size))

    with monkeypatch.context() as patched, mode:
        patched.setattr(bits, "_memcmp", compared)
        yield mode.counted


@pytest.mark.parametrize("request_", WITHOUT_WEIGHTS, ids=lambda request: type(request).__name__)
def test_a_view_without_weights_reads_none(request_: Request, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_of()
    for phase in (*LOOP, *LOOP):
        session.execute(ACTS[phase])
        with reads(session, monkeypatch) as counted:
            session.look(request_)
        assert not counted, phase


def test_tensor_reads_the_selection_and_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_of()
    for phase in (*LOOP, *LOOP):
        session.execute(ACTS[phase])
        with reads(session, monkeypatch) as counted:
            session.look(LookTensor(4, 4))
        assert counted.keys() <= {"0.weight", "0.weight.grad"}, phase


def test_what_several_views_show_is_read_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def looked(*requests: Request) -> list[Counter[str]]:
        session, found = session_of(), []
        session.look(*requests)
        for phase in (*LOOP, *LOOP):
            session.execute(ACTS[phase])
            with reads(session, monkeypatch) as counted:
                session.look(*requests)
            found.append(counted)
        return found

    alone, together = looked(LookModel()), looked(LookModel(), LookWhy(), LookLedger(), LookLayers())
    assert all(several <= one for several, one in zip(together, alone, strict=True))
    assert max(times for counted in alone for times in counted.values()) == 2, "its norm, and whether it has changed"


def test_the_last_rows_of_a_long_timeline_cost_as_much_as_those_of_a_short_one() -> None:
    session, took = session_of(2), []
    for stops in (40, 400):
        while session.stop.number < stops:
            session.execute(ZeroGrad())
        session.execute(Undo(3))
        took.append(calls(lambda: session.look(LookTimeline(0, 20))))
        (view,) = session.look(LookTimeline(0, 20))
        assert [row.undone for row in view.rows] == [False] * 17 + [True] * 3
        assert all(row.way for row in view.rows)
    assert took[1] <= took[0] + 5


def chain_of(layers: int) -> Session:
    model, batch = nn.Sequential(*(nn.Linear(2, 2) for _ in range(layers))), (torch.randn(2, 2), torch.randn(2, 2))
    return Session(Workload(model, nn.functional.mse_loss, lambda p: torch.optim.SGD(p, lr=0.1), [batch]))


def test_model_costs_the_rows_in_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = numbers.norms_there
    monkeypatch.setattr(numbers, "norms_there", lambda several: (read.append(len(several)), real(several))[1])
    took = []
    for many in (50, 500):
        session = chain_of(many)
        session.can_pause(lambda _: None)
        for line in LOOP[:3]:
            session.execute(ACTS[line])
        read.clear()
        session.look(LookModel(60, 40))
        assert 0 < sum(read) <= 80, "of each tensor and its .grad"
        took.append(calls(lambda: session.look(LookModel(90, 40))))  # noqa: B023
    assert took[1] <= took[0] + 5


def test_no_phase_costs_more_for_each_parameter_of_a_large_model() -> None:
    took: list[list[int]] = []
    for many in (20, 200):
        session = chain_of(many)
        for line in LOOP:
            session.execute(ACTS[line])
        took.append([calls(lambda line=line: session.execute(ACTS[line])) for line in LOOP])  # noqa: B023
    assert all(large < 11 * small for small, large in zip(*took, strict=True)), took


def test_a_row_of_the_timeline_costs_the_same_however_many_tensors_its_command_wrote() -> None:
    session = chain_of(50)
    for line in LOOP * 10:
        session.execute(ACTS[line])
    few, many = (calls(lambda count=count: session.look(LookTimeline(2, count))) for count in (4, 36))
    assert many - few < 32 * 40


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grow by the name of each function that measures weights, whenever a view calls it."""
    calls: list[str] = []

    def counting(owner: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def counted(*given: Any, **named: Any) -> Any:
            calls.append(name)
            return real(*given, **named)

        monkeypatch.setattr(owner, name, counted)

    counting(layers, "all_update_norms")
    counting(measures, "statistics_of")
    counting(numbers, "norms_there")
    return calls


def test_phases_measure_nothing_that_no_visible_panel_shows(measured: list[str]) -> None:
    session = session_of()
    for phase in (*LOOP, *LOOP):
        session.execute(ACTS[phase])
        session.look(LookLoss(), LookTimeline())
    assert not measured
    session.look(LookLoss(), LookLayers())
    measured.clear()
    for phase in LOOP:
        session.execute(ACTS[phase])
    assert measured == ["all_update_norms"]


def test_what_takes_long_is_left_for_a_second_look_in_which_a_waiting_command_ends_it(
    measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "_QUICK", 0)
    session, waits = session_of(), False
    session.can_pause(lambda _: None, waits=lambda: waits)
    look = LookLayers(hurry=True)
    session.look(look)
    for phase in ("forward", "backward", "step"):
        session.execute(ACTS[phase])
    measured.clear()
    (first,) = session.look(look)
    assert (first.due, first.updated, {row.update for row in first.rows}) == (True, 1, {None})
    assert "all_update_norms" not in measured
    waits = True
    (second,) = session.look(look)
    assert second.due
    assert "all_update_norms" not in measured
    waits = False
    session.execute(ACTS["zero_grad"])  # the command that waited: it does not end the wait for the update
    assert session.look(look)[0].due
    (last,) = session.look(look)
    assert not last.due
    assert measured.count("all_update_norms") == 4
    assert last.rows[0].update > 0


def test_statistics_of_a_large_tensor_end_at_the_chunk_at_which_a_command_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measures, "_QUICK", 0)
    session, asked = session_of(), 0

    def waits() -> bool:
        nonlocal asked
        asked += 1
        return asked == 2

    session.can_pause(lambda _: None, waits=waits)
    look = LookTensor(4, 4, bins=8, hurry=True)
    for due, times in ((True, 0), (True, 2), (False, 4)):  # left for later; given up; two passes over one chunk
        (view,) = session.look(look)
        assert (view.due, view.statistics is None, asked) == (due, due, times)


def test_statistics_of_a_large_tensor_hold_after_a_phase_that_has_not_written_it(measured: list[str]) -> None:
    session, taken = session_of(width=512), []
    for phase in (*LOOP, *LOOP):
        session.execute(ACTS[phase])
        measured.clear()
        session.look(LookTensor(4, 4, bins=8))
        taken.append(measured.count("statistics_of"))
    assert taken == [1, 1, 1, 0, 0, 1, 1, 0], "at first the weight, then its gradient, then the weight that was stepped"


def test_the_norms_before_and_after_an_update_are_those_already_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_QUICK", 0)
    taken: list[int] = []
    monkeypatch.setattr(
        numbers, "norms_there", lambda given: taken.extend(tensor.numel() for tensor in given) or norms_there(given)
    )
    session = session_of(width=512)
    looks = LookModel(), LookLayers(hurry=True)
    for phase in LOOP[:3]:
        session.look(*looks)
        session.execute(ACTS[phase])
    session.look(*looks)
    taken.clear()
    (_, view) = session.look(*looks)
    assert not view.due
    assert taken == [512, 512], "of the biases before, which are as quickly taken again"
    copies = session.inspector.held.saved.copies.by_key()
    weights = {name: (copies["weight", name], now) for name, now in session.inspector.held.parameters}
    for row in (row for row in view.rows if row.update is not None):
        old, new = weights[f"{row.path}.weight"]
        bias = norm_of(weights[f"{row.path}.bias"][1] - weights[f"{row.path}.bias"][0])
        assert row.update == math.hypot(norm_of(new - old), bias)


def test_a_weight_written_before_its_update_is_measured_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_QUICK", 0)
    session = session_of()
    session.look(LookLayers())
    for phase in ("forward", "backward", "step"):
        session.execute(ACTS[phase])
    with torch.no_grad():
        session.inspector.held.parameters[0][1].zero_()
    first, _, last = session.look(LookLayers())[0].rows
    assert first.update != last.update
    assert last.update > 0


def test_a_past_stop_has_its_statistics_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "_QUICK", 0)
    session = session_of()
    session.execute(ACTS["forward"])
    (view,) = session.look(LookTensor(4, 4, hurry=True), at=1)
    assert not view.due
    assert view.statistics.norm > 0


class Patient:
    """A session whose first look takes until a command waits."""

    running = False
    stop = Stop()

    def __init__(self) -> None:
        self.screen, engine = socket.socketpair()
        self.gate = Gate(engine, pause=lambda: None)
        self.done: list[str] = []

    def send(self, number: int, order: Order) -> None:
        self.screen.sendall(frame(number, order))

    def execute(self, command: Command) -> Outcome:
        self.done.append(line_of(command))
        return Outcome(command, self.stop)

    def look(self, *requests: Request, at: int = 0) -> tuple[NoView, ...]:
        if not self.done:
            self.send(2, Execute(ACTS["forward"]))
            self.send(3, Look(requests))
            self.send(4, Close())
            while not self.gate.waits():
                pass
        self.done.append("look")
        return tuple(NoView(at, "") for _ in requests)


def test_a_command_that_arrives_during_idle_work_is_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_loop, "_QUIET", 0.0)
    session = Patient()

    def work() -> Iterator[None]:
        session.done.append("first piece")
        session.send(1, Execute(ACTS["forward"]))
        session.send(2, Close())
        while not session.gate.waits():
            pass
        yield
        session.done.append("second piece")

    session.gate.idle = work
    session.gate.serve(session)
    session.gate.close()
    session.screen.close()
    assert session.done[:2] == ["first piece", "forward"]


@pytest.mark.parametrize("history", [0, 1 << 24])
def test_after_a_pause_the_next_step_finds_its_copies(history: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_NOTICED", 1)
    session = session_of(history=history)
    for phase in LOOP[:3]:
        session.execute(ACTS[phase])
        assert not list(session.idle()), "there may never be a step, or the next command may drop as much"
    for phase in ("zero_grad", "forward", "backward"):
        session.execute(ACTS[phase])
    pool = session.inspector.runner.transaction._pool
    new = pool._new
    assert list(session.idle())
    assert not list(session.idle())
    copied: list[Tensor] = []
    monkeypatch.setattr(memory, "copy_all", lambda _, sources: copied.extend(sources))
    session.execute(ACTS["step"])
    assert pool._new == new
    assert not copied, "all of it is copied already"


class Secretive(nn.Module):
    """Writes its weight in the forward and in the backward, which no version counter counts."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(4.0))

    def forward(self, x: Tensor) -> Tensor:
        self.weight.data.add_(1.0)
        product = x * self.weight
        product.register_hook(lambda _: self.weight.data.add_(2.0) and None)
        return product


LINES = [*LOOP, *LOOP, "undo", "step", "undo 3", "forward", "backward", "set weight[0] = 3.0", "step", "goto 6"]
LINES += ["backward", "step", "zero_grad", "try set lr = 0.5", "forward", "backward", "step", "undo 2", "redo"]
LINES += ["forward", "zero_grad", "backward", "step", "undo"]


@pytest.mark.parametrize("history", [0, 1 << 24])
def test_a_pause_before_each_command_changes_nothing(history: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_NOTICED", 1)
    stops: list[list[object]] = []
    for pauses in (False, True):
        model, batch = Secretive(), (torch.ones(4), torch.ones(4))
        session = Session(Workload(model, nn.functional.mse_loss, torch.optim.AdamW, [batch]), history=history)
        session.can_pause(lambda _: None)
        pieces: list[None] = []
        stops.append([])
        for line in LINES:
            pieces += session.idle() if pauses else ()
            (statement,) = parse_line(line)
            outcome = session.execute(statement.command)
            stops[-1] += [outcome.problem, *session.look(LookDigest(), LookChanges(), LookModel())]
        assert bool(pieces) == pauses
    assert stops[0] == stops[1]


def test_a_message_that_arrives_during_a_look_ends_its_wait_and_is_the_next() -> None:
    session = Patient()
    assert not session.gate.waits()
    session.send(1, Look((LookLoss(),)))
    session.gate.serve(session)
    session.gate.close()
    session.screen.close()
    assert session.done == ["look", "forward", "look"]
