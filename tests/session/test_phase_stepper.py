"""Stepping through the one command path: positions, breakpoints, what is allowed at a stop, and ways out."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn

from gradstep.engine.state.saved import Saved, Saver
from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.values.outcomes import Outcome
from gradstep.values.views import Digest, LookDigest, LookModel, LookWhy, ModelView, WhyView
from gradstep.values.views.graph import LookGraph
from gradstep.values.views.inside import (
    BreakpointsView,
    InsideView,
    LookBreakpoints,
    LookInside,
    LookSource,
    Position,
    SourceView,
)
from gradstep.values.views.tensor import LookTensor, TensorView
from gradstep.workload import Workload


@pytest.fixture
def session() -> Iterator[Session]:
    made = Session()
    assert do(made, "load mlp seed=0").ok
    yield made
    made.close()


def do(session: Session, text: str) -> Outcome:
    """Carry out lines; return the outcome of the last one."""
    outcomes = [session.execute(statement.command) for statement in parse_line(text)]  # type: ignore[union-attr]
    return outcomes[-1]


def at(outcome: Outcome) -> Position:
    assert outcome.ok, outcome.problem
    assert outcome.stop.position is not None
    return outcome.stop.position


def state(session: Session) -> str:
    view = session.look(LookDigest())[0]
    assert isinstance(view, Digest)
    return view.digest


def test_into_takes_the_natural_next_phase(session: Session) -> None:
    assert at(do(session, "into")).phase == "forward"
    assert do(session, "out phase").stop.position is None
    assert at(do(session, "into")).phase == "backward"
    assert do(session, "out phase").stop.phase == "backward"
    refused = do(session, "into")
    assert refused.problem is not None
    assert "step can't be stepped into" in refused.problem.title


def test_a_stop_inside_reads_well_at_a_prompt(session: Session) -> None:
    session.forward()
    session.into("backward")
    for _ in range(3):
        outcome = session.over()
    assert "backward: before #3 AddmmBackward0 of 2 Linear" in repr(outcome)
    assert "before #2 SubBackward0" in repr(session.undo())
    assert session.out(phase=True).stop.phase == "backward"
    assert session.undo().stop.phase == "forward"
    assert session.redo().stop.phase == "backward"


def test_a_position_says_where_it_is(session: Session) -> None:
    position = at(do(session, "forward; into backward; over; over; over; into"))
    assert (position.kind, position.edge, position.name, position.number) == ("node", "after", "AddmmBackward0", 3)
    assert (position.path, position.stack) == ("2", ("Sequential", "2 Linear"))
    assert (position.total, position.place) == (12, 8)


def test_stops_are_numbered_and_space_goes_on(session: Session) -> None:
    numbers = [do(session, line).stop.number for line in ("forward", "into", "over", "over", "out phase")]
    assert numbers == sorted(set(numbers))
    assert do(session, "zero_grad; forward; into backward").stop.natural == ("over",)


def test_expressions_see_what_flows(session: Session) -> None:
    do(session, 'forward; into backward; until node.name == "ReluBackward0"; let v = node.in')
    assert do(session, "expect shape(v) == [16, 256]").ok
    assert do(session, "expect node.out is none").ok
    do(session, "into")
    assert do(session, "expect shape(node.out) == [16, 256] and norm(node.out) <= norm(v)").ok
    assert do(session, 'expect node.module == "1" and node.number == 7').ok


def test_what_is_passed_opens_in_the_tensor_panel(session: Session) -> None:
    do(session, "forward; into backward; over; over; over; into")
    assert do(session, "show node.out[1]").ok
    view = session.look(LookTensor())[0]
    assert isinstance(view, TensorView)
    assert view.whole == (16, 256)
    do(session, "out phase")
    gone = session.look(LookTensor())[0]
    assert getattr(gone, "note", "") or getattr(gone, "why", "")


def test_nothing_else_runs_before_the_phase_has_ended(session: Session) -> None:
    inside = do(session, "forward; into backward; over")
    for line in ("forward", "step", "zero_grad", "next_batch", "into backward; undo 3; into; forward"):
        if ";" not in line:
            refused = do(session, line)
            assert refused.problem is not None
            assert "is in progress" in refused.problem.title
            assert refused.stop.position == inside.stop.position


def test_undo_phase_puts_everything_back(session: Session) -> None:
    do(session, "forward; backward; forward")
    before = state(session)
    do(session, "into backward; over; over; over; over; over")
    assert state(session) != before
    assert do(session, "undo phase").stop.position is None
    assert state(session) == before


def test_a_phase_that_was_given_up_has_not_raised(session: Session) -> None:
    do(session, "forward; into backward; undo")
    view = session.look(LookWhy())[0]
    assert isinstance(view, WhyView)
    assert view.sentence.startswith("forward computed the loss")


def test_model_shows_the_parameters_while_others_are_in_their_place() -> None:
    def loss(model: nn.Module, batch: Tensor) -> Tensor:
        others = {name: p * 2 for name, p in model.named_parameters()}
        return torch.func.functional_call(model, others, (batch,)).sum()  # type: ignore[no-any-return]

    model = nn.Sequential(nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    session = Session(Workload(model, optimizer=optimizer, compute_loss=loss, batches=[torch.ones(1, 4)]))
    before = session.look(LookModel())[0]
    do(session, "into; into")
    inside = session.look(LookModel())[0]
    assert isinstance(before, ModelView)
    assert isinstance(inside, ModelView)
    assert inside.rows == before.rows
    session.close()


def test_undo_goes_back_one_stop_inside(session: Session) -> None:
    do(session, "forward; into backward")
    seen = [(at(do(session, "over")).number, state(session)) for _ in range(6)]
    for number, digest in reversed(seen[:-1]):
        assert at(do(session, "undo")).number == number
        assert state(session) == digest
    assert at(do(session, "undo")).number == 0
    assert do(session, "undo").stop.position is None


def test_what_has_run_and_met_on_the_way_is_known_after_an_undo() -> None:
    session = Session()
    do(session, "load rnn seed=0 device=cpu; forward; backward; forward; into backward")

    def seen() -> list[object]:
        position = session.stop.position
        stepping = session._inspector.stepper.stepping  # type: ignore[union-attr]
        assert position is not None
        assert stepping is not None
        assert stepping.stop_place is not None
        views = session.look(LookModel(), LookGraph(), LookInside())
        return [
            position.number,
            position.place,
            frozenset(stepping.ran),
            len(stepping.stop_place.addends),
            state(session),
            *views[:2],
        ]

    # the two last stops are past where the gradients of all time steps have met
    ran, met = [], []
    while session.stop.position is not None:
        ran.append(seen())
        met.append(ran[-1][3])
        do(session, "over")
        if len(ran) > 3 and met[-1] > 2:  # type: ignore[operator]
            break
    assert met[-1] > 2  # type: ignore[operator]
    do(session, "undo")
    again = seen()
    assert again[:-2] == ran[-1][:-2]
    for view, before in zip(again[-2:], ran[-1][-2:], strict=True):
        assert msgspec.structs.replace(view, stop=0) == msgspec.structs.replace(before, stop=0)  # type: ignore[type-var]
    session.close()


def test_what_flows_through_a_node_can_be_expected(session: Session) -> None:
    do(session, 'forward; into backward; until node.name == "AddmmBackward0"')
    for line in (
        "norm(node.in) > 0",
        "shape(node.in) == [16, 10]",
        'node.module == "2"',
        "node.number == 3",
        "node.out is none",
        "not any(isnan(node.in))",
    ):
        assert do(session, f"expect {line}").ok, line
    wrong = do(session, "expect shape(node.in) == [16, 11]").problem
    assert wrong is not None
    assert (wrong.expected, wrong.actual) == ("== [16, 11]", "[16, 10]")
    assert at(do(session, "until norm(node.out[0]) > 0")).words == "backward: after #3 AddmmBackward0 of 2 Linear"
    for line in ("close(node.out[0], sum(node.in, dim=0))", "shape(node.out[1]) == [16, 256]", "norm(node.out[2]) > 0"):
        assert do(session, f"expect {line}").ok, line
    assert at(do(session, 'until node.edge == "before" and node.parameter == "2.weight"')).number == 6
    assert do(session, "expect norm(node.in) > 0; expect 2.weight.grad is none").ok
    assert at(do(session, 'until node.edge == "after" and node.number > 6')).number == 7


def test_closing_in_the_middle_leaves_no_half_added_gradients() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    batch = (torch.randn(5, 4), torch.randn(5, 2))
    session = Session(Workload(model, nn.functional.mse_loss, lambda p: torch.optim.SGD(p, lr=0.1), [batch]))
    do(session, "forward; into backward; over; over; over; over")
    session.close()
    assert [p.grad for p in model.parameters()] == [None] * 4


def test_loading_in_the_middle_of_a_phase_ends_it(session: Session) -> None:
    do(session, "into forward; over")
    assert do(session, "load linear seed=1").stop.position is None
    assert state(session) == state(Session("linear", seed=1))
    assert do(session, "forward; backward").ok


def test_breakpoints_are_set_listed_hit_and_deleted(session: Session) -> None:
    assert do(session, "forward; break node Relu*").text == "breakpoint 1: node Relu*"
    do(session, "break grad 0.bias if norm(node.in) > 1e9; break module 1 exit")
    stopped = do(session, "backward")
    assert (at(stopped).name, at(stopped).reason, stopped.stop.hit) == ("ReluBackward0", "breakpoint 1", "breakpoint 1")
    view = session.look(LookBreakpoints())[0]
    assert isinstance(view, BreakpointsView)
    assert [(row.number, row.line, row.hits) for row in view.rows] == [
        (1, "break node Relu*", 1),
        (2, "break grad 0.bias if norm(node.in) > 1000000000.0", 0),
        (3, "break module 1 exit", 0),
    ]
    assert view.hit == 1
    assert do(session, "continue").stop.position is None
    assert at(do(session, "forward")).path == "1"
    do(session, "delete")
    assert do(session, "continue").stop.position is None


def test_a_logpoint_prints_and_goes_on(session: Session) -> None:
    do(session, "forward; log node Addmm* after print norm(node.in)")
    outcome = do(session, "backward")
    assert outcome.stop.position is None
    assert [line.split(":")[0] for line in outcome.text.splitlines()] == [
        "after #3 AddmmBackward0",
        "after #8 AddmmBackward0",
    ]


def test_what_a_condition_or_a_logpoint_raises_fails_no_phase() -> None:
    class Rows(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return torch.vmap(super().forward)(x)

    torch.manual_seed(0)
    batch = (torch.randn(5, 4), torch.randn(5, 2))
    model = nn.Sequential(Rows(4, 4), nn.Linear(4, 2))
    session = Session(Workload(model, nn.functional.mse_loss, lambda p: torch.optim.SGD(p, lr=0.1), [batch]))
    do(session, "break module * if max(module.in) > 1e9; log module * print module.in; break when any(op.in[0] > 1e9)")
    assert do(session, "forward").ok
    assert session.stop.position is None
    do(session, "delete; into forward")
    while session.stop.position is not None:
        view = session.look(LookInside())[0]
        assert isinstance(view, InsideView)
        assert not any(passed.why_not for passed in view.outputs)
        do(session, "into")
    session.close()


def test_until_runs_whole_phases_between_them_and_stops_inside(session: Session) -> None:
    assert do(session, "until iteration == 4").stop.iteration == 4
    losses = do(session, "until loss < 30").stop
    assert losses.loss is not None
    assert losses.loss < 30
    do(session, "zero_grad; forward; into backward")
    assert at(do(session, 'until node.parameter == "0.bias"')).number == 9
    refused = do(session, "out phase; until nonsense > 1")
    assert refused.problem is not None
    assert "nonsense" in refused.problem.title


def test_continue_between_phases_needs_a_breakpoint_and_runs_to_it(session: Session) -> None:
    refused = do(session, "continue")
    assert refused.problem is not None
    assert "nothing to continue to" in refused.problem.title
    outcome = do(session, "break when loss < 60; continue")
    assert outcome.stop.hit == "breakpoint 1"
    assert outcome.stop.loss is not None
    assert outcome.stop.loss < 60


def test_the_inside_of_a_forward(session: Session) -> None:
    do(session, "into; into")
    view = session.look(LookInside())[0]
    assert isinstance(view, InsideView)
    assert [(p.name, p.shape) for p in view.inputs] == [("module.in", (16, 784))]
    assert view.outputs == ()
    assert view.parameters == ("0.weight", "0.bias")
    do(session, "out")
    after = session.look(LookInside())[0]
    assert isinstance(after, InsideView)
    out = after.outputs[0]
    assert (out.name, out.shape, out.requires_grad, out.why_not) == ("module.out", (16, 256), True, "")
    value = do(session, "print norm(module.out)").text
    assert out.norm == pytest.approx(float(value), rel=1e-6)


class Cut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            hidden = self.body(x)
        return self.head(hidden.detach())  # type: ignore[no-any-return]


def test_why_an_output_does_not_require_grad() -> None:
    batch = (torch.randn(5, 4), torch.randn(5, 2))
    session = Session(Workload(Cut(), nn.functional.mse_loss, lambda p: torch.optim.SGD(p, lr=0.1), [batch]))
    do(session, "into; into; out")
    view = session.look(LookInside())[0]
    assert isinstance(view, InsideView)
    assert "grad mode is off" in view.outputs[0].why_not
    session.close()


def test_the_source_of_a_forward_and_of_a_node(tmp_path: Path) -> None:
    session = Session()
    do(session, "load gpt seed=0")
    session.look(LookGraph())  # somebody looks: lines are noted
    do(session, "forward; into backward; over; over; over")
    view = session.look(LookSource(8))[0]
    assert isinstance(view, SourceView)
    assert view.file.endswith("gpt.py")
    assert "self." in view.lines[view.here - view.first]
    session.close()


def test_the_source_of_a_parameter_is_the_line_that_uses_it_and_of_a_module_the_one_that_made_its_output() -> None:
    session = Session()
    do(session, "load gpt seed=0")
    session.look(LookGraph())
    do(session, "forward; backward")
    for path, code in (("place.weight", "self.place.weight"), ("head.bias", "self.head(x"), ("ask", "self.ask(x)")):
        view = session.look(LookSource(8, path=path))[0]
        assert isinstance(view, SourceView)
        assert code in view.lines[view.here - view.first], path
        made = session.look(LookSource(8, int(view.made.removeprefix("#"))))[0]
        assert made == view
    session.close()


@pytest.mark.parametrize(
    "line",
    [
        "break node Rellu*",
        "break module 9",
        "break node #99",
        "delete 7",
        "ignore 3 1",
        "break when nosuch > 3",
        "break module * if 2.weight",
        "log node * print nosuch",
        "break node * if norm(node.inn) > 1",
        "log module * print module.number",
    ],
)
def test_what_can_never_be_hit_is_refused_with_a_remedy(session: Session, line: str) -> None:
    do(session, "forward")
    outcome = do(session, line)
    assert outcome.problem is not None
    assert outcome.problem.remedy


def test_a_session_with_stops_inside_replays_to_the_same_digest(session: Session) -> None:
    do(session, "forward; break node Relu*; backward; into; over; undo; out phase; step; zero_grad")
    do(session, "into forward; out; continue; delete; into backward; undo phase; backward")
    again = Session()
    for command in session.log:
        assert again.execute(command).ok
    assert state(again) == state(session)
    again.close()


class Slow(nn.Module):
    """Takes long enough to be paused, and presses pause itself while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 2)
        self.press = False

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.body(x)
        if self.press:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            PRESSED.wait()
        return self.head(hidden)  # type: ignore[no-any-return]


