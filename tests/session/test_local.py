"""The local session: every command, every view, and errors that are values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from gradstep.session.local import Session
from gradstep.values.commands import (
    Backward,
    Break,
    Command,
    Expect,
    Forward,
    Let,
    Load,
    NextBatch,
    Print,
    Run,
    Say,
    Screenshot,
    Set,
    Show,
    Step,
    Unwatch,
    Watch,
    ZeroGrad,
    line_of,
)
from gradstep.values.errors import GradstepError
from gradstep.values.expressions import Binary, Call, Constant, Index, Name, Number, Span
from gradstep.values.outcomes import Outcome
from gradstep.values.views import (
    Changes,
    Digest,
    LookChanges,
    LookDigest,
    LookGraph,
    LookLoss,
    LookModel,
    LookNames,
    LookState,
    LookTensor,
    LookWhy,
    Names,
    NoView,
    StateView,
    TensorView,
)
from gradstep.values.views.inside import BreakpointsView, LookBreakpoints
from gradstep.workload import Workload

ALL_LOOKS = (
    LookModel(),
    LookWhy(),
    LookTensor(),
    LookGraph(),
    LookLoss(),
    LookChanges(),
    LookDigest(),
    LookNames(),
    LookState(),
)
ROW = Index(Name("2.weight"), (Number(0), Span(Number(0), Number(10))))


def mlp() -> Session:
    session = Session()
    assert session.execute(Load("mlp", seed=0, device="cpu")).ok
    return session


def made(model: nn.Module, **more: Any) -> Session:
    given: dict[str, Any] = {
        "loss": functional.mse_loss,
        "optimizer": lambda p: torch.optim.SGD(p, lr=0.1),
        "batches": [(torch.ones(3, 4), torch.zeros(3, 2))],
        **more,
    }
    return Session(Workload(model, **given), seed=0)


def ok(outcome: Outcome) -> Outcome:
    assert outcome.problem is None, outcome
    return outcome


def wrong(outcome: Outcome) -> str:
    assert outcome.problem is not None
    assert outcome.problem.kind == "wrong"
    return f"{outcome.problem.title}: {outcome.problem.what}"


def test_the_stops_on_the_way_round_the_loop() -> None:
    session = mlp()
    stop = session.stop
    assert (stop.number, stop.workload, stop.device, stop.seed, stop.optimizer) == (1, "mlp", "cpu", 0, "SGD")
    assert (stop.dtype, stop.parameters, stop.opening, stop.lr) == ("float32", 203_530, "2.weight[0, 0:10]", (0.001,))
    seen = []
    for command in (Forward(), Backward(), Step(), ZeroGrad(), Forward(), NextBatch()):
        stop = ok(session.execute(command)).stop
        seen.append((stop.number, stop.phase, stop.done, stop.natural, stop.iteration))
    assert seen == [
        (2, "forward", ("forward",), ("backward",), 0),
        (3, "backward", ("forward", "backward"), ("step",), 0),
        (4, "step", ("forward", "backward", "step"), ("zero_grad",), 1),
        (5, "zero_grad", ("forward", "backward", "step", "zero_grad"), ("forward",), 1),
        (6, "forward", ("forward",), ("backward",), 1),
        (7, "next_batch", ("forward",), ("forward",), 1),
    ]
    assert stop.loss is not None
    assert stop.loss_change is not None
    assert stop.loss_change < 0
    assert [line_of(c) for c in session.log] == [
        *("load mlp seed=0 device=cpu", "forward", "backward", "step", "zero_grad", "forward", "next_batch"),
    ]


def test_before_a_load_everything_says_so() -> None:
    session = Session()
    commands: list[Command] = [Forward(), Backward(), Step(), ZeroGrad(), NextBatch(), Print(Name("loss")), Unwatch()]
    for command in commands:
        assert wrong(session.execute(command)).startswith("nothing is loaded")
    assert session.look(*ALL_LOOKS) == tuple(NoView(0, "nothing is loaded yet") for _ in ALL_LOOKS)
    assert ok(session.execute(Say("*hello*"))).text == "*hello*"
    assert session.log == [Say("*hello*")]


@pytest.mark.parametrize("name", ["mlp", "cnn", "gpt"])
def test_every_view_can_be_made_at_every_stop(name: str) -> None:
    session = Session()
    ok(session.execute(Load(name, seed=0, device="cpu")))
    ok(session.execute(Show(Name("loss"))))
    for command in (None, Forward(), Backward(), Step(), ZeroGrad(), NextBatch(), Forward(), ZeroGrad(False)):
        if command is not None:
            ok(session.execute(command))
        views = session.look(*ALL_LOOKS)
        assert not [view for view in views if isinstance(view, NoView)]
        assert {view.stop for view in views} == {session.stop.number}


def test_a_refused_command_is_a_value_is_not_logged_and_moves_nothing() -> None:
    session = mlp()
    (before,) = session.look(LookDigest())
    outcome = session.execute(Backward())
    assert outcome.problem is not None
    assert "there is no loss yet" in repr(outcome)
    assert (session.stop.number, len(session.log)) == (1, 1)
    assert session.look(LookDigest()) == (before,)
    ok(session.execute(Forward()))
    ok(session.execute(Backward()))
    outcome = session.execute(Backward())
    assert outcome.problem is not None
    assert (outcome.problem.kind, outcome.problem.title) == ("raised", "backward raised")
    assert "a second time" in outcome.problem.what


def test_show_selects_a_slice_and_the_same_slice_of_its_grad() -> None:
    session = mlp()
    ok(session.execute(Show(ROW)))
    ok(session.execute(Forward()))
    ok(session.execute(Backward()))
    (view,) = session.look(LookTensor())
    assert isinstance(view, TensorView)
    model = session._inspector.held.model  # type: ignore[union-attr]
    assert (view.name, view.path, view.kind, view.shape) == ("2.weight[0, 0:10]", "2.weight", "vector", (10,))
    assert view.value is not None
    assert view.grad is not None
    assert [row[0] for row in view.value.values] == model[2].weight[0, :10].tolist()
    assert [row[0] for row in view.grad.values] == model[2].weight.grad[0, :10].tolist()
    assert wrong(session.execute(Show(Name("2.wieght")))).startswith("there is no `2.wieght`")
    assert wrong(session.execute(Show(Index(Name("2.weight"), (Number(10),))))).startswith("index 10 is out of range")


def test_show_keeps_to_a_grad_through_the_time_it_is_none() -> None:
    session = mlp()
    ok(session.execute(Show(Name("2.weight.grad"))))
    states = []
    for command in (Forward(), Backward(), ZeroGrad()):
        ok(session.execute(command))
        (view,) = session.look(LookTensor())
        assert isinstance(view, TensorView)
        states.append((view.value is None, view.note))
    none = "it is None: run `forward`, then `backward`, which writes it"
    assert states == [(True, none), (False, ""), (True, none)]


def test_let_copies_and_refuses_what_is_taken() -> None:
    session = mlp()
    assert ok(session.execute(Let("w0", ROW))).text.startswith("w0 = ")
    for command in (Forward(), Backward(), Step()):
        ok(session.execute(command))
    ok(session.execute(Expect(Call("any", (Binary("!=", ROW, Name("w0")),)))))
    for name in ("w0", "loss", "lr", "norm"):
        assert wrong(session.execute(Let(name, Number(1)))) == f"the name is taken: {name}"
    for name in ("2w", "true", "a.b", ""):
        assert wrong(session.execute(Let(name, Number(1)))).startswith("this is not a valid name")


def test_let_keeps_what_a_graph_made() -> None:
    session = mlp()
    ok(session.execute(Forward()))
    ok(session.execute(Let("guess", Name("prediction"))))
    ok(session.execute(Let("pair", Name("batch"))))
    (names,) = session.look(LookNames())
    assert isinstance(names, Names)
    assert {"guess", "pair", "loss", "iteration"} <= set(names.values)
    assert names.model == ("0.weight", "0.bias", "2.weight", "2.bias")


def test_expect_says_what_was_expected_and_what_was_found() -> None:
    session = mlp()
    ok(session.execute(Expect(Binary("==", Name("iteration"), Number(0)))))
    outcome = session.execute(Expect(Binary("==", Name("iteration"), Number(3))))
    assert outcome.problem is not None
    assert (outcome.problem.kind, outcome.problem.what) == ("expectation", "iteration == 3")
    assert ("3" in outcome.problem.expected, "0" in outcome.problem.actual) == (True, True)
    assert wrong(session.execute(Expect(Number(3)))).startswith("this is not a condition")


def test_watchpoints_report_what_changed_and_only_then() -> None:
    session = mlp()
    assert ok(session.execute(Watch(Name("iteration")))).text == "watchpoint 1: iteration = 0"
    assert ok(session.execute(Watch(ROW))).text.startswith("watchpoint 2: 2.weight[0, 0:10] = ")
    assert ok(session.execute(Forward())).watches == ()
    assert ok(session.execute(Backward())).watches == ()
    hits = ok(session.execute(Step())).watches
    assert [(hit.number, hit.line) for hit in hits] == [(1, "iteration"), (2, "2.weight[0, 0:10]")]
    assert (hits[0].before, hits[0].after) == ("0", "1")
    (state,) = session.look(LookState())
    assert isinstance(state, StateView)
    assert [(number, line) for number, line, _ in state.watches] == [(1, "iteration"), (2, "2.weight[0, 0:10]")]
    assert ok(session.execute(Unwatch(1))).text == "removed watchpoint 1"
    assert wrong(session.execute(Unwatch(1))).startswith("there is no such watchpoint")
    assert [hit.number for hit in ok(session.execute(Step())).watches] == [2]
    assert ok(session.execute(Unwatch())).text == "removed watchpoint 2"
    assert ok(session.execute(Step())).watches == ()


def test_a_watched_grad_that_goes_and_comes_is_reported_and_stops_nothing() -> None:
    session = mlp()
    ok(session.execute(Watch(Name("2.weight.grad"))))
    ok(session.execute(Watch(Name("prediction"))))
    assert [h.number for h in ok(session.execute(Forward())).watches] == [2]
    assert [h.number for h in ok(session.execute(Backward())).watches] == [1]
    assert [h.after for h in ok(session.execute(ZeroGrad())).watches] == ["none"]


def test_set_changes_what_a_bare_zero_grad_does() -> None:
    session = mlp()
    for command in (Forward(), Backward()):
        ok(session.execute(command))
    assert ok(session.execute(Set("set_to_none", Constant("false")))).text == "zero_grad now sets .grad to zeros"
    assert ok(session.execute(ZeroGrad())).stop.torch == "optimizer.zero_grad(set_to_none=False)"
    assert ok(session.execute(ZeroGrad(set_to_none=True))).stop.torch == "optimizer.zero_grad()"
    assert session.log[-2] == ZeroGrad(), "the log has the line as it was given"
    assert wrong(session.execute(Set("set_to_nun", Constant("true")))).startswith("there is no such setting")
    assert wrong(session.execute(Set("set_to_none", Number(1)))).startswith("set_to_none is true or false")


def test_a_screenshot_needs_a_screen() -> None:
    assert wrong(mlp().execute(Screenshot("a.svg"))) == "this needs a screen: screenshot a.svg"


def test_a_training_script_needs_an_engine_of_its_own() -> None:
    problem = mlp().execute(Run("train.py", ("--lr", "0.1"))).problem
    assert problem is not None
    assert problem.remedy == "quit, and run: gradstep train.py --lr 0.1"


def test_the_digest_is_left_out_above_the_limit() -> None:
    session = mlp()
    small, whole = session.look(LookDigest(limit=1000), LookDigest())
    assert isinstance(small, Digest)
    assert isinstance(whole, Digest)
    assert (small.digest, small.bytes) == ("", 0)
    assert whole.bytes > 4 * 203_530
    assert str(torch.__version__) in whole.platform


def test_replaying_the_log_gives_the_same_digest() -> None:
    session = Session()
    for command in (Load("cnn", seed=3, device="cpu"), Forward(), Backward(), Step(), Backward(), ZeroGrad(False)):
        session.execute(command)
    session.execute(NextBatch())
    session.execute(Forward())
    again = Session()
    for command in session.log:
        ok(again.execute(command))
    assert len(session.log) == 7
    ends = [s.look(LookDigest(), LookLoss()) for s in (session, again)]
    assert [ends[0][0].digest, ends[0][1].points] == [ends[1][0].digest, ends[1][1].points]  # type: ignore[union-attr]


def test_outcomes_are_readable_at_a_repl_and_in_a_notebook() -> None:
    session = mlp()
    assert repr(session.forward()).startswith("forward   loss ")
    outcome = session.backward()
    assert isinstance(outcome.changes, Changes)
    assert [row.name for row in outcome.changes.rows][2] == "2.weight.grad"
    lines = repr(outcome).splitlines()
    assert lines[1].split() == ["changed", "before", "after", "norm", "of", "change"]
    assert len(lines) == 6
    assert outcome._repr_html_().count("<tr") == 5
    assert "2.weight.grad" in session.backward()._repr_html_() or not session.execute(Backward()).ok
    assert "no weight and no .grad changed" in repr(session.next_batch())
    refused = session.backward()
    assert refused.changes is None
    assert repr(refused).startswith("backward raised")
    assert "&" not in repr(refused)
    assert "<b>backward raised</b>" in refused._repr_html_()
    for outcome in (session.step(), session.zero_grad(), session.zero_grad(set_to_none=False)):
        assert outcome.ok
        assert isinstance(outcome.changes, Changes)


def test_closing_lets_go_and_the_model_stays() -> None:
    model = nn.Linear(4, 2)
    session = made(model)
    for act in (session.forward, session.backward, session.step):
        ok(act())
    weight = model.weight.detach().clone()
    session.close()
    assert wrong(session.forward()).startswith("nothing is loaded")
    assert torch.equal(model.weight, weight)
    assert model.weight.grad is not None
    assert not model._forward_hooks


def test_a_workload_that_is_incomplete_is_refused_at_once() -> None:
    with pytest.raises(GradstepError) as caught:
        Session(Workload(nn.Linear(4, 2)))
    assert caught.value.problem.title == "the workload needs one loss"


# -- workloads of every kind -------------------------------------------------------------------------------------------
def losses(session: Session, turns: int) -> list[float | None]:
    found = []
    for _ in range(turns):
        found.append(ok(session.forward()).stop.loss)
        for act in (session.backward, session.step, session.zero_grad, session.next_batch):
            ok(act())
    return found


def test_a_loss_of_model_and_batch() -> None:
    x = torch.ones(3, 4)
    session = made(nn.Linear(4, 2), loss=None, compute_loss=lambda m, b: m(b["x"]).pow(2).mean(), batches=[{"x": x}])
    found = losses(session, 4)
    assert found == sorted(found, key=lambda loss: -(loss or 0.0))
    assert session.stop.torch == "x, target = next(batches)"


def test_lbfgs_converges() -> None:
    session = made(nn.Linear(4, 2), optimizer=lambda p: torch.optim.LBFGS(p, lr=1.0))
    first = ok(session.forward()).stop.loss
    ok(session.step())
    last = ok(session.forward()).stop.loss
    assert first is not None
    assert last is not None
    assert last < first / 1000


def test_a_step_with_a_closure_leaves_the_loss_of_its_last_call() -> None:
    session = made(nn.Linear(4, 2), optimizer=lambda p: torch.optim.LBFGS(p, lr=1.0, max_iter=3))
    stop = ok(session.step()).stop
    calls = [point.loss for point in session.loss().points]
    assert len(calls) > 1
    assert (stop.loss, stop.loss_change) == (calls[-1], calls[-1] - calls[0])
    assert ok(session.zero_grad()).stop.loss == calls[-1]
    assert ok(session.forward()).stop.loss == session.loss().points[-1].loss


def test_what_is_set_already_is_not_set_twice() -> None:
    session = mlp()
    late = Binary(">", Name("iteration"), Number(5))
    given = [Watch(Name("iteration")), Break("node", "Relu*"), Break("when", condition=late)]
    logged = Break("node", "*", log=Name("iteration"), passing=True)
    for each in [*given, logged] * 2:
        ok(session.execute(each))
    assert ok(session.execute(given[0])).text == "watchpoint 1 (already set): iteration = 0"
    again = Break("node", "Relu*", ignore=2)
    assert ok(session.execute(again)).text == "breakpoint 1 (already set): node Relu* ignore=2"
    (state, points) = session.look(LookState(), LookBreakpoints())
    assert isinstance(state, StateView)
    assert [number for number, *_ in state.watches] == [1]
    assert isinstance(points, BreakpointsView)
    assert [(row.number, row.ignore) for row in points.rows] == [(1, 2), (2, 0), (3, 0)]


def test_a_plateau_scheduler_is_given_the_loss() -> None:
    session = made(
        nn.Linear(4, 2).requires_grad_(True),
        optimizer=lambda p: torch.optim.SGD(p, lr=1e-6),
        schedulers=lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, patience=1, factor=0.5),
    )
    losses(session, 4)
    assert session.stop.lr == (5e-7,)


@pytest.mark.parametrize("value", [True, 3, torch.tensor(3), torch.tensor(True)])
def test_a_loss_that_is_not_a_float_does_not_break_the_session(value: Any) -> None:
    session = made(nn.Linear(4, 2), loss=lambda out, target: value)
    outcome = session.forward()
    if isinstance(value, torch.Tensor):
        assert type(outcome.stop.loss) is float
    else:
        assert wrong(outcome).startswith("the loss is not a tensor")


FAULTS: dict[str, Callable[[], object]] = {
    "exit": lambda: exit(3),
    "recursion": lambda: recurse(),
    "odd message": lambda: raise_(Odd()),
    "keyboard": lambda: raise_(KeyboardInterrupt()),
    "surrogate": lambda: raise_(ValueError("\ud800")),
}


class Odd(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def raise_(error: BaseException) -> None:
    raise error


def recurse() -> object:
    return recurse()


@pytest.mark.parametrize("fault", FAULTS)
def test_no_error_of_the_debuggee_gets_out(fault: str) -> None:
    broken = True

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if broken:
            FAULTS[fault]()
        return functional.mse_loss(output, target)

    session = made(nn.Linear(4, 2), loss=loss)
    (before,) = session.look(LookDigest())
    outcome = session.execute(Forward())
    assert outcome.problem is not None
    assert outcome.problem.kind == ("interrupted" if fault == "keyboard" else "raised")
    assert repr(outcome).encode()
    assert session.look(LookDigest()) == (before,)
    broken = False
    assert math.isfinite(ok(session.execute(Forward())).stop.loss or math.nan)


def test_a_model_in_place_of_a_workload_is_refused_with_a_remedy() -> None:
    with pytest.raises(GradstepError, match=r"gradstep.Workload\(model="):
        Session(torch.nn.Linear(2, 2))  # type: ignore[arg-type]


def test_a_method_in_an_expression_gets_the_function() -> None:
    session = Session()
    session.execute(Load("linear", 0))
    session.forward()
    outcome = session.execute(Print(Name("prediction.shape")))
    assert outcome.problem is not None
    assert outcome.problem.remedy == "Write `shape(prediction)`."


def test_a_batch_says_its_place_in_the_epoch() -> None:
    data = torch.utils.data.TensorDataset(torch.zeros(8, 2), torch.zeros(8, 1))
    model = torch.nn.Linear(2, 1)
    loader = torch.utils.data.DataLoader(data, batch_size=2)
    session = Session(Workload(model, torch.nn.functional.mse_loss, torch.optim.SGD(model.parameters(), 0.1), loader))
    for _ in range(6):
        session.next_batch()
    assert "Batch 6 (2 of 4 in its epoch) is ready" in session.look(LookWhy())[0].sentence
