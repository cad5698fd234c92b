"""`try`: the same commands with something changed, on a new branch; in Python, and in a script."""

from __future__ import annotations

import torch

from gradstep import Session as Prompt
from gradstep.session.local import Session
from gradstep.values import commands as c
from gradstep.values.expressions import Name, Number
from gradstep.values.views import LookDigest
from gradstep.values.views.timeline import LookTimeline
from gradstep.workload import Workload


def _trained() -> Session:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    session = Session(
        Workload(
            model=model,
            loss=torch.nn.functional.mse_loss,
            optimizer=lambda p: torch.optim.SGD(p, lr=0.1),
            batches=[(torch.ones(4, 3), torch.zeros(4, 1))],
        )
    )
    for _ in range(3):
        for act in (c.Forward(), c.Backward(), c.Step(), c.ZeroGrad()):
            assert session.execute(act).ok
    return session


def _lr(value: float) -> c.Assign:
    return c.Assign(Name("lr"), Number(value))


def test_try_does_the_same_again_with_a_change_on_a_branch_of_its_own() -> None:
    session = _trained()
    before, number = session.stop, session.stop.number
    outcome = session.execute(c.Try((_lr(0.01),)))
    assert outcome.text == "On branch lr-0.01, after set lr = 0.01: re-ran the commands after stop 1."
    assert outcome.pair == ("main", "lr-0.01")
    again = (c.Forward(), c.Backward(), c.Step(), c.ZeroGrad(True)) * 3
    assert outcome.carried_out == (c.Goto(1), c.Branch("lr-0.01"), _lr(0.01), *again)
    assert (outcome.stop.branch, outcome.stop.lr, outcome.stop.iteration) == ("lr-0.01", (0.01,), 3)
    assert outcome.stop.loss != before.loss
    by_hand = _trained()
    for command in (c.Goto(1), _lr(0.01)):
        assert by_hand.execute(command).ok
    for _ in range(3):
        for act in (c.Forward(), c.Backward(), c.Step(), c.ZeroGrad()):
            assert by_hand.execute(act).ok
    assert by_hand.look(LookDigest())[0].digest == session.look(LookDigest())[0].digest
    assert session.execute(c.Switch("main")).stop.number == number


def test_try_begins_at_a_stop_and_its_changes_add_up() -> None:
    session = _trained()
    session.execute(c.Try((_lr(0.01),), start=5))
    momentum = c.Assign(Name("momentum"), Number(0.5))
    outcome = session.execute(c.Try((momentum,), start=5))
    assert outcome.pair == ("lr-0.01", "momentum-0.5")
    assert outcome.stop.lr == (0.01,), "the change of the trial before still holds"
    assert session.execute(c.Try((_lr(0.2),), start=5)).stop.lr == (0.2,), "one of the same thing gives way"


def test_a_try_whose_change_cannot_be_made_is_again_where_it_was() -> None:
    session = _trained()
    session.execute(c.Goto(5))
    before = session.stop, session.look(LookDigest())[0].digest, session.look(LookTimeline(0, 100))
    outcome = session.execute(c.Try((_lr(0.01), c.Assign(Name("lrx"), Number(1.0)))))
    assert outcome.problem is not None
    assert outcome.carried_out == ()
    after = session.stop, session.look(LookDigest())[0].digest
    assert (after[0].branch, after[0].number, after[1]) == (before[0].branch, before[0].number, before[1])
    assert [row.ends for row in session.look(LookTimeline(0, 100))[0].rows if row.ends] == [("main",)]


def test_a_try_inside_a_phase_and_one_without_a_history_say_what_to_do() -> None:
    session = _trained()
    session.execute(c.Into("forward"))
    assert "is in progress" in str(session.execute(c.Try((_lr(0.01),))).problem)
    session = _trained()
    session.forget()
    assert session.execute(c.Try((_lr(0.01),))).problem.title == "there is no history"


def test_a_line_in_python_does_the_same_as_in_a_script() -> None:
    prompt = Prompt("linear")
    prompt.run("repeat 2 { forward; backward; step; zero_grad }")
    outcome = prompt.run("try { set lr = 0.01; set momentum = 0.9 }")
    assert outcome.stop.branch == "lr-0.01"
    assert outcome.stop.lr == (0.01,)
    assert prompt.run("try from=2 seed 3").stop.branch == "seed-3"
