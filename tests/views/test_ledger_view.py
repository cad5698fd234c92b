"""The ledger: its lines add up to `.grad` to the last bit, in the engine's order, and say what they do not know."""

from __future__ import annotations

import struct
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gradstep.engine.held import Held
from gradstep.engine.observe import addends
from gradstep.engine.observe.account import replayed
from gradstep.session.local import Session
from gradstep.steps.language.parse import parse_line
from gradstep.values.views import LookWhy
from gradstep.values.views.ledger import LedgerRow, LedgerView, LookLedger
from gradstep.workload import Workload


def session_of(model: nn.Module, show: str = "weight", dtype: torch.dtype = torch.float32, **more: Any) -> Session:
    torch.manual_seed(0)
    batches = [(torch.randn(6, 5, dtype=dtype), torch.randn(6, 3, dtype=dtype)) for _ in range(4)]
    given: dict[str, Any] = {"loss": nn.functional.mse_loss, "batches": batches}
    given["optimizer"] = lambda p: torch.optim.SGD(p, lr=0.1)
    session = Session(Workload(model, **{**given, **more}))
    run(session, f"show {show}")
    return session


def run(session: Session, *lines: str) -> None:
    for line in lines:
        for statement in parse_line(line):
            outcome = session.execute(statement.command)
            assert outcome.ok, outcome.problem


def ledger(session: Session, *element: int) -> LedgerView:
    (view,) = session.look(LookLedger(tuple(element) or None))
    assert isinstance(view, LedgerView), view
    return view


def held_of(session: Session) -> Held:
    assert session._inspector is not None
    return session._inspector.held


def kinds(view: LedgerView) -> list[str]:
    return [row.kind for row in view.rows]


def bits(value: float | Tensor, dtype: torch.dtype) -> bytes:
    tensor = torch.as_tensor(float(value), dtype=torch.float64).to(dtype)
    return struct.pack("<d", float(tensor))


def check_sums(view: LedgerView, grad: Tensor) -> None:
    """Add the rows up by hand, in their order and in the dtype of `.grad`."""
    total: Tensor | None = None
    for row in view.rows:
        if row.kind in ("start", "cleared", "earlier", "changed"):
            total = None if row.after is None else torch.tensor(row.after, dtype=grad.dtype)
        elif row.kind == "backward":
            assert row.amount is not None
            amount = torch.tensor(row.amount, dtype=grad.dtype)
            assert (row.before is None) == (total is None)
            total = amount if total is None else total + amount
            assert row.after is not None
            assert bits(row.after, grad.dtype) == bits(total, grad.dtype)
    assert total is not None
    assert view.total is not None
    assert bits(view.total, grad.dtype) == bits(total, grad.dtype) == bits(grad[view.element], grad.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_lines_add_up_to_the_last_bit(dtype):
    session = session_of(nn.Linear(5, 3).to(dtype), dtype=dtype)
    ledger(session)
    weight = held_of(session).model.weight
    for act in ("forward", "backward", "step", "forward", "backward", "zero_grad set_to_none=false", "forward"):
        run(session, act)
        ledger(session)
    for act in ("backward", "step", "next_batch", "forward", "backward", "forward", "backward"):
        run(session, act)
        if weight.grad is not None and act == "backward":
            for index in ((0, 0), (2, 4)):
                check_sums(ledger(session, *index), weight.grad)
    view = ledger(session)
    assert kinds(view) == ["cleared", "backward", "step", "backward", "backward"]
    assert [row.used for row in view.rows if row.kind == "backward"] == [1, 0, 0]
    assert [row.forward for row in view.rows if row.kind == "backward"] == [3, 4, 5]
    assert view.rows[0].after == 0
    assert view.state == "x3, 1 used"


def test_every_element_of_every_parameter_adds_up():
    session = session_of(nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)), "0.weight")
    ledger(session)
    run(session, *["forward", "backward"] * 5)
    held = held_of(session)
    for name, parameter in held.parameters:
        *_, last = replayed(held.ledger.lines(name), lambda amount: amount.whole)
        assert torch.equal(last.after.value, parameter.grad)


def test_the_notebooks_five_accumulations():
    session = Session()
    run(session, "load mlp seed=0", "show 2.weight[0, 0:10]")
    ledger(session)
    run(session, "forward", "backward", "step", *["forward", "backward"] * 5)
    view = ledger(session, 0, 3)
    assert view.name == "2.weight.grad[0, 3]"
    assert [row.text for row in view.rows] == [
        "no .grad",
        "backward 1",
        "step",
        *(f"backward {i}" for i in range(2, 7)),
    ]
    assert [row.used for row in view.rows[1:]] == [1, 0, 0, 0, 0, 0, 0]
    check_sums(view, held_of(session).model[2].weight.grad)