PRESSED = threading.Event()


def slow(waited: list[str]) -> tuple[Session, Slow]:
    """Return a session that somebody can pause; what a pause waits for is noted."""
    batch = (torch.randn(5, 4), torch.randn(5, 2))
    model = Slow()
    session = Session(Workload(model, nn.functional.mse_loss, lambda p: torch.optim.SGD(p, lr=0.1), [batch]))
    PRESSED.clear()

    def waiting(what: str) -> None:
        waited.append(what)
        PRESSED.set()

    session.can_pause(waiting)
    return session, model


def test_a_phase_that_takes_long_is_paused_inside_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradstep.session.phase_stepper.LONG", 0.0)
    waited: list[str] = []
    session, model = slow(waited)
    assert do(session, "forward").stop.pausable == ("forward",)
    assert do(session, "backward; forward").stop.pausable == ("forward", "backward")
    model.press = True
    position = at(do(session, "forward"))
    assert (position.reason, position.name, position.path) == ("pause", "Linear", "head")
    assert waited == ["body Linear"]
    assert do(session, "out phase").stop.phase == "forward"

    def press(_: Tensor) -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        PRESSED.wait()

    PRESSED.clear()
    model.head.weight.register_hook(press)
    position = at(do(session, "backward"))
    assert (position.reason, position.edge) == ("pause", "before")
    assert position.parameter == "head.weight"
    assert waited[1].startswith("#")
    assert waited[1].endswith("Backward0")
    session.close()