def test_norms_are_of_the_whole_addend():
    session = session_of(nn.Linear(5, 3))
    ledger(session)
    run(session, "forward", "backward")
    grad = held_of(session).model.weight.grad.clone()
    run(session, "forward", "backward")
    view = ledger(session)
    assert view.rows[1].norm == pytest.approx(float(grad.norm()))
    assert view.norm == pytest.approx(float(held_of(session).model.weight.grad.norm()))


def test_nothing_is_recorded_before_someone_looks():
    session = session_of(nn.Linear(5, 3))
    run(session, "forward", "backward", "forward", "backward")
    held = held_of(session)
    assert held.ledger.lines("weight") == ()
    assert held.addends.request is None
    view = ledger(session)
    (row,) = view.rows
    assert (row.kind, row.text, row.amount) == ("earlier", "2 backwards", None)
    assert "not recorded" in row.note
    run(session, "forward", "backward")
    view = ledger(session)
    assert kinds(view) == ["earlier", "backward"]
    assert view.rows[0].text == "2 earlier"
    check_sums(view, held.model.weight.grad)


def test_why_is_a_look_too():
    session = session_of(nn.Linear(5, 3))
    session.look(LookWhy())
    run(session, "forward", "backward")
    assert kinds(ledger(session)) == ["start", "backward"]


def test_a_phase_that_is_rolled_back_leaves_no_line():
    session = session_of(nn.Linear(5, 3))
    ledger(session)
    run(session, "forward", "backward")
    before = ledger(session).rows
    (statement,) = parse_line("backward")
    assert session.execute(statement.command).problem is not None
    assert ledger(session).rows == before


def test_at_each_node_of_a_stepped_backward_the_lines_add_up_to_what_is_in_grad() -> None:
    session = session_of(nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3)), "1.weight")
    ledger(session)
    run(session, "forward", "backward", "step", "forward", "into backward")
    counts = set()
    while session.stop.position is not None:
        view = ledger(session, 1, 2)
        check_sums(view, held_of(session).tensor("1.weight").grad)
        counts.add((view.state, *kinds(view)))
        run(session, "over")
    before = ("start", "backward", "step")
    assert counts == {("stale", *before), ("x2, 1 used", *before, "backward")}
    assert kinds(ledger(session, 1, 2)) == [*before, "backward"]


def test_a_backward_that_is_stepped_before_anyone_looks_is_counted() -> None:
    session = session_of(nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3)), "1.weight")
    run(session, "forward", "into backward")
    while not (view := ledger(session)).total:
        run(session, "over")
    assert [(row.kind, row.text) for row in view.rows] == [("earlier", "1 backward")]
    run(session, "continue")
    assert [(row.kind, row.text) for row in ledger(session).rows] == [("earlier", "1 backward")]


def test_no_hook_is_left_behind():
    session, before = session_of(nn.Linear(5, 3)), torch.autograd._engine_run_backward
    ledger(session)
    for _ in range(3):
        run(session, "forward", "backward")
    assert [row.text for row in ledger(session).rows[1:]] == ["backward 1", "backward 2", "backward 3"]
    assert torch.autograd._engine_run_backward is before


def test_what_a_hook_makes_of_the_gradient_is_what_is_added():
    model = nn.Linear(5, 3)
    model.weight.register_hook(lambda grad: grad * 0.5)
    session = session_of(model)
    ledger(session)
    run(session, "forward", "backward", "forward", "backward")
    check_sums(ledger(session), model.weight.grad)


def test_what_other_code_writes_is_said():
    model = nn.Linear(5, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def clip(*_: Any) -> None:
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)

    optimizer.register_step_pre_hook(clip)
    session = session_of(model, optimizer=optimizer)
    ledger(session)
    run(session, "forward", "backward", "step")
    view = ledger(session)
    assert kinds(view) == ["start", "backward", "step", "changed"]
    run(session, "forward", "backward")
    view = ledger(session)
    assert kinds(view) == ["start", "backward", "step", "changed", "backward"]
    check_sums(view, model.weight.grad)


def test_a_hook_after_the_sum_breaks_no_line():
    model = nn.Linear(5, 3)

    def halve(parameter: Tensor) -> None:
        assert parameter.grad is not None
        parameter.grad.mul_(0.5)

    model.weight.register_post_accumulate_grad_hook(halve)
    session = session_of(model)
    ledger(session)
    run(session, "forward", "backward")
    assert kinds(ledger(session)) == ["start", "backward", "changed"]
    run(session, "forward", "backward")
    assert kinds(ledger(session)) == ["start", "backward", "changed", "backward", "changed"]


def test_a_nested_backward_adds_twice():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 5))

        def forward(self, x: Tensor) -> Tensor:
            x = x.requires_grad_()
            inner = checkpoint(lambda y: y @ self.weight.T, x, use_reentrant=True)
            return inner + x @ self.weight.T

    session = session_of(Twice())
    ledger(session)
    run(session, "forward", "backward", "next_batch", "forward", "backward")
    view = ledger(session)
    assert [row.text for row in view.rows[1:]] == [f"backward {i}, {j} of 2" for i in (1, 2) for j in (1, 2)]
    check_sums(view, held_of(session).model.weight.grad)


def test_a_parameter_too_large_to_keep_shows_the_element_that_was_looked_at(monkeypatch):
    monkeypatch.setattr(addends, "CAP", 8)
    session = session_of(nn.Linear(5, 3))
    ledger(session, 1, 2)
    run(session, "forward", "backward", "forward", "backward")
    view = ledger(session, 1, 2)
    check_sums(view, held_of(session).model.weight.grad)
    assert view.rows[1].norm is not None
    other = ledger(session, 0, 0)
    assert [row.amount for row in other.rows] == [None, None, None]
    assert other.rows[1].note == "this element was not recorded"
    assert other.total is not None
    assert held_of(session).ledger.lines("bias") == ()


def test_many_backwards_are_added_up_without_losing_a_bit(monkeypatch):
    monkeypatch.setattr(addends, "MOST", 3)
    session = session_of(nn.Linear(5, 3))
    ledger(session)
    run(session, "forward", "backward", "step", *["forward", "backward"] * 6)
    view = ledger(session, 2, 1)
    assert [row.text for row in view.rows] == ["4 earlier", "backward 5", "backward 6", "backward 7"]
    assert view.rows[0].used == 1
    check_sums(view, held_of(session).model.weight.grad)


def test_an_optimizer_that_runs_its_own_backwards_is_not_made_up():
    session = session_of(nn.Linear(5, 3), optimizer=lambda p: torch.optim.LBFGS(p, max_iter=2))
    ledger(session)
    run(session, "forward", "backward", "step")
    (row,) = ledger(session).rows
    assert (row.kind, row.amount) == ("earlier", None)
    assert "not recorded" in row.note


def test_sparse_and_frozen_and_buffers_say_so():
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(4, 3, sparse=True)
            self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
            self.register_buffer("seen", torch.zeros(2))

        def forward(self, x: Tensor) -> Tensor:
            return self.table(x)

    batch = (torch.tensor([0, 1]), torch.randn(2, 3))
    session = session_of(Words(), "table.weight", batches=[batch])
    ledger(session)
    run(session, "forward", "backward")
    view = ledger(session)
    assert [row.amount for row in view.rows] == [None, None]
    run(session, "show frozen")
    assert "requires_grad" in ledger(session).note
    run(session, "show seen")
    assert ledger(session).name == ""


def test_another_selection_starts_at_its_first_element():
    session = session_of(nn.Linear(5, 3), "weight[1, 2:4]")
    assert ledger(session).element == (1, 2)
    assert ledger(session, 2, 4).element == (2, 4)
    assert ledger(session, 9, 9).element == (1, 2)
    run(session, "show bias")
    assert ledger(session, 2, 4).element == (0,)
    run(session, "show weight[2, 1]")
    assert ledger(session).element == (2, 1)


def test_rows_survive_the_wire():
    from gradstep.session.transport.wire import Looked, frame, read_reply

    session = session_of(nn.Linear(5, 3))
    ledger(session)
    run(session, "forward", "backward")
    views = session.look(LookLedger(), LookWhy((1, 1)))
    assert read_reply(frame(1, Looked(views))[12:]) == Looked(views)
    assert isinstance(views[0].rows[0], LedgerRow)


def test_a_look_before_anything_is_selected_begins_the_recording():
    session = Session()
    run(session, "load linear seed=0")
    (view,) = session.look(LookLedger())
    assert view.name == ""
    run(session, "forward", "backward", "show weight")
    assert kinds(ledger(session)) == ["start", "backward"]


def test_a_parameter_that_the_backward_did_not_reach_is_not_told_to_wait_for_one() -> None:
    model = nn.Linear(2, 1)
    model.unused = nn.Parameter(torch.ones(1))
    session = Session(Workload(model, nn.functional.mse_loss, torch.optim.SGD, [(torch.ones(3, 2), torch.ones(3, 1))]))
    session.show("unused")
    session.forward()
    view = session.ledger()
    assert isinstance(view, LedgerView)
    assert view.note == ""
    session.backward()
    view = session.ledger()
    assert isinstance(view, LedgerView)
    assert view.note == "The last backward did not reach it: `why unused.grad` shows where its path ends."
    session.zero_grad()
    view = session.ledger()
    assert isinstance(view, LedgerView)
    assert view.note == ""