def test_an_interrupt_during_the_copy_before_a_phase_ends_it_and_pauses_one_that_can_be_paused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gradstep.session.phase_stepper.LONG", 0.0)
    session, _ = slow([])
    pressed, save = False, Saver.save

    def press(*given: Any) -> Saved:
        nonlocal pressed
        saved, pressed = save(*given), True
        return saved

    session.can_pause(lambda _: None, lambda: pressed)
    before = state(session)
    monkeypatch.setattr(Saver, "save", press)
    outcome = do(session, "forward")
    assert outcome.problem is not None
    assert (outcome.problem.kind, outcome.stop.phase) == ("interrupted", "")
    assert state(session) == before
    monkeypatch.setattr(Saver, "save", save)
    pressed = False
    do(session, "forward")
    monkeypatch.setattr(Saver, "save", press)
    assert at(do(session, "forward")).place == 1
    session.close()


@pytest.mark.parametrize(("seconds", "pausable"), [(0.0, ("backward",)), (1e9, ())])
def test_a_backward_is_not_hooked_to_be_paused_where_that_takes_longer(
    seconds: float, pausable: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("LONG", 0.0), ("_MANY", 1), ("_HOOKED", seconds)):
        monkeypatch.setattr(f"gradstep.session.phase_stepper.{name}", value)
    session, _ = slow([])
    assert do(session, "forward; backward").stop.pausable == ("forward", *pausable)
    session.close()


def test_a_phase_that_is_quick_after_all_is_watched_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradstep.session.phase_stepper.LONG", 0.0)
    session, _ = slow([])
    assert do(session, "forward").stop.pausable == ("forward",)
    monkeypatch.setattr("gradstep.session.phase_stepper.LONG", 3600.0)
    assert do(session, "forward").stop.pausable == ()
    session.close()
